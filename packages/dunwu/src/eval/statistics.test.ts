import { expect, test } from 'vitest';
import { clusteredMean, clusterInterval, meanWithInterval, passAtK, studentT, wilsonInterval } from './statistics.js';

test('the Wilson interval, by hand', () => {
  // 8 of 10: z² = 3.8415; centre 0.8 + z²/20 = 0.99207; spread 1.96 √(0.016 + z²/400) = 0.31361; both over 1 + z²/10.
  const [low, high] = wilsonInterval(8, 10);
  expect(low).toBeCloseTo(0.49016, 5);
  expect(high).toBeCloseTo(0.94332, 5);
  // z = 1, 1 of 2: (0.5 + 1/4 ∓ √(1/8 + 1/16)) / 1.5 = (0.75 ∓ 0.4330127) / 1.5.
  expect(wilsonInterval(1, 2, 1)[0]).toBeCloseTo(0.2113249, 7);
  expect(wilsonInterval(1, 2, 1)[1]).toBeCloseTo(0.7886751, 7);
});

test('the Wilson interval at its ends: exactly 0 and 1, and symmetric', () => {
  for (const n of [1, 3, 7, 300]) {
    const [low, high] = wilsonInterval(0, n);
    expect(low).toBe(0);
    expect(high).toBeCloseTo(3.841458821 / (n + 3.841458821), 9); // z² / (n + z²)
    expect(wilsonInterval(n, n)[1]).toBe(1);
    expect(wilsonInterval(n, n)[0]).toBeCloseTo(1 - high, 12);
  }
  expect(wilsonInterval(0, 0)).toEqual([0, 1]);
});

test('pass@k, by hand: 1 − C(n−c, k) / C(n, k)', () => {
  expect(passAtK(4, 2, 1)).toBeCloseTo(2 / 4, 12);
  expect(passAtK(4, 2, 2)).toBeCloseTo(1 - 1 / 6, 12);
  expect(passAtK(10, 3, 5)).toBeCloseTo(1 - 21 / 252, 12);
  expect(passAtK(4, 2, 3)).toBe(1); // only two are wrong
  expect(passAtK(8, 0, 8)).toBe(0);
  expect(passAtK(8, 1, 8)).toBe(1);
  expect(() => passAtK(4, 1, 5)).toThrow('pass@5 needs at least 5 samples, got 4');
});

test("Student's t, against the printed tables (two-sided)", () => {
  for (const [freedom, value] of [
    [1, 12.7062],
    [2, 4.30265],
    [3, 3.18245],
    [4, 2.77645],
    [9, 2.26216],
    [30, 2.04227],
    [120, 1.97993],
  ] as const) {
    expect(studentT(freedom)).toBeCloseTo(value, 4);
  }
  expect(studentT(5, 0.99)).toBeCloseTo(4.03214, 4);
  expect(studentT(1, 0.5)).toBeCloseTo(1, 12); // the Cauchy distribution's quartile
  expect(studentT(2, 0.5)).toBeCloseTo(Math.sqrt(2 / 3), 12); // t/√(2 + t²) = 0.5
  expect(studentT(100_000)).toBeCloseTo(1.95998, 4); // the normal distribution
  expect(() => studentT(0)).toThrow('degrees of freedom: 0');
});

test('the mean of a few values with its interval, by hand', () => {
  // 0.8, 0.9, 1.0: mean 0.9, s = 0.1, s/√3 = 0.0577350, times t(2) = 4.302653.
  const { mean, standard_error, ci95 } = meanWithInterval([0.8, 0.9, 1]);
  expect(mean).toBeCloseTo(0.9, 12);
  expect(standard_error).toBeCloseTo(0.0577350269, 9);
  expect(ci95?.[0]).toBeCloseTo(0.9 - 0.2484138, 6);
  expect(ci95?.[1]).toBeCloseTo(0.9 + 0.2484138, 6);
  expect(meanWithInterval([0.5])).toEqual({ mean: 0.5, standard_error: null, ci95: null });
  expect(() => meanWithInterval([])).toThrow('no values');
});

