import { expect, it } from 'vitest';
import { randn } from './generated/functions.js';
import { profile } from './profile.js';
import { scope } from './scope.js';

it('counts calls and operations of matrix products, and sums to no more than the whole', () => {
  const { result, seconds, operators } = scope(() => {
    const a = randn([8, 16]);
    const b = randn([16, 32]);
    return profile(() => {
      a.matmul(b);
      a.matmul(b);
      return 7;
    });
  });
  expect(result).toBe(7);
  expect(operators.find(({ name }) => name === 'aten::mm')).toMatchObject({ calls: 2, flops: 2 * 2 * 8 * 16 * 32 });
  const sum = operators.reduce((total, one) => total + one.seconds, 0);
  expect(sum).toBeGreaterThan(0);
  expect(sum).toBeLessThanOrEqual(seconds);
});

it('leaves nothing on after an error', () => {
  expect(() =>
    profile(() => {
      throw new Error('mine');
    }),
  ).toThrow('mine');
  expect(profile(() => 1).operators).toEqual([]);
});
