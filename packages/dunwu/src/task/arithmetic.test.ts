import { describe, expect, it } from 'vitest';
import { applyOperation, equationText, infix, isTrivial } from './arithmetic.js';

describe('arithmetic', () => {
  it('computes, and refuses a division that is not exact', () => {
    expect(applyOperation('add', 58, 27)).toBe(85);
    expect(applyOperation('sub', 21, 80)).toBe(-59);
    expect(applyOperation('mul', 14, 3)).toBe(42);
    expect(applyOperation('div', 72, 4)).toBe(18);
    expect(applyOperation('div', 73, 4)).toBeUndefined();
    expect(applyOperation('div', 7, 0)).toBeUndefined();
  });

  it('knows steps that say nothing', () => {
    const steps = [
      ['add', 0, 5],
      ['sub', 5, 0],
      ['mul', 1, 5],
      ['mul', 5, 1],
      ['div', 5, 1],
      ['div', 5, 5],
    ] as const;
    expect(steps.map((step) => isTrivial(...step))).toEqual([true, true, true, true, true, true]);
    expect(isTrivial('sub', 5, 5)).toBe(true);
    expect(isTrivial('div', 1, 5)).toBe(false);
    expect(isTrivial('sub', 5, 1)).toBe(false);
    expect(isTrivial('add', 1, 1)).toBe(false);
  });

  it('writes equations as they are given', () => {
    expect(equationText('sub', 80, 21, 69)).toBe('80-21=69');
    expect(equationText('div', 72, 4, 18)).toBe('72/4=18');
  });

  it('brackets exactly where the tree needs it', () => {
    const sum = { op: 'add', left: 12, right: 3 } as const;
    expect(infix({ op: 'mul', left: sum, right: 4 })).toBe('(12+3)*4');
    expect(infix({ op: 'sub', left: sum, right: 4 })).toBe('12+3-4');
    expect(infix({ op: 'sub', left: 20, right: sum })).toBe('20-(12+3)');
    expect(infix({ op: 'add', left: 20, right: sum })).toBe('20+(12+3)');
    expect(infix({ op: 'sub', left: 60, right: { op: 'mul', left: 12, right: 3 } })).toBe('60-12*3');
    expect(infix({ op: 'div', left: 60, right: { op: 'mul', left: 5, right: 3 } })).toBe('60/(5*3)');
  });
});
