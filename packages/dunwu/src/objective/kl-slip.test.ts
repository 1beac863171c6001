import { tensor } from '@dunwu/torch';
import { expect, test } from 'vitest';
import { KL_ESTIMATOR_NAMES } from './kl.js';
import { NOTES_SLIP } from './kl-slip.js';

const doubles = (values: readonly number[]) => tensor(Float64Array.from(values));
const slip = (policy: readonly number[], reference: readonly number[]): number[] =>
  NOTES_SLIP.perToken({
    logprobs: doubles(policy.map(Math.log)),
    oldLogprobs: doubles(policy.map(Math.log)),
    referenceLogprobs: doubles(reference.map(Math.log)),
    exactKl: null,
  }).numbers();

test('the slip is −1 where the policies are equal: no divergence', () => {
  for (const value of slip([0.5, 0.3, 0.2], [0.5, 0.3, 0.2])) expect(value).toBeCloseTo(-1, 15);
});

test('by hand: p = (½, ¼, ¼), q = (¼, ½, ¼); in expectation KL(q ‖ p) − 1', () => {
  const values = slip([0.5, 0.25, 0.25], [0.25, 0.5, 0.25]);
  const expected = [0.5 * (-Math.LN2 - 1), 2 * (Math.LN2 - 1), -1];
  for (const [i, value] of values.entries()) expect(value).toBeCloseTo(expected[i] as number, 14);
  const mean = 0.5 * (values[0] ?? 0) + 0.25 * (values[1] ?? 0) + 0.25 * (values[2] ?? 0);
  expect(mean).toBeCloseTo(0.25 * Math.LN2 - 1, 14); // KL(q ‖ p) = ¼ ln ½ + ½ ln 2
});

test('no recipe can name it', () => expect(KL_ESTIMATOR_NAMES).not.toContain('notes-slip'));
