import { expect, test } from 'vitest';
import { passAtK, wilsonInterval } from './statistics.js';

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
