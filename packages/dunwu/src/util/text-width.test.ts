import { expect, test } from 'vitest';
import { fitWidth, textWidth } from './text-width.js';

test('wide characters count double, marks and colours nothing', () => {
  expect(textWidth('abc')).toBe(3);
  expect(textWidth('奖励 0.5')).toBe(8);
  expect(textWidth('e\u0301')).toBe(1);
  expect(textWidth('\u001b[32mok\u001b[0m')).toBe(2);
  expect(textWidth('🎉')).toBe(2);
  expect(textWidth('<｜User｜>')).toBe(10);
});

test('cuts at a column, never in the middle of a wide character', () => {
  expect(fitWidth('abcdef', 6)).toBe('abcdef');
  expect(fitWidth('abcdef', 4)).toBe('abc…');
  expect(fitWidth('奖励程序', 6)).toBe('奖励…');
  expect(fitWidth('奖励程序', 5)).toBe('奖励…');
  expect(textWidth(fitWidth('奖励程序', 4))).toBeLessThanOrEqual(4);
});
