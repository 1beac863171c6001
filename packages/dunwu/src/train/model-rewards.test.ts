import { describe, expect, it } from 'vitest';
import { addModelRewards, countingIn, heldBack, type ModelReward } from './model-rewards.js';
import type { ScoredRollout } from './rollouts.js';

function model(name: string, scores: Record<string, number>, overrides: Partial<ModelReward> = {}): ModelReward {
  return {
    name,
    scorer: { reads: 'whole', score: (items) => items.map(({ response }) => scores[response] ?? Number.NaN) },
    weight: 1,
    sources: ['general'],
    from: 0,
    ...overrides,
  };
}

const rollout = (source: string, response: string, total = 0.25): ScoredRollout => ({
  problem: { id: 'p', prompt: 'q', source, language: 'en', meta: {} },
  prompt: [1],
  sample: { prompt: 0, sample: 0, tokens: [1], logprobs: [-1], reason: 'stop' },
  response,
  trace: { total, parts: [{ name: 'format', points: total, max: 1, status: 'wrong', evidence: [], weight: 1 }] },
});

describe('addModelRewards', () => {
  it('σ of the score, by hand; the sum stays exact; other sources are left alone', () => {
    const helpful = model('helpful', { good: Math.log(3), bad: -Math.log(4) }, { weight: 2 });
    const result = addModelRewards(
      [rollout('general', 'good'), rollout('sums', 'good'), rollout('general', 'bad')],
      [helpful],
    );
    expect(result.map(({ trace }) => trace.total)).toEqual([
      expect.closeTo(0.25 + 2 * 0.75, 12),
      0.25,
      expect.closeTo(0.25 + 2 * 0.2, 12),
    ]);
    expect(result[0]?.trace.parts.at(-1)).toEqual({
      name: 'helpful',
      points: expect.closeTo(0.75, 12),
      max: 1,
      status: 'ok',
      evidence: [[0, 4]],
      note: 'score 1.099',
      weight: 2,
    });
    expect(result[2]?.trace.parts.at(-1)).toMatchObject({ status: 'wrong', note: 'score -1.386' });
    expect(result[1]?.trace.parts).toHaveLength(1);
  });

  it('several models add up, each a part of its own', () => {
    const both = [model('helpful', { x: 0 }), model('safe', { x: 0 }, { weight: 0.5 })];
    const [result] = addModelRewards([rollout('general', 'x')], both);
    expect(result?.trace.parts.map(({ name }) => name)).toEqual(['format', 'helpful', 'safe']);
    expect(result?.trace.total).toBe(0.25 + 0.5 + 0.25);
  });

  it('says where it looked: the answer alone, what follows the thought, or all', () => {
    const read = (response: string, reads: 'final' | 'whole'): string => {
      const one = model('m', {}, { scorer: { reads, score: () => [0] } });
      const [result] = addModelRewards([rollout('general', response)], [one]);
      return response.slice(...(result?.trace.parts.at(-1)?.evidence[0] ?? [0, 0]));
    };
    const whole = '<think>hm</think><answer>Hello.</answer>';
    expect(read(whole, 'whole')).toBe(whole);
    expect(read(whole, 'final')).toBe('Hello.');
    expect(read('<think>hm</think>Hello.', 'final')).toBe('Hello.');
    expect(read('Hello.', 'final')).toBe('Hello.');
  });

  it('extreme scores stay within 0 and 1; one that is no number is an error', () => {
    const points = [800, -800].map(
      (score) => addModelRewards([rollout('general', 'x')], [model('m', { x: score })])[0]?.trace.parts.at(-1)?.points,
    );
    expect(points).toEqual([1, 0]);
    expect(() => addModelRewards([rollout('general', 'x')], [model('m', {})])).toThrow(
      'the reward model m gave the score NaN',
    );
  });
});

describe('from', () => {
  const models = [
    model('helpful', {}, { from: 0.75, sources: ['general', 'poems'] }),
    model('safe', {}, { from: 0.5, sources: ['general'] }),
  ];

  it('counts in the steps after that share: of 8, from 0.75 in the last two', () => {
    expect([4, 5, 6, 7, 8].map((n) => countingIn(models, n, 8).map(({ name }) => name))).toEqual([
      [],
      ['safe'],
      ['safe'],
      ['helpful', 'safe'],
      ['helpful', 'safe'],
    ]);
    expect(countingIn([model('m', {})], 1, 8)).toHaveLength(1);
  });

  it('a source is held back until the first of its models counts', () => {
    expect([4, 5, 6, 7].map((n) => [...heldBack(models, n, 8)])).toEqual([
      ['general', 'poems'],
      ['poems'],
      ['poems'],
      [],
    ]);
  });
});
