import { expect, it } from 'vitest';
import { sameOutput, sameValue } from './code-compare.js';

it.each([
  [1, 1, true],
  [1, true, false],
  [0, -0, true],
  [null, {}, false],
  [[], {}, false],
  [[1, [2]], [1, [2]], true],
  [[1, 2], [2, 1], false],
  [{ a: 1, b: 2 }, { b: 2, a: 1 }, true],
  [{ a: 1 }, { a: 1, b: 2 }, false],
  [{ toString: 1 }, { other: 1 }, false],
  [JSON.parse('{"__proto__": 1}'), {}, false],
  ['1', 1, false],
])('%j and %j: %s', (expected, found, same) => {
  expect(sameValue(expected, found)).toBe(same);
});

it('goes no deeper than what is expected', () => {
  const deep = JSON.parse(`${'['.repeat(100_000)}${']'.repeat(100_000)}`);
  expect(sameValue([[1]], deep)).toBe(false);
});

it('only white space at ends may differ in what is printed', () => {
  expect(sameOutput('1\n2\n', '1 \r\n2\t')).toBe(true);
  expect(sameOutput('1 2', '1  2')).toBe(false);
  expect(sameOutput('1\n2', '1\n\n2')).toBe(false);
  expect(sameOutput(' 1', '1')).toBe(false);
});
