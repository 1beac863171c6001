import { beforeAll, describe, expect, it } from 'vitest';
import type { CausalModel } from '../model/causal-model.js';
import { TINY, tinyModel } from '../model/testing/tiny.js';
import { RewardProgram } from '../reward/program.js';
import type { Part } from '../reward/trace.js';
import { RolloutEngine } from '../rollout/engine.js';
import type { Problem } from '../task/problem.js';
import { decodeResponse, renderPrompt } from '../text/template.js';
import { makeTokenizer, R1_DISTILL_TEMPLATE, SMALL_CORPUS } from '../text/testing/make-tokenizer.js';
import type { Tokenizer } from '../text/tokenizer.js';
import { inGroups, rollOut, rolloutMetrics, rolloutTokens, type ScoredRollout, scoreRollouts } from './rollouts.js';

let tokenizer: Tokenizer;
let model: CausalModel;
beforeAll(async () => {
  tokenizer = await makeTokenizer(SMALL_CORPUS, { vocab_size: 280, digits: 'single' });
  model = tinyModel(5, { ...TINY, vocab_size: tokenizer.vocab_size });
});

const problem = (id: string, prompt: string, overrides: Partial<Problem> = {}): Problem => ({
  id,
  prompt,
  answer: '3',
  source: 'toy',
  language: 'en',
  meta: {},
  ...overrides,
});

const PROBLEMS = [problem('a', '1+2?'), problem('b', '一加二？'), problem('c', 'three')];

describe('rollOut', () => {
  const plan = (key: (i: number) => string) => ({
    samples: 2,
    sampling: { temperature: 1, top_p: 1, top_k: 0, max_tokens: 6 },
    seed: 4,
    key,
  });

  it('a temperature near 0 draws what 0 does, with log-probabilities that are numbers', async () => {
    const at = (temperature: number) =>
      rollOut(new RolloutEngine(model), tokenizer, PROBLEMS, {
        ...plan(String),
        sampling: { ...plan(String).sampling, temperature },
      });
    const greedy = await at(0);
    for (const temperature of [1e-8, 1e-40]) {
      const cold = await at(temperature);
      expect(cold.map(({ sample }) => sample.tokens)).toEqual(greedy.map(({ sample }) => sample.tokens));
      for (const { sample } of cold) for (const value of sample.logprobs) expect(value).toBeCloseTo(0, 6);
    }
  });

  it("a thought that a checkpoint's template has begun is whole in the response", async () => {
    const distilled = await makeTokenizer(SMALL_CORPUS, { vocab_size: 280, digits: 'single' }, R1_DISTILL_TEMPLATE);
    const [one] = await rollOut(new RolloutEngine(model), distilled, PROBLEMS.slice(0, 1), plan(String));
    expect(distilled.decode(one?.prompt ?? [])).toMatch(/<｜Assistant｜><think>\n$/);
    expect(one?.response).toBe(`<think>\n${decodeResponse(distilled, one?.sample.tokens ?? [])}`);
  });

  it('ends at any id that the model’s folder names, and at stop strings; neither is part of the response', async () => {
    const free = await rollOut(new RolloutEngine(model), tokenizer, PROBLEMS, plan(String));
    const [id] = free[0]?.sample.tokens.slice(2) ?? [];
    model.generation = { eos_token_id: [99, id] };
    const ended = await rollOut(new RolloutEngine(model), tokenizer, PROBLEMS, plan(String));
    model.generation = null;
    const end = free[0]?.sample.tokens.indexOf(id as number) as number;
    expect(ended[0]?.sample).toMatchObject({ tokens: free[0]?.sample.tokens.slice(0, end + 1), reason: 'stop' });
    expect(ended[0]?.response).toBe(tokenizer.decode(free[0]?.sample.tokens.slice(0, end) ?? []));

    const stop = [free[1]?.response.slice(1, 3) as string];
    const cut = await rollOut(new RolloutEngine(model), tokenizer, PROBLEMS, {
      ...plan(String),
      sampling: { ...plan(String).sampling, stop },
    });
    for (const [i, { sample, response }] of cut.entries()) {
      const whole = free[i] as (typeof free)[number];
      expect(sample.tokens).toEqual(whole.sample.tokens.slice(0, sample.tokens.length));
      expect(response).toBe(whole.response.split(stop[0] as string)[0]);
    }
    expect(cut[1]?.sample.reason).toBe('stop');
  });

  it('problem by problem, each with its prompt, its tokens and their text', async () => {
    const rollouts = await rollOut(
      new RolloutEngine(model),
      tokenizer,
      PROBLEMS,
      plan((i) => `1/${i}`),
    );
    expect(rollouts.map((one) => [one.problem.id, one.sample.sample])).toEqual([
      ['a', 0],
      ['a', 1],
      ['b', 0],
      ['b', 1],
      ['c', 0],
      ['c', 1],
    ]);
    for (const one of rollouts) {
      expect(one.prompt).toEqual(renderPrompt(tokenizer, one.problem.prompt));
      expect(one.response).toBe(decodeResponse(tokenizer, one.sample.tokens));
      expect(one.sample.logprobs.length).toBe(one.sample.tokens.length);
    }
    expect(rolloutTokens(rollouts, 2)).toEqual({
      prompt: PROBLEMS.reduce((sum, { prompt }) => sum + renderPrompt(tokenizer, prompt).length, 0),
      new: rollouts.reduce((sum, { sample }) => sum + sample.tokens.length, 0),
    });
  });

  it('draws by key: the same key again, other tokens with another', async () => {
    const tokens = async (step: number): Promise<number[][]> =>
      (
        await rollOut(
          new RolloutEngine(model),
          tokenizer,
          PROBLEMS,
          plan((i) => `${step}/${i}`),
        )
      ).map(({ sample }) => sample.tokens);
    expect(await tokens(1)).toEqual(await tokens(1));
    expect(await tokens(1)).not.toEqual(await tokens(2));
  });
});

