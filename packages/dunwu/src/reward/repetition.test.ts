import { describe, expect, it } from 'vitest';
import { repetition } from './repetition.js';

describe('repetition', () => {
  it.each([
    // text, n, n-grams, repeated
    ['a b c d e', 4, 2, 0],
    ['a b c d a b c d', 4, 5, 1], // abcd bcda cdab dabc abcd
    ['A b C d a B c D', 4, 5, 1],
    ['a a a a a a', 2, 5, 4],
    ['一二三四一二三四', 4, 5, 1],
    ['80-21=59', 4, 2, 0], // 80-21= -21=59
    ['80-21=59 80-21=59', 4, 7, 2],
    ['80+21=59 80-21=59', 4, 7, 0],
    ['ab', 4, 0, 0],
    ['', 1, 0, 0],
    [`${'x'.repeat(60)}`, 1, 3, 2], // three pieces of 20
    ['!'.repeat(60), 1, 3, 2],
  ])('%j with n=%d: %d n-grams, %d of them repeated', (text, n, grams, repeated) => {
    expect(repetition(text, n)).toMatchObject({ grams, repeated, share: grams === 0 ? 0 : repeated / grams });
  });

  it('shows the passages that were written before, each whole', () => {
    const text = 'so 80-21=59, then: so 80-21=59; and so 80-21=59';
    const spans = repetition(text, 4).spans.map(([start, end]) => text.slice(start, end));
    expect(spans).toEqual(['so 80-21=59', 'so 80-21=59']);
  });

  it('keeps at most 64 spans and still counts everything', () => {
    const line = Array.from({ length: 100 }, (_, i) => `a b ${i}`).join(' ');
    const found = repetition(line, 2);
    expect(found).toMatchObject({ grams: 299, repeated: 99 });
    expect(found.spans).toHaveLength(64);
  });
});
