import { describe, expect, it } from 'vitest';
import { findEquations } from './equations.js';

/** "✓ 80-21=59": the verdict and the text of each equation. */
function found(text: string): string[] {
  return findEquations(text).map(({ right, span }) => `${right ? '✓' : '✗'} ${text.slice(...span)}`);
}

describe('findEquations', () => {
  it.each<[string, string[]]>([
    ['80-21=59', ['✓ 80-21=59']],
    ['80-21=58', ['✗ 80-21=58']],
    ['so 3 × 4 = 12 eggs.', ['✓ 3 × 4 = 12']],
    ['$12/60 = $0.2', ['✓ 12/60 = $0.2']],
    ['3x4=12', ['✓ 3x4=12']],
    ['5 x $2 = $10', ['✓ 5 x $2 = $10']],
    ['36 ÷ 2 = 18', ['✓ 36 ÷ 2 = 18']],
    ['<<48/2=24>>', ['✓ 48/2=24']],
    ['48/2 = <<48/2=24>>24 clips', ['✓ 48/2 = <<48/2=24>>24']],
    ['9*3 = <<9*3=27>>25 eggs', ['✗ 9*3 = <<9*3=27>>25', '✓ 9*3=27']],
    ['10 boys + 7 girls = 17 children', ['✓ 10 boys + 7 girls = 17']],
    ['80 words/stanza * 20 stanzas = 1600 words', ['✓ 80 words/stanza * 20 stanzas = 1600']],
    ['2 males / 3 guests * 60 guests = 40 males', ['✓ 2 males / 3 guests * 60 guests = 40']],
    ['3盒×6包=18包', ['✓ 3盒×6包=18']],
    ['一共买了３×６＝18（包）', ['✓ ３×６＝18']],
    ['17÷5=3……2', ['✓ 17÷5=3……2']],
    ['17÷5=3(个)……1(个)', ['✗ 17÷5=3(个)……1']],
    ['17÷5=3余2', ['✓ 17÷5=3余2']],
    ['(16-3-4)*2 = 9*2 = 18', ['✓ (16-3-4)*2 = 9*2', '✓ 9*2 = 18']],
    ['80-21=60-1=58', ['✓ 80-21=60-1', '✗ 60-1=58']],
    ['\\(\\frac{3}{4} \\times 8 = 6\\)', ['✓ \\frac{3}{4} \\times 8 = 6']],
    ['20% of 50 = 10', ['✓ 20% of 50 = 10']],
    ['(30/60)*100 = 50%', ['✓ (30/60)*100 = 50%']],
    ['10% + 20% = 30%', ['✓ 10% + 20% = 30%']],
    ['1 1/2 * 4 = 6', ['✓ 1 1/2 * 4 = 6']],
    ['1,200 + 300 = 1,500', ['✓ 1,200 + 300 = 1,500']],
    ['4(2)=8', ['✓ 4(2)=8']],
    ['2^3 = 8', ['✓ 2^3 = 8']],
    ['**48/2 = 24**', ['✓ 48/2 = 24']],
    ['- 48/2 = 24', ['✓ 48/2 = 24']],
    ['1. 48/2 = 24', ['✓ 48/2 = 24']],
    ['500 / 2/5 = 1250', ['✓ 500 / 2/5 = 1250']],
    ['32 / 2 = $16 million', ['✓ 32 / 2 = $16 million']],
    ['72 = 48 + 24', ['✓ 72 = 48 + 24']],
    ['72 = 48 + 25', ['✗ 72 = 48 + 25']],
    ['10/3 = 3.33', ['✓ 10/3 = 3.33']],
    ['20/3 ≈ 6.7', ['✓ 20/3 ≈ 6.7']],
    ['20/3 ≈ 7', ['✓ 20/3 ≈ 7']],
    ['20/3 = 7', ['✗ 20/3 = 7']],
    ['20/3 ≈ 6.8', ['✗ 20/3 ≈ 6.8']],
    ['5 - 8 = -3', ['✓ 5 - 8 = -3']],
    ['3 * -2 = -6', ['✓ 3 * -2 = -6']],
    ['1/0 = 5', []],
    ['x = 5', []],
    ['2x + 3 = 11', []],
    ['x + 3*2 = 11', []],
    ['7d - 8 = 69', []],
    ['2 kg = 2 * 1000 g', []],
    ['7:50 + 30 minutes = 8:20', []],
    ['5 = 5', []],
    ['a => 3+4 => b', []],
    ['3+4 >= 7, 3+4 != 8', []],
    ['She has 3 apples.', []],
    ['=', []],
    ['', []],
  ])('%j', (text, equations) => {
    expect(found(text)).toEqual(equations);
  });

  it('gives operands and result as written, and one key for reordered equal steps', () => {
    const [a, b, c] = findEquations('48+24=72; 24 + 48 clips = 72 clips; 72-24=48');
    expect(a?.operands.map(({ value }) => value.toFraction())).toEqual(['48', '24']);
    expect(a?.result.toFraction()).toBe('72');
    expect(a?.key).toBe(b?.key);
    expect(c?.key).not.toBe(a?.key);
  });

  it('knows trivial and chained steps', () => {
    const [a, b, c] = findEquations('48*1=48 and 2*3=5+1=6');
    expect([a?.trivial, b?.trivial, a?.chained, b?.chained, c?.chained]).toEqual([true, false, false, false, true]);
  });
});
