import { expect, test } from 'vitest';
import { braceEnd, lastBoxed } from './braces.js';

test('finds the brace that closes', () => {
  expect(braceEnd('{a{b}c}d', 1)).toBe(6);
  expect(braceEnd(String.raw`{\{a\}}`, 1)).toBe(6);
  expect(braceEnd('{a{b}', 1)).toBe(-1);
});

test.each([
  [String.raw`first \boxed{1}, then \boxed{\frac{1}{2}}.`, String.raw`\frac{1}{2}`],
  [String.raw`$\boxed{\{1, 2\}}$`, String.raw`\{1, 2\}`],
  [String.raw`\fbox {x}`, 'x'],
  [String.raw`\boxed{1} and \boxed{2`, null],
  ['no box', null],
])('the last box of %j holds %j', (text, held) => {
  expect(lastBoxed(text)).toBe(held);
});
