import { describe, expect, it } from 'vitest';
import { advantageSchema, GRPO_ADVANTAGE, groupAdvantages } from './advantage.js';

/** Advantages of one group. */
function one(rewards: number[], config = GRPO_ADVANTAGE): number[] {
  return Array.from(groupAdvantages([rewards], config).advantages[0] ?? []);
}

function expectClose(actual: readonly number[], expected: readonly number[]): void {
  expect(actual).toHaveLength(expected.length);
  for (const [i, value] of expected.entries()) expect(actual[i]).toBeCloseTo(value, 12);
}

describe('groupAdvantages', () => {
  // Rewards 0 0 0 4: mean 1, deviations −1 −1 −1 3, squares 1+1+1+9 = 12.
  const rewards = [0, 0, 0, 4];

  it('population: std = √(12/4) = √3', () => {
    const third = 1 / Math.sqrt(3);
    expectClose(one(rewards, { scale: 'std', std: 'population', epsilon: 0 }), [-third, -third, -third, Math.sqrt(3)]);
  });

  it('sample: std = √(12/3) = 2', () => {
    expectClose(one(rewards, { scale: 'std', std: 'sample', epsilon: 0 }), [-0.5, -0.5, -0.5, 1.5]);
  });

  it('none: the deviations themselves', () => {
    expectClose(one(rewards, { scale: 'none' }), [-1, -1, -1, 3]);
  });

  it('adds ε to the std: deviation ±½, std ½, ½ / (½ + 0.0001)', () => {
    const a = 0.5 / 0.5001;
    expectClose(one([1, 0, 0, 1]), [a, -a, -a, a]);
    expect(GRPO_ADVANTAGE).toEqual(advantageSchema.parse({ scale: 'std' }));
  });

  it('reports mean and std of each group; groups may differ in size', () => {
    const { advantages, groups, zeroSpread } = groupAdvantages([rewards, [1, 3]], {
      scale: 'std',
      std: 'sample',
      epsilon: 0,
    });
    expect(groups[0]).toEqual({ mean: 1, std: 2, zeroSpread: false });
    expect(groups[1]?.mean).toBe(2);
    expect(groups[1]?.std).toBeCloseTo(Math.SQRT2, 12); // √((1+1)/1)
    expectClose(Array.from(advantages[1] ?? []), [-Math.SQRT1_2, Math.SQRT1_2]);
    expect(zeroSpread).toBe(0);
  });

  it('gives zeros, and counts, where a group has no spread', () => {
    // 0.1 three times has the mean 0.10000000000000002; 0.1 + 0.2 is 0.3 but for rounding; one member has no spread.
    const result = groupAdvantages([[0.1, 0.1, 0.1], [0.1 + 0.2, 0.3], [7], [0, 1], [0, 0]], {
      scale: 'std',
      std: 'sample',
      epsilon: 0,
    });
    expect(result.advantages.map((a) => Array.from(a))).toEqual([
      [0, 0, 0],
      [0, 0],
      [0],
      [-Math.SQRT1_2, Math.SQRT1_2].map((a) => expect.closeTo(a, 12)),
      [0, 0],
    ]);
    expect(result.groups.map(({ zeroSpread }) => zeroSpread)).toEqual([true, true, true, false, true]);
    expect(result.zeroSpread).toBe(4);
  });

  it('sums to 0, and does not change when the rewards are shifted, or scaled with ε = 0', () => {
    const config = { scale: 'std', std: 'population', epsilon: 0 } as const;
    const base = one([0.5, 1.5, 1, 0, 1.25], config);
    expect(base.reduce((a, b) => a + b)).toBeCloseTo(0, 12);
    expect(base.reduce((a, b) => a + b * b, 0)).toBeCloseTo(5, 12); // population variance 1, times 5
    expectClose(one([10.5, 11.5, 11, 10, 11.25], config), base);
    expectClose(one([1, 3, 2, 0, 2.5], config), base);
  });

  it('refuses an empty group and a reward that is no number, naming them', () => {
    expect(() => groupAdvantages([[1, 0], []])).toThrow('group 1 is empty');
    expect(() =>
      groupAdvantages([
        [1, 0],
        [0, Number.NaN],
      ]),
    ).toThrow('reward 1 of group 1 is NaN');
  });

  it('the schema refuses options that would be ignored', () => {
    expect(advantageSchema.safeParse({ scale: 'none', epsilon: 1e-6 }).success).toBe(false);
    expect(advantageSchema.safeParse({ scale: 'std', std: 'biased' }).success).toBe(false);
    expect(advantageSchema.parse({ scale: 'std', std: 'sample' })).toEqual({
      scale: 'std',
      std: 'sample',
      epsilon: 1e-4,
    });
  });
});
