import { expect, test } from 'vitest';
import { textTable } from './text-table.js';

test('columns begin or end together, in columns of a terminal; nothing trails', () => {
  const rows = [
    ['规则', 'points', ''],
    ['format', '0.5', '好'],
    ['x', '12', 'long'],
  ];
  expect(textTable(rows, (column) => column !== 1)).toEqual([
    '规则    points',
    'format     0.5  好',
    'x           12  long',
  ]);
});

test('no rows, no lines', () => {
  expect(textTable([], () => true)).toEqual([]);
});
