import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { CausalModel } from '../model/causal-model.js';
import { tinyModel } from '../model/testing/tiny.js';
import { RolloutEngine } from '../rollout/engine.js';
import type { Problem } from '../task/problem.js';
import { createTask } from '../task/registry.js';
import { makeTokenizer, R1_DISTILL_TEMPLATE, SMALL_CORPUS } from '../text/testing/make-tokenizer.js';
import type { Tokenizer } from '../text/tokenizer.js';
import {
  type EvaluatedSample,
  evaluate,
  evaluationPrompt,
  evaluationRecord,
  judge,
  measure,
  summarise,
} from './evaluate.js';
import { clusterInterval } from './statistics.js';

const problem = (answer: string, language: Problem['language'] = 'en'): Problem => ({
  id: `p${answer}`,
  prompt: '1+1?',
  answer,
  source: 's',
  language,
  meta: {},
});

let dir = '';
let tokenizer: Tokenizer;
let model: CausalModel;
beforeAll(async () => {
  dir = mkdtempSync(path.join(os.tmpdir(), 'dunwu-evaluate-'));
  tokenizer = await makeTokenizer(SMALL_CORPUS, { vocab_size: 300 });
  model = tinyModel(3, { vocab_size: tokenizer.vocab_size, max_position_embeddings: 160 });
});
afterAll(() => {
  model.dispose();
  rmSync(dir, { recursive: true });
});

test('right means right in the required format', () => {
  const right = (response: string): boolean => judge(problem('59'), response, 'greedy').correct;
  expect(right('<think>80-21=59</think><answer>59</answer>')).toBe(true);
  expect(right('<think>80-21=59</think><answer>58</answer>')).toBe(false);
  expect(right('80-21=59 so 59')).toBe(false);
  expect(right('<answer>59</answer><think>late</think>')).toBe(false);
  expect(right('<think>a</think><answer>59</answer><answer>59</answer>')).toBe(false);
});

test('where a problem has tests, right means that the program passes all of them', () => {
  const cases = [
    { args: [1, 2], expected: 3 },
    { args: [2, 2], expected: 4 },
  ];
  const tested: Problem = {
    ...problem('0'),
    answer: undefined,
    meta: { tests: { language: 'javascript', entry: 'add', cases } },
  } as Problem;
  const right = (program: string) =>
    judge(tested, `<think>so</think><answer>\n\`\`\`js\n${program}\n\`\`\`\n</answer>`, 'greedy').correct;
  expect(right('const add = (a, b) => a + b')).toBe(true);
  expect(right('const add = (a, b) => 3')).toBe(false);
  expect(judge(tested, '```js\nconst add = (a, b) => a + b\n```', 'greedy').correct).toBe(false);
});

test('a majority is counted by number, or as mathematics, as the gold answer is', () => {
  const say = (answer: string | undefined, given: string, mode: 'greedy' | 'sampled') =>
    judge({ ...problem('0'), answer } as Problem, `<think>a</think><answer>${given}</answer>`, mode);
  const cons = (gold: string | undefined, ...given: string[]) =>
    summarise(
      [say(gold, '0', 'greedy'), ...given.map((one) => say(gold, one, 'sampled'))].map(
        (one) => ({ ...one, length: 1 }) as EvaluatedSample,
      ),
      given.length,
      { temperature: 1, top_p: 1 },
    ).sampled?.cons_at_k;
  expect(cons('2', '2', '4/2', '3')).toBe(1);
  expect(cons('(0,1]', '(0,1]', '(0,1)', '(0,1)')).toBe(0);
  // Three ways to write one interval against two of another one; what cannot be read abstains.
  expect(cons('(0,1]', '(0,1]', '0 < x \\le 1', '(0, 1.0]', '(0,1)', '(0,1)', '(((')).toBe(1);
  expect(cons('x^2-1', '(x+1)(x-1)', 'x^2-1', 'x^2+1', 'x^2+1')).toBe(0.5);
  expect(cons(undefined, '2', '2')).toBeUndefined();
});