it('scoreRollouts judges each response as its own problem’s', () => {
  const rewards = new RewardProgram({ rules: { accuracy: { weight: 2, require_tags: false } } });
  const one = (answer: string, response: string): ScoredRollout =>
    ({ ...rollout(response, []), problem: problem('x', '?', { answer }) }) as ScoredRollout;
  const scored = scoreRollouts([one('3', '3'), one('4', '3'), one('4', '4')], rewards);
  expect(scored.map(({ trace }) => trace.total)).toEqual([2, 0, 2]);
});

const part = (name: string, points: number, status: Part['status']) => ({
  name,
  points,
  max: 1,
  status,
  evidence: [],
  weight: 1,
});

function rollout(response: string, parts: ScoredRollout['trace']['parts'], length = 1): ScoredRollout {
  return {
    problem: problem('x', '?'),
    prompt: [1],
    sample: {
      prompt: 0,
      sample: 0,
      tokens: new Array<number>(length).fill(1),
      logprobs: new Array<number>(length).fill(-1),
      reason: length > 2 ? 'length' : 'stop',
    },
    response,
    trace: { total: parts.reduce((sum, { points }) => sum + points, 0), parts },
  };
}

it('rolloutMetrics, by hand', () => {
  const metrics = rolloutMetrics(
    [
      rollout('<think>yes 是</think>', [part('accuracy', 1, 'ok'), part('format', 0.5, 'wrong')], 1),
      rollout('<think>yes</think>', [part('accuracy', 0, 'wrong'), part('format', 0, 'unparsable')], 2),
      // A source without the accuracy rule: it is no part of the accuracy.
      rollout('7', [part('format', 1, 'ok')], 3),
      rollout('8', [part('format', 1, 'ok')], 6),
    ],
    2,
  );
  expect(metrics).toEqual({
    reward: (1.5 + 0 + 1 + 1) / 4,
    length: 3,
    truncated: 0.5,
    accuracy: 0.5,
    solved_questions: 1,
    'reward/accuracy': 0.5,
    'reward/format': 2.5 / 4,
    'reward/format/unparsable': 0.25,
    language_consistency: 0.75,
  });
});

it('inGroups', () => {
  expect(inGroups([1, 2, 3, 4], 2)).toEqual([
    [1, 2],
    [3, 4],
  ]);
});
