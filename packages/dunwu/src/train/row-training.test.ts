import { expect, it } from 'vitest';
import { Random } from '../util/random.js';
import { rowsInParts, splitByPrompt } from './row-training.js';

it('of one prompt fall on one side; the order stays; the share is kept', () => {
  const rows = Array.from({ length: 100 }, (_, i) => ({ prompt: `p${i % 30}`, i }));
  const { training, heldOut } = splitByPrompt(rows, 0.2, new Random(1));
  expect(training.length + heldOut.length).toBe(100);
  expect(heldOut.length).toBeGreaterThanOrEqual(20);
  expect(heldOut.length).toBeLessThan(24);
  const learnt = new Set(training.map(({ prompt }) => prompt));
  expect(heldOut.some(({ prompt }) => learnt.has(prompt))).toBe(false);
  expect(training.map(({ i }) => i)).toEqual(training.map(({ i }) => i).sort((a, b) => a - b));
  expect(splitByPrompt(rows, 0, new Random(1)).heldOut).toEqual([]);
  expect(splitByPrompt(rows.slice(0, 3), 0.01, new Random(1)).heldOut).toHaveLength(1);
});

it('in parts: no part above the limit but single rows, nothing lost', () => {
  const rows = [5, 2, 9, 3, 4].map((length) => ({ sequence: new Array<number>(length).fill(0) }));
  const parts = rowsInParts(rows, ({ sequence }) => [sequence, sequence], 16);
  // Two rows of 2 and two of 3 are filled up to 4 · 3 = 12; with 4 they would be 6 · 4.
  expect(parts.map((part) => part.map(({ sequence }) => sequence.length))).toEqual([[2, 3], [4], [5], [9]]);
});
