import { describe, expect, it } from 'vitest';
import { applyOperation, type Operation } from '../task/arithmetic.js';
import { buggyResult } from './arithmetic-bug.js';

describe('buggyResult', () => {
  it.each<[Operation, number, number, number]>([
    ['add', 58, 27, 75], // 8+7=15 → 5; 5+2=7
    ['add', 58, 7, 55],
    ['add', 95, 27, 112], // the leading column in full: 9+2=11
    ['add', 40, 29, 69], // no carry: right
    ['add', 5, 7, 12], // one column only
    ['add', 385, 276, 551], // 5+6 → 1, 8+7 → 5, 3+2=5
    ['sub', 80, 21, 69], // 10-1=9; 8-2=6
    ['sub', 59, 11, 48], // no borrow: right
    ['sub', 12, 9, 13],
    ['sub', 305, 210, 195],
    ['sub', 100, 99, 111],
    ['mul', 14, 3, 32], // 12 → 2; 1*3=3
    ['mul', 23, 3, 69],
    ['mul', 27, 5, 105], // 35 → 5; 2*5=10
    ['div', 72, 4, 10], // 7/4=1, remainder 3 forgotten; 2/4=0
    ['div', 96, 4, 21],
    ['div', 84, 4, 21],
    ['div', 12, 4, 3],
  ])('%s %d %d = %d', (op, left, right, result) => {
    expect(buggyResult(op, left, right)).toBe(result);
  });

  it('is right exactly where no column carries or borrows', () => {
    for (let a = 0; a < 100; a++) {
      for (let b = 0; b < 100; b++) {
        const carries = a % 10 >= 0 && (a % 10) + (b % 10) >= 10 && (a > 9 || b > 9);
        expect(buggyResult('add', a, b) === a + b).toBe(!carries);
        if (a >= b) expect(buggyResult('sub', a, b) === a - b).toBe(a % 10 >= b % 10);
      }
    }
    expect(buggyResult('mul', 12, 4)).toBe(applyOperation('mul', 12, 4));
  });

  it('is undefined where columns do not apply', () => {
    expect(buggyResult('sub', 20, 21)).toBeUndefined();
    expect(buggyResult('add', -1, 2)).toBeUndefined();
    expect(buggyResult('mul', 3, 12)).toBeUndefined();
    expect(buggyResult('div', 3, 0)).toBeUndefined();
    expect(buggyResult('add', 0.5, 2)).toBeUndefined();
  });
});
