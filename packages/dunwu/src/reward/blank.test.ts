import { expect, it } from 'vitest';
import { saysSomething, visiblePart } from './blank.js';

it.each([
  ['', false],
  [' \n\t\u3000', false],
  ['\u200b\u200d\u2060\ufeff\u00ad\u202e', false],
  ['\u3164\u115f\uffa0\u2800', false], // a Hangul filler is a letter to Unicode
  ['……... —— !?', false],
  ['\u200b1', true],
  ['答', true],
  ['a', true],
])('%j says something: %s', (text, says) => {
  expect(saysSomething(text)).toBe(says);
});

it('leaves what can be seen', () => {
  expect(visiblePart(' ∅\u200b √\n2 ')).toBe('∅√2');
});
