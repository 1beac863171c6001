import { describe, expect, it } from 'vitest';
import { layOut } from './step-layout.js';

const LIMITS = { vocabulary: 24, positions: 64, pages: 9 };
const step = (columns: readonly { token: number; length: number; sequence: number }[], wanted: readonly number[]) => ({
  tokens: Int32Array.from(columns, ({ token }) => token),
  lengths: Int32Array.from(columns, ({ length }) => length),
  sequences: Int32Array.from(columns, ({ sequence }) => sequence),
  pages: Int32Array.of(5, 7, 2, 0, 8, 4),
  pagesEach: 2,
  wanted: Int32Array.from(wanted),
});

describe('layOut', () => {
  it('two that decode and a piece of a prompt: places in pages, runs of equal length', () => {
    const columns = [
      { token: 11, length: 18, sequence: 0 },
      { token: 12, length: 16, sequence: 1 },
      { token: 13, length: 16, sequence: 2 },
      { token: 14, length: 17, sequence: 2 },
    ];
    const { shape, numbers } = layOut(step(columns, [0, 1, 3]), LIMITS);
    expect(shape).toEqual({
      columns: 4,
      runs: [
        { count: 2, time: 1 },
        { count: 1, time: 2 },
      ],
      pagesEach: 2,
      wanted: 3,
    });
    expect([...numbers]).toEqual([
      ...[11, 12, 13, 14],
      ...[17, 15, 15, 16],
      ...[7 * 16 + 1, 2 * 16 + 15, 8 * 16 + 15, 4 * 16],
      ...[5, 7, 2, 0, 8, 4],
      ...[0, 1, 3],
    ]);
  });

  it('all columns wanted in order are not listed; in another order they are', () => {
    const columns = [
      { token: 1, length: 1, sequence: 0 },
      { token: 2, length: 1, sequence: 1 },
    ];
    expect(layOut(step(columns, [0, 1]), LIMITS).shape.wanted).toBeNull();
    const other = layOut(step(columns, [1, 0]), LIMITS);
    expect(other.shape.wanted).toBe(2);
    expect([...other.numbers.slice(-2)]).toEqual([1, 0]);
  });

  it('refuses tokens, lengths and pages that are not there', () => {
    const one = (token: number, length: number, pages = Int32Array.of(0), wanted = 0) => ({
      tokens: Int32Array.of(token),
      lengths: Int32Array.of(length),
      sequences: Int32Array.of(0),
      pages,
      pagesEach: pages.length,
      wanted: Int32Array.of(wanted),
    });
    const found = (...args: Parameters<typeof one>) => expect(() => layOut(one(...args), LIMITS));
    found(23, 16).not.toThrow();
    found(24, 1).toThrow('decoder: token 24 of 24');
    found(-1, 1).toThrow('decoder: token -1 of 24');
    expect(() => layOut(one(-2, 1), { ...LIMITS, drawn: 2 })).not.toThrow();
    expect(() => layOut(one(-3, 1), { ...LIMITS, drawn: 2 })).toThrow('decoder: token -3 of 24');
    found(1, 0).toThrow('column 0 has 0 tokens');
    found(1, 17).toThrow('column 0 has 17 tokens; there are 64 positions and 1 pages');
    found(1, 65, new Int32Array(9)).toThrow('column 0 has 65 tokens');
    found(1, 1, Int32Array.of(9)).toThrow('sequence 0 names page 9 of 9');
    found(1, 1, Int32Array.of(-1)).toThrow('names page -1');
    found(1, 1, Int32Array.of(0), 1).toThrow('wanted column 1 of 1');
  });
});
