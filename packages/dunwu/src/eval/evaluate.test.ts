import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { DeepseekModel } from '../model/deepseek.js';
import { tinyModel } from '../model/testing/tiny.js';
import type { Problem } from '../task/problem.js';
import { createTask } from '../task/registry.js';
import { makeTokenizer, SMALL_CORPUS } from '../text/testing/make-tokenizer.js';
import type { Tokenizer } from '../text/tokenizer.js';
import { evaluate, evaluationRecord, judge, measure } from './evaluate.js';

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
let model: DeepseekModel;
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
  expect(measure([])).toEqual({ accuracy: 0, format: 0, language_consistency: 0 });
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
  const keys = ['model', 'task', 'n', 'accuracy', 'ci95', 'format', 'language_consistency', 'mean_length', 'sampled'];
  expect(Object.keys(record)).toEqual(keys);
  expect(Object.keys(record.sampled ?? {})).toEqual(['accuracy', 'format', 'language_consistency', 'pass_at_k']);
  await expect(evaluate(model, tokenizer, [], { samples: 0, maxTokens: 1, seed: 1 })).rejects.toThrow('no problems');
});
