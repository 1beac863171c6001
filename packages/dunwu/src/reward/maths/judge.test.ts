import { describe, expect, it } from 'vitest';
import { MATHS_DEFAULTS } from './equality.js';
import { judgeMaths } from './judge.js';

const judge = (gold: string, answer: string, ms = 10_000) => judgeMaths(gold, answer, MATHS_DEFAULTS, ms);

/** What a model, or whoever wants points or a stuck run, may write. None of it is 3/4. */
const HOSTILE: readonly string[] = [
  '9^{9^{9^{9}}}',
  '9^9^9^9',
  '1e999999999',
  '10^{999999999}',
  '(10^{300})^{300}',
  '2.5^{1000000000}',
  '999999999!',
  '((((9!)!)!)!)!',
  `${'\\sqrt{'.repeat(35)}2${'}'.repeat(35)}`,
  `${'\\frac{1}{'.repeat(35)}2${'}'.repeat(35)}`,
  '('.repeat(100_000),
  `${'{'.repeat(39)}1${'}'.repeat(39)}`,
  '\\left('.repeat(300),
  `${'1+'.repeat(400)}1`,
  `(x+1)^{${'9'.repeat(100)}}`,
  Array.from({ length: 26 }, (_, i) => String.fromCharCode(97 + i)).join('+'),
  `${'1,'.repeat(400)}1`,
  '(1,(1,(1,(1,(1,(1,(1,(1,1))))))))',
  '\\cup'.repeat(200),
  '='.repeat(900),
  'x=1=2=3=4=5=6=7=8=9',
  `${'\\pm'.repeat(100)}1`,
  '\\text{'.repeat(30),
  '__proto__',
  'constructor',
  'toString()',
  'hasOwnProperty=1',
  '\\constructor',
  '\\operatorname{constructor}(1)',
  '\\mathrm{__proto__}',
  '5 constructor',
  '5 __proto__',
  '\\frac{0}{0}',
  '\\frac{1}{0}',
  '\\infty-\\infty',
  '0^0',
  '\\ln 0',
  'NaN',
  'Infinity',
  'undefined',
  'null',
  '\u0000\u0001',
  '\ud83d',
  '$'.repeat(999),
  '%'.repeat(999),
  '^'.repeat(999),
  '_'.repeat(999),
  '-'.repeat(999),
  '\\\\'.repeat(499),
  'a'.repeat(1000),
  '1 '.repeat(499),
  ' '.repeat(1_000_000),
  '\\overline{9}'.repeat(50),
  '0.\\overline{'.repeat(20),
  '\\begin{pmatrix}'.repeat(40),
  '\\sum_{k=1}^{10^{9}} \\frac{1}{k}',
  '\\int_0^{\\infty} e^{-x^2} dx',
  '<answer>3/4</answer>',
  '"); process.exit(1); ("',
  '3/4; 1',
  '0.75, 0.5',
];

describe('judgeMaths', () => {
  it.each(HOSTILE.map((text) => [text.slice(0, 60), text]))('%j ends with a status', (_, text) => {
    expect(['different', 'undecided', 'unparsable', 'timeout']).toContain(judge('\\frac{3}{4}', text));
    expect(['different', 'undecided', 'bad-gold', 'timeout']).toContain(judge(text, '\\frac{3}{4}'));
  });

  it('goes on with a new thread after one that was ended, and remembers', () => {
    const endless = '\\sum_{k=1}^{10^{9}} \\frac{1}{k^2}';
    expect(judge(endless, '\\sum_{k=1}^{10^{9}} \\frac{1}{k^3}', 50)).toBe('timeout');
    expect(judge('x^2+2x+1', '(x+1)^2')).toBe('equal');
    expect(judge('x^2+2x+1', '(x+1)^2')).toBe('equal');
  });
});