test('shares by hand', () => {
  const samples = [
    judge(problem('2'), '<think>one plus one</think><answer>2</answer>', 'greedy'), // right; 3 of 3 words English
    judge(problem('2'), '<think>one 加 one</think><answer>3</answer>', 'greedy'), // in form, wrong; mixed
    judge(problem('2'), '<think>1+1=2</think><answer>2</answer>', 'greedy'), // right; no words: no language
    judge(problem('2'), 'it is two', 'greedy'), // neither; English
  ];
  const { accuracy, format, language_consistency } = measure(samples);
  expect(accuracy).toBe(2 / 4);
  expect(format).toBe(3 / 4);
  expect(language_consistency).toBeCloseTo((1 + 2 / 3 + 1) / 3, 12);
  expect(measure([])).toEqual({
    accuracy: 0,
    format: 0,
    language_consistency: 0,
    language_consistency_ci95: [0, 1],
    readability: 0,
    readability_ci95: [0, 1],
  });
});

test('readability and language have intervals that count problems', () => {
  const mixed = '<think>one 加 two 减</think><answer>2</answer>'; // 2 of 4 words English, nothing else in the way
  const own = '<think>one and two</think><answer>2</answer>';
  const samples = [own, own, mixed, mixed, own, mixed].map((text, i) =>
    judge(problem(String(i >> 1)), text, 'sampled'),
  );
  const found = measure(samples);
  const expected = clusterInterval([1, 0.5, 0.75]);
  expect(found.language_consistency).toBeCloseTo(0.75, 12);
  expect(found.language_consistency_ci95[0]).toBeCloseTo(expected.ci95[0], 12);
  expect(found.readability).toBeCloseTo(0.75, 12);
  expect(found.readability_ci95[0]).toBeCloseTo(expected.ci95[0], 12);
});

test('the same numbers again; a problem alone gives what it gives in the batch', async () => {
  const problems = createTask({ type: 'equation' }).fixed('test', 5);
  const options = { samples: 3, maxTokens: 10, seed: 7 };
  const all = await evaluate(model, tokenizer, problems, options);
  expect(await evaluate(model, tokenizer, problems, options)).toEqual(all);
  expect(all.samples.map(({ mode }) => mode)).toEqual([...Array(5).fill('greedy'), ...Array(15).fill('sampled')]);
  for (const [i, one] of problems.entries()) {
    const { samples } = await evaluate(model, tokenizer, [one], options);
    const batched = [all.samples[i], ...all.samples.slice(5 + 3 * i, 8 + 3 * i)];
    expect(samples.map(({ response }) => response)).toEqual(batched.map((sample) => sample?.response));
  }
  const drawn = all.samples.slice(5).map(({ response }) => response);
  expect(new Set(drawn).size).toBeGreaterThan(10); // a random model repeats itself rarely
  const other = await evaluate(model, tokenizer, problems, { ...options, seed: 8 });
  expect(other.samples.slice(0, 5)).toEqual(all.samples.slice(0, 5));
  expect(other.samples.slice(5).map(({ response }) => response)).not.toEqual(drawn);
});

test('stops at the ids that the model’s folder names, which are no part of the response; a thought that the prompt began is', async () => {
  const problems = createTask({ type: 'equation' }).fixed('test', 2);
  const options = { samples: 0, maxTokens: 10, seed: 7 };
  const prompt = evaluationPrompt(tokenizer, problems[0] as Problem, {});
  const [drawn] = await new RolloutEngine(model).generate([{ tokens: prompt, samples: 1, key: 'x' }], {
    sampling: { temperature: 0, top_p: 1, top_k: 0, max_tokens: 10 },
    seed: 7,
    stop: [],
  });
  const tokens = drawn?.tokens ?? [];
  const at = tokens.findIndex((id, i) => i > 1 && !tokens.slice(0, i).includes(id));
  expect(at).toBeGreaterThan(1);
  model.generation = { eos_token_id: [tokens[at] as number] };
  const { samples } = await evaluate(model, tokenizer, problems, options);
  model.generation = null;
  expect(samples[0]).toMatchObject({
    response: tokenizer.decode(tokens.slice(0, at)),
    length: at + 1,
    reason: 'stop',
  });

  // A text that ends it, over two tokens: the response is cut before it, its tokens are those that were drawn until then.
  const [a, b] = [1, 2].map((i) => tokenizer.decode(tokens.slice(i, i + 1)));
  const text = `${a}${b}`;
  const cut = await evaluate(model, tokenizer, problems, { ...options, stop: [text] });
  const whole = tokenizer.decode(tokens);
  expect(cut.samples[0]).toMatchObject({ response: whole.slice(0, whole.indexOf(text)), reason: 'stop' });
  expect(cut.samples[0]?.length).toBe(3);

  const distilled = await makeTokenizer(SMALL_CORPUS, { vocab_size: 300 }, R1_DISTILL_TEMPLATE);
  const begun = await evaluate(model, distilled, problems, options);
  expect(begun.samples.map(({ response }) => response.slice(0, 8))).toEqual(['<think>\n', '<think>\n']);
});

