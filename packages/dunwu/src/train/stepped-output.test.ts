import { beforeAll, describe, expect, it } from 'vitest';
import { RewardProgram } from '../reward/program.js';
import { decodeResponse, encodeTagged } from '../text/template.js';
import { makeTokenizer, SMALL_CORPUS } from '../text/testing/make-tokenizer.js';
import type { Tokenizer } from '../text/tokenizer.js';
import type { ScoredRollout } from './rollouts.js';
import { steppedOutput } from './stepped-output.js';

let bytes: Tokenizer;
let merged: Tokenizer;
beforeAll(async () => {
  bytes = await makeTokenizer(['ab'], { vocab_size: 300, digits: 'single' });
  merged = await makeTokenizer(SMALL_CORPUS, { vocab_size: 420, digits: 'single' });
});

const rewards = new RewardProgram({ rules: { accuracy: 2, format: 0.5, steps: 0.25 } });

function judged(tokenizer: Tokenizer, response: string): ScoredRollout {
  const tokens = [...encodeTagged(tokenizer, response), tokenizer.special_id('eos')];
  const problem = {
    id: 'p',
    prompt: '小明有80张卡片，丢了21张，又得到7张，还剩多少？',
    answer: '66',
    source: 's',
    language: 'zh',
    meta: {},
  } as const;
  expect(decodeResponse(tokenizer, tokens)).toBe(response);
  return {
    problem,
    prompt: [1],
    sample: { prompt: 0, sample: 0, tokens, logprobs: tokens.map(() => -1), reason: 'stop' },
    response,
    trace: rewards.score(problem, response),
  };
}

const RESPONSE = '<think>先算80-21=59，再算59+7=65。</think><answer>66</answer>';

describe.each([
  ['bytes', () => bytes],
  ['merged tokens', () => merged],
] as const)('a Chinese response in %s', (_, tokenizer) => {
  it('each step ends with the token that completes its last character', () => {
    const rollout = judged(tokenizer(), RESPONSE);
    const { tokens, steps, outcome } = steppedOutput(rollout, tokenizer());
    expect(tokens).toBe(rollout.sample.tokens.length);
    expect(steps.map(({ reward }) => reward)).toEqual([0.25, 0]); // weight ¼: right, wrong
    expect(outcome).toBe(2 + 0.5); // accuracy and format, without the steps rule
    const upTo = (end: number): string => decodeResponse(tokenizer(), rollout.sample.tokens.slice(0, end + 1));
    const before = (end: number): string => decodeResponse(tokenizer(), rollout.sample.tokens.slice(0, end));
    expect(steps.map(({ end }) => upTo(end))).toEqual(['<think>先算80-21=59', '<think>先算80-21=59，再算59+7=65']);
    expect(steps.map(({ end }) => before(end))).toEqual(['<think>先算80-21=5', '<think>先算80-21=59，再算59+7=6']);
  });
});

it('without steps all of the reward is the outcome’s', () => {
  expect(steppedOutput(judged(merged, '<think>不知道</think><answer>66</answer>'), merged)).toMatchObject({
    steps: [],
    outcome: 2.5,
  });
});

it('a thought that the prompt has begun is text without tokens: steps end with the same characters', () => {
  const whole = judged(merged, RESPONSE);
  const tag = merged.special_id('think');
  const begun: ScoredRollout = {
    ...whole,
    prompt: [1, tag],
    sample: { ...whole.sample, tokens: whole.sample.tokens.slice(1) },
  };
  expect(whole.sample.tokens[0]).toBe(tag);
  const ends = ({ steps }: { readonly steps: readonly { readonly end: number }[] }) => steps.map(({ end }) => end);
  expect(ends(steppedOutput(begun, merged))).toEqual(ends(steppedOutput(whole, merged)).map((end) => end - 1));
});
