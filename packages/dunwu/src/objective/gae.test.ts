import { describe, expect, it } from 'vitest';
import { explainedVariance, gae, gaeSchema, whiten } from './gae.js';
import { tokenRewards } from './token-rewards.js';

const close = (actual: ArrayLike<number>, expected: readonly number[]): void => {
  expect(actual.length).toBe(expected.length);
  expected.forEach((value, i) => {
    expect(actual[i]).toBeCloseTo(value, 12);
  });
};

const REWARDS = [0.1, -0.2, 1];
const VALUES = [0.5, 0.4, 0.8];

describe('gae', () => {
  it('by hand, γ = 0.9 and λ = ½', () => {
    // δ = 0.1 + 0.9·0.4 − 0.5, −0.2 + 0.9·0.8 − 0.4, 1 − 0.8 = −0.04, 0.12, 0.2; γλ = 0.45
    const a3 = 0.2;
    const a2 = 0.12 + 0.45 * a3; // 0.21
    const a1 = -0.04 + 0.45 * a2; // 0.0545
    const { advantages, returns } = gae(REWARDS, VALUES, { gamma: 0.9, lambda: 0.5 });
    close(advantages, [a1, a2, a3]);
    close(returns, [0.5545, 0.61, 1]);
  });

  it('λ = 0: one token ahead, the temporal difference δ', () => {
    close(gae(REWARDS, VALUES, { gamma: 0.9, lambda: 0 }).advantages, [-0.04, 0.12, 0.2]);
  });

  it('λ = 1: what came, less the value; the returns do not depend on the values', () => {
    const { advantages, returns } = gae(REWARDS, VALUES, { gamma: 0.9, lambda: 1 });
    const came = [0.1 - 0.9 * 0.2 + 0.81, -0.2 + 0.9, 1];
    close(returns, came);
    close(
      advantages,
      came.map((value, t) => value - (VALUES[t] as number)),
    );
    close(gae(REWARDS, [3, -1, 7], { gamma: 0.9, lambda: 1 }).returns, came);
  });

  it('with γ = λ = 1 and values 0 every token gets the sum of what follows: the score of a response', () => {
    close(gae([0, 0, 0, 2], [0, 0, 0, 0], { gamma: 1, lambda: 1 }).advantages, [2, 2, 2, 2]);
  });

  it('a value function that is right leaves no advantage, at any λ', () => {
    for (const lambda of [0, 0.3, 1]) {
      close(gae(REWARDS, [0.73, 0.7, 1], { gamma: 0.9, lambda }).advantages, [0, 0, 0]);
    }
  });

  it('is the weighted sum over l of eq. 16', () => {
    const { gamma, lambda } = gaeSchema.parse({ gamma: 0.99 });
    expect(lambda).toBe(0.95);
    const rewards = Array.from({ length: 9 }, (_, t) => Math.sin(3 * t));
    const values = rewards.map((_, t) => Math.cos(t));
    const delta = rewards.map((r, t) => r + gamma * (values[t + 1] ?? 0) - (values[t] as number));
    const expected = delta.map((_, t) => delta.slice(t).reduce((sum, d, l) => sum + (gamma * lambda) ** l * d, 0));
    close(gae(rewards, values, { gamma, lambda }).advantages, expected);
  });

  it('refuses rewards and values that do not fit', () => {
    expect(() => gae([1], [1, 2], { gamma: 1, lambda: 1 })).toThrow('1 rewards and 2 values');
    expect(gae([], [], { gamma: 1, lambda: 1 }).advantages).toHaveLength(0);
  });
});

describe('whiten', () => {
  it('mean 0, standard deviation 1, over all tokens together', () => {
    // mean 4, variance ((−3)² + (−1)² + 1² + 3²)/4 = 5
    const [a, b] = whiten([Float64Array.of(1, 3), Float64Array.of(5, 7)]);
    const s = Math.sqrt(5);
    expect(a?.[0]).toBeCloseTo(-3 / s, 7);
    expect(a?.[1]).toBeCloseTo(-1 / s, 7);
    expect(b?.[0]).toBeCloseTo(1 / s, 7);
    expect(b?.[1]).toBeCloseTo(3 / s, 7);
  });

  it('all the same become 0', () => {
    expect(whiten([Float64Array.of(2, 2), Float64Array.of(2)]).map((list) => [...list])).toEqual([[0, 0], [0]]);
  });
});

it('explained variance: 1 when right, 0 for a constant, below 0 when worse', () => {
  const returns = [Float64Array.of(1, 2), Float64Array.of(6)];
  expect(explainedVariance(returns, [[1, 2], [6]])).toBe(1);
  expect(explainedVariance(returns, [[3, 3], [3]])).toBe(0);
  // R − V = 2, 3, 4: variance ⅔; of 1, 2, 6 it is 14/3.
  expect(explainedVariance(returns, [[-1, -1], [2]])).toBeCloseTo(1 - 2 / 14, 12);
  expect(explainedVariance(returns, [[6, 5], [-6]])).toBeLessThan(0);
  expect(explainedVariance([Float64Array.of(2, 2)], [[1, 0]])).toBeNaN();
});

describe('tokenRewards', () => {
  it('−β(log π − log π_ref) at every token, the score added at the last', () => {
    close(tokenRewards(2, [-1, -0.5, -3], [-1.5, -0.5, -1], 0.1), [-0.05, 0, 0.2 + 2]);
  });

  it('sums to the score less β times the log-ratio of the response; β = 0 leaves the score', () => {
    const rewards = tokenRewards(1.5, [-1, -2], [-4, -0.5], 0.2);
    expect(rewards.reduce((a, b) => a + b, 0)).toBeCloseTo(1.5 - 0.2 * (-3 + 4.5), 12);
    expect([...tokenRewards(3, [-1, -2], [-4, -9], 0)].map((value) => value + 0)).toEqual([0, 3]);
  });

  it('refuses lengths that differ and nothing', () => {
    expect(() => tokenRewards(1, [-1], [-1, -2], 0.1)).toThrow('1 log-probabilities of the policy and 2');
    expect(() => tokenRewards(1, [], [], 0.1)).toThrow('0 log-probabilities');
  });
});