test('what is counted: lengths, tokens, pass@k for 1, 2, … and k', async () => {
  const problems = createTask({ type: 'equation' }).fixed('test', 4);
  const seen: number[] = [];
  const { evaluation } = await evaluate(model, tokenizer, problems, {
    samples: 3,
    maxTokens: 6,
    seed: 1,
    onProgress: (finished, total) => seen.push(finished / total),
  });
  expect(evaluation).toMatchObject({ n: 4, accuracy: 0, format: 0 });
  expect(evaluation.ci95[0]).toBe(0);
  expect(evaluation.ci95[1]).toBeCloseTo(3.841458821 / 7.841458821, 9);
  expect(evaluation.mean_length).toBeLessThanOrEqual(6);
  expect(evaluation.tokens).toBeLessThanOrEqual(16 * 6);
  expect(evaluation.sampled).toMatchObject({ k: 3, pass_at_k: 0, pass_at: { 1: 0, 2: 0, 3: 0 } });
  expect(seen.at(-1)).toBe(1);
  expect(seen).toEqual([...seen].sort((a, b) => a - b));
  const record = evaluationRecord('m', 't', evaluation);
  const shares = ['accuracy', 'format', 'language_consistency'];
  const more = ['language_consistency_ci95', 'readability', 'readability_ci95'];
  expect(Object.keys(record).sort()).toEqual(
    ['model', 'task', 'n', ...shares, ...more, 'ci95', 'mean_length', 'sampled'].sort(),
  );
  expect(Object.keys(record.sampled ?? {})).toEqual([
    ...shares,
    ...more,
    'k',
    'mean_length',
    'temperature',
    'top_p',
    'standard_error',
    'ci95',
    'pass_at_k',
    'pass_at',
    'cons_at_k',
    'cons_ci95',
  ]);
  await expect(evaluate(model, tokenizer, [], { samples: 0, maxTokens: 1, seed: 1 })).rejects.toThrow('no problems');
});

test('pass@1, pass@k and the majority of three problems with four samples each, by hand', () => {
  const tagged = (answer: string): string => `<think>so</think><answer>${answer}</answer>`;
  const samples = [
    ['2', '2.0', '3', '3'], // 2 right of 4; a tie: ½
    ['3', '2', '2', '1'], // 2 right; the majority is right: 1
    ['3', 'many', '4', '4'], // none right: 0
  ];
  const rows = (texts: readonly string[], mode: 'greedy' | 'sampled'): EvaluatedSample[] =>
    texts.map((text, sample) => ({ ...judge(problem('2'), text, mode), sample, length: 5, reason: 'stop' }));
  const greedy = [tagged('2'), tagged('3'), 'no tags: 2'].flatMap((text) => rows([text], 'greedy'));
  const drawn = samples.flatMap((answers) => rows(answers.map(tagged), 'sampled'));
  const { sampled, ...rest } = summarise([...greedy, ...drawn], 4, { temperature: 0.6, top_p: 0.95 });
  expect(rest).toMatchObject({ n: 3, accuracy: 1 / 3, mean_length: 5, tokens: 75 });
  expect(sampled).toMatchObject({ k: 4, temperature: 0.6, top_p: 0.95, accuracy: 4 / 12 });
  // Of the shares ½, ½, 0: s² = (1/36 + 1/36 + 1/9) / 2 = 1/12, error √(1/36) = 1/6.
  expect(sampled?.standard_error).toBeCloseTo(1 / 6, 12);
  expect(sampled?.ci95).toEqual(clusterInterval([0.5, 0.5, 0]).ci95);
  // pass@2: 1 − C(2,2)/C(4,2) = 5/6 twice, then 0.
  expect(sampled?.pass_at[1]).toBeCloseTo(1 / 3, 12);
  expect(sampled?.pass_at[2]).toBeCloseTo((5 / 6 + 5 / 6) / 3, 12);
  expect(sampled?.pass_at_k).toBeCloseTo(2 / 3, 12);
  expect(sampled?.cons_at_k).toBeCloseTo((0.5 + 1 + 0) / 3, 12);
});