test('shares of problems: the problem is what is counted, not its samples', () => {
  // 4 problems, 0, ½, ½ and 1 right: mean ½, s² = (¼ + ¼) / 3, error √(1/6 / 4) = 0.2041241, t(3) = 3.182446.
  const few = clusterInterval([0, 0.5, 0.5, 1]);
  expect(few.mean).toBe(0.5);
  expect(few.standard_error).toBeCloseTo(0.2041241, 7);
  expect(few.ci95).toEqual([0, 1]); // 0.5 ∓ 0.65, held within the shares
  // A hundred problems that are either wholly right or wholly wrong are as sure as 100 samples, not as 800.
  const all = clusterInterval(Array.from({ length: 100 }, (_, i) => (i < 40 ? 1 : 0)));
  expect(all.standard_error).toBeCloseTo(Math.sqrt((0.4 * 0.6) / 99), 12);
  expect(all.ci95[0]).toBeCloseTo(0.4 - 1.984217 * Math.sqrt(0.24 / 99), 6);
  // No spread at all: Wilson's interval of the problems.
  expect(clusterInterval([0, 0, 0])).toEqual({ mean: 0, standard_error: 0, ci95: wilsonInterval(0, 3) });
  expect(clusterInterval([1, 1, 1]).ci95).toEqual(wilsonInterval(3, 3));
  expect(clusterInterval([0.5])).toEqual({ mean: 0.5, standard_error: 0, ci95: wilsonInterval(0.5, 1) });
});

test('values in clusters: by hand, for clusters of unlike sizes', () => {
  // Totals 1 of 1, 1 of 2, 0 of 1: m = 2/4. Residuals ½, 0, −½: Var = 3/2 · ½ / 16 = 0.046875, error 0.2165064.
  const unlike = clusteredMean([[1], [1, 0], [], [0]]);
  expect(unlike.mean).toBe(0.5);
  expect(unlike.standard_error).toBeCloseTo(Math.sqrt(0.046875), 12);
  expect(unlike.ci95).toEqual([0, 1]); // 0.5 ∓ 4.302653 · 0.2165
  // Of a hundred clusters of four equal values: as sure as a hundred values.
  const clusters = Array.from({ length: 100 }, (_, i) => [0, 1, 2, 3].map(() => (i < 25 ? 1 : 0)));
  const hundred = clusteredMean(clusters);
  expect(hundred.standard_error).toBeCloseTo(Math.sqrt((0.25 * 0.75) / 99), 12);
  expect(hundred.ci95[1]).toBeCloseTo(0.25 + 1.984217 * Math.sqrt(0.1875 / 99), 6);
});

test('values in clusters: clusters of one size are their means; the ends', () => {
  const clusters = [
    [1, 0, 0.5],
    [1, 1, 1],
    [0, 0, 0.25],
    [0.5, 0.5, 1],
  ];
  const means = clusterInterval(clusters.map((values) => values.reduce((a, b) => a + b, 0) / 3));
  const found = clusteredMean(clusters);
  expect(found.mean).toBeCloseTo(means.mean, 12);
  expect(found.standard_error).toBeCloseTo(means.standard_error, 12);
  expect(found.ci95[0]).toBeCloseTo(means.ci95[0], 12);
  expect(found.ci95[1]).toBeCloseTo(means.ci95[1], 12);
  expect(clusteredMean([[0, 0], [0]])).toEqual({ mean: 0, standard_error: 0, ci95: wilsonInterval(0, 2) });
  expect(clusteredMean([[1], [1, 1], [1]]).ci95).toEqual(wilsonInterval(3, 3));
  expect(clusteredMean([[0.5, 1]])).toEqual({ mean: 0.75, standard_error: 0, ci95: wilsonInterval(0.75, 1) });
  expect(clusteredMean([[]])).toEqual({ mean: 0, standard_error: 0, ci95: [0, 1] });
});