test('a response out of form has no vote', () => {
  const rows = ['2', '<think>a</think><answer>3</answer>', '<answer>2</answer>'].map((text, sample) => ({
    ...judge(problem('2'), text, 'sampled'),
    sample,
    length: 1,
    reason: 'stop' as const,
  }));
  const greedy = { ...(rows[0] as EvaluatedSample), mode: 'greedy' as const };
  expect(summarise([greedy, ...rows], 3, { temperature: 1, top_p: 1 }).sampled?.cons_at_k).toBe(0);
});

test('batches: what they are told, and going on after them gives the unbroken outcome without doing them again', async () => {
  const problems = createTask({ type: 'equation' }).fixed('test', 5);
  const options = { samples: 2, temperature: 0.8, topP: 0.9, maxTokens: 6, seed: 3, batch: 2 };
  const batches: EvaluatedSample[][] = [];
  const whole = await evaluate(model, tokenizer, problems, { ...options, onBatch: (rows) => batches.push([...rows]) });
  expect(batches.map((rows) => rows.length)).toEqual([6, 6, 3]);
  expect(batches[1]?.map(({ problem: { id }, mode, sample }) => [id, mode, sample])).toEqual(
    [
      [2, 'greedy', 0],
      [3, 'greedy', 0],
      [2, 'sampled', 0],
      [2, 'sampled', 1],
      [3, 'sampled', 0],
      [3, 'sampled', 1],
    ].map(([i, ...rest]) => [problems[i as number]?.id, ...rest]),
  );
  for (const done of [1, 2, 3]) {
    const again: EvaluatedSample[] = [];
    const finished = batches.slice(0, done).flat();
    const resumed = await evaluate(model, tokenizer, problems, {
      ...options,
      finished,
      onBatch: (rows) => again.push(...rows),
    });
    expect(resumed).toEqual(whole);
    expect(again).toEqual(batches.slice(done).flat());
  }
  const torn = (batches[0] as EvaluatedSample[]).slice(0, 3);
  await expect(evaluate(model, tokenizer, problems, { ...options, finished: torn })).rejects.toThrow(
    '3 finished responses are not whole batches of 2 problems',
  );
});

test('temperature, top_p and the template reach the model', async () => {
  const problems = createTask({ type: 'equation' }).fixed('test', 4);
  const options = { samples: 2, maxTokens: 6, seed: 3 };
  const responses = async (more: object): Promise<string[]> => {
    const { samples } = await evaluate(model, tokenizer, problems, { ...options, ...more });
    return samples.map(({ response }) => response);
  };
  const plain = await responses({});
  // Almost greedy: each sample is the greedy response.
  const cold = await responses({ temperature: 1e-4 });
  expect(cold.slice(4)).toEqual(plain.slice(0, 4).flatMap((text) => [text, text]));
  expect(await responses({ topP: 1e-6 })).toEqual(cold);
  expect((await responses({ template: 'Q: {question}' })).slice(0, 4)).not.toEqual(plain.slice(0, 4));
  expect(await responses({ template: '{question}' })).toEqual(plain);
  const dollars = { ...(problems[0] as Problem), prompt: "$& costs $'5" };
  expect(tokenizer.decode(evaluationPrompt(tokenizer, dollars, { template: 'A {question} B' }))).toContain(
    "A $& costs $'5 B",
  );
  await expect(responses({ temperature: 0 })).rejects.toThrow('a temperature above 0');
});
