import { describe, expect, it } from 'vitest';
import { compareMaths, MATHS_DEFAULTS, type MathsOptions } from './equality.js';

const compare = (gold: string, answer: string, options: Partial<MathsOptions> = {}) =>
  compareMaths(gold, answer, { ...MATHS_DEFAULTS, ...options });

/** Written with String.raw: one backslash is one backslash. */
const rows = (text: string): [string, string][] =>
  text
    .trim()
    .split('\n')
    .map((line) => {
      const [gold = '', answer = ''] = line.split('  ~  ').map((part) => part.trim());
      return [gold, answer];
    });

const EQUAL = String.raw`
  \frac{3}{4}  ~  \dfrac{3}{4}
  \frac{3}{4}  ~  3/4
  \frac{3}{4}  ~  0.75
  \frac{3}{4}  ~  $\frac34$
  \frac{3}{4}  ~  \(\tfrac{6}{8}\)
  \frac{3}{4}  ~  ¾
  \frac{3}{4}  ~  75\%
  \frac{3}{4}  ~  四分之三
  \frac{3}{4}  ~  three quarters
  -\frac{3}{4}  ~  \frac{-3}{4}
  -\frac{3}{4}  ~  -0.75
  1\frac{1}{2}  ~  \frac{3}{2}
  1\frac12  ~  1.5
  1 1/2  ~  3/2
  1{,}000  ~  1000
  1,234,567  ~  1234567
  1\,000  ~  1{,}000
  1000  ~  10^3
  1000  ~  1 000
  2{,}000.5  ~  2000.50
  1.5 \times 10^{3}  ~  1500
  1.5e3  ~  1500
  0.\overline{3}  ~  \frac{1}{3}
  2^{10}  ~  1024
  2^10  ~  1024
  2**10  ~  1024
  5!  ~  120
  \binom{5}{2}  ~  10
  \dbinom{n}{2}  ~  \frac{n(n-1)}{2}
  50\%  ~  50
  50\%  ~  0.5
  50\%  ~  \frac12
  12.5%  ~  1/8
  \frac{1}{3}\%  ~  \frac{1}{300}
  18\text{ cm}  ~  18
  18  ~  18 \text{ cm}^2
  18  ~  18\,\mathrm{km/h}
  18 \text{ square feet}  ~  18
  18元  ~  18
  18  ~  18 平方厘米
  18 apples  ~  18
  \$18.50  ~  18.5
  \$18.50  ~  18 dollars and 50 cents
  18.5  ~  $18.50
  2.5  ~  2 hours 30 minutes
  150  ~  2小时30分
  1 m  ~  100 cm
  1\text{ m}^2  ~  10000\text{ cm}^2
  1.5\text{ hours}  ~  90\text{ minutes}
  2千克  ~  2000克
  30^\circ  ~  30
  30^\circ  ~  30°
  30^{\circ}  ~  30 degrees
  30^\circ  ~  30度
  30^\circ  ~  \frac{\pi}{6}
  90  ~  90^\circ
  \sin 30^\circ  ~  \frac12
  2\sqrt{2}  ~  \sqrt{8}
  2\sqrt{2}  ~  2*sqrt(2)
  2\sqrt2  ~  2√2
  \frac{1}{\sqrt{2}}  ~  \frac{\sqrt{2}}{2}
  \sqrt[3]{8}  ~  2
  \sqrt[3]{-8}  ~  -2
  \sqrt{2}+\sqrt{3}  ~  \sqrt{3}+\sqrt{2}
  \sqrt{5+2\sqrt{6}}  ~  \sqrt{2}+\sqrt{3}
  \frac{1+\sqrt{5}}{2}  ~  \frac{\sqrt5+1}{2}
  4\pi  ~  4π
  4\pi  ~  4pi
  \frac{\pi}{2}  ~  π/2
  \pi r^2  ~  r^2\pi
  \ln 8  ~  3\ln 2
  \log_2 8  ~  3
  \log_{3} 81  ~  4
  e^{2}  ~  e \cdot e
  e^{i\pi}  ~  -1
  3+4i  ~  4i+3
  (1+i)^2  ~  2i
  \frac{1}{i}  ~  -i
  x^2+2x+1  ~  (x+1)^2
  x^2+2x+1  ~  1 + 2x + x^2
  x^2-1  ~  (x-1)(x+1)
  x^2+2x+1  ~  x**2 + 2*x + 1
  x^{10}-1  ~  x^10 - 1
  \frac{x^2-1}{x-1}  ~  x+1
  \frac{x}{2}+\frac{x}{3}  ~  \frac{5x}{6}
  \frac{1}{x}+\frac{1}{y}  ~  \frac{x+y}{xy}
  2xy  ~  2yx
  \sin^2 x + \cos^2 x  ~  1
  \sin(2x)  ~  2\sin x\cos x
  \tan x  ~  \frac{\sin x}{\cos x}
  e^{x+y}  ~  e^x e^y
  \ln(x^2)  ~  2\ln x
  \sqrt{x^2}  ~  |x|
  2^n \cdot 2  ~  2^{n+1}
  (-1)^n  ~  \cos(\pi n)
  \frac{n(n+1)}{2}  ~  \frac{n^2+n}{2}
  a_1 + a_2  ~  a_2 + a_1
  x' + 1  ~  1 + x'
  x=3  ~  3
  3  ~  x=3
  x = 3  ~  x=3.0
  x = 2 + 1 = 3  ~  3
  3  ~  1 + 2 = 3
  y=2x+1  ~  2x+1
  y=2x+1  ~  y - 2x = 1
  y=2x+1  ~  2x - y + 1 = 0
  x+y=2  ~  2x+2y=4
  f(x)=x^2  ~  x^2
  x^2+1  ~  f(x) = 1+x^2
  \angle ABC = 30^\circ  ~  30
  x^2+y^2=4  ~  4 = y^2 + x^2
  \{1,2\}  ~  \{2,1\}
  \{1,2\}  ~  1, 2
  \{1,2\}  ~  \left\{ 2,\, 1 \right\}
  \{1,2\}  ~  \{1, 1, 2\}
  \{100,200,300\}  ~  \{300, 200, 100\}
  \{\frac12\}  ~  0.5
  1,2  ~  2, 1
  1, 2  ~  1 and 2
  1, 2  ~  2 or 1
  1, 2  ~  1\text{ and }2
  1和2  ~  2，1
  x=1, x=2  ~  1,2
  x = 1 \text{ or } x = 2  ~  x=2, x=1
  1 \pm \sqrt{2}  ~  1+\sqrt2, 1-\sqrt2
  \pm 2  ~  -2, 2
  x = \pm 2  ~  x = 2 or x = -2
  (1,2)  ~  \left( 1, 2 \right)
  (1,2)  ~  (1.0, \frac{4}{2})
  (1,2)  ~  1, 2
  (1,2)  ~  \begin{pmatrix} 1 \\ 2 \end{pmatrix}
  (-\frac12, \sqrt{3})  ~  (-0.5, \sqrt 3)
  (1,2,3)  ~  (1, 2, 3)
  (0,1]  ~  (0, 1.0]
  (0,1]  ~  0 < x \le 1
  (0,1]  ~  1 >= x > 0
  (0,1]  ~  x\in(0,1]
  (3,\infty)  ~  x > 3
  (3,\infty)  ~  3 < x
  (-\infty, 2]  ~  x \leq 2
  (-\infty, 2]  ~  [-\infty, 2]
  (-\infty,1)\cup(2,\infty)  ~  (2,\infty) \cup (-\infty,1)
  (-\infty,1)\cup(2,\infty)  ~  x<1 or x>2
  x \ge 5  ~  [5,\infty)
  x \ge 5  ~  5 \le x
  [0,1)∪(2,3]  ~  [0,1) \cup (2,3]
  y > 2x+1  ~  2x + 1 < y
  \begin{pmatrix}1&2\\3&4\end{pmatrix}  ~  \begin{bmatrix} 1 & 2 \\ 3 & \frac{8}{2} \end{bmatrix}
  1101_2  ~  1101_{2}
  1101_2  ~  1101
  \text{Evelyn}  ~  Evelyn
  \text{(B)}  ~  B
  \text{B}  ~  (B)
  \text{yes}  ~  Yes.
  Monday  ~  \text{Monday}
  偶数  ~  偶数。
  \emptyset  ~  \varnothing
  \infty  ~  infinity
  \boxed{42}  ~  42
  十八  ~  18
  负五  ~  -5
  2 million  ~  2000000
  3万  ~  30000
  -5  ~  minus 5
  \sum_{k=1}^{10} k  ~  \sum_{k=1}^{10} k
  .5  ~  0.50
  \text{6 apples}  ~  6
  1:2:3  ~  1 : 2 : 3
  \{x|x>3\}  ~  (3,\infty)
  \{x \mid x>3\}  ~  x > 3
  2或3  ~  3或2
  x<1或x>3  ~  (-∞,1)∪(3,+∞)
  3/4小时  ~  45分钟
  8  ~  \sqrt{64}
  n!  ~  n(n-1)!
  \frac{\ln x}{\ln 2}  ~  \log_2 x
  9^{9^{9^9}}  ~  9^{9^{9^9}}
  17 + 18  ~  35
  250/3  ~  83.33
  \sqrt{2}  ~  1.41
  \pi  ~  3.1416
  \frac{2}{3}  ~  0.667
`;

const DIFFERENT = String.raw`
  \frac{3}{4}  ~  \frac{4}{3}
  \frac{3}{4}  ~  0.7
  \frac{3}{4}  ~  -\frac34
  1\frac12  ~  \frac12
  1000  ~  1
  1{,}000  ~  1, 0
  1{,}000  ~  1
  2^{10}  ~  20
  2^{1000}  ~  2^{1000}+1
  123456789012345678  ~  123456789012345679
  50\%  ~  5
  50%  ~  0.5%
  18  ~  18, 20
  18  ~  18 or 20
  18  ~  \{18\}, \{20\}
  18  ~  \{17,18,19\}
  18  ~  17 + 18
  18  ~  17 = 18
  18  ~  18 = 17
  18  ~  x = 18 = 17
  18  ~  18x
  18 \text{ cm}  ~  18.5 \text{ cm}
  1 m  ~  10 cm
  30^\circ  ~  \frac{\pi}{3}
  30^\circ  ~  60
  \frac{\pi}{6}  ~  30
  2\sqrt{2}  ~  \sqrt{6}
  2\sqrt{2}  ~  2.8
  \sqrt{2}  ~  1.42
  \sqrt{2}  ~  2
  4\pi  ~  4
  4\pi  ~  12.5
  4  ~  4\pi
  3+4i  ~  3-4i
  5x  ~  5
  5x  ~  5y
  x^2  ~  t^2
  x^2+2x+1  ~  x^2+2x-1
  x^2+2x+1  ~  (x+1)(x+2)
  (x+1)^2  ~  x^2+1
  \sqrt{x^2}  ~  x
  \frac{1}{x}  ~  x
  2^n  ~  n^2
  \sin x  ~  \sin(-x)
  \sin x  ~  x
  x  ~  X
  a_1  ~  a_2
  x=3  ~  y=3
  x=3  ~  x=4
  x=3  ~  x>3
  y=2x+1  ~  y=2x-1
  y=2x+1  ~  y=x+1
  x+y=2  ~  x+y=3
  x^2+y^2=4  ~  x^2+y^2=2
  \{1,2\}  ~  \{1,3\}
  \{1,2\}  ~  \{1\}
  \{1,2\}  ~  \{1,2,3\}
  \{1,2\}  ~  1
  \{1,2\}  ~  (1,2]
  1,2  ~  1
  1,2  ~  1,2,3
  1,1  ~  1,2
  1 \pm \sqrt{2}  ~  1+\sqrt{2}
  1 \pm \sqrt{2}  ~  \pm(1+\sqrt2)
  (1,2)  ~  (2,1)
  (1,2)  ~  2, 1
  (1,2)  ~  [1,2]
  (1,2)  ~  (1,2,3)
  (1,2)  ~  \{1,2\}
  (0,1]  ~  [0,1]
  (0,1]  ~  (0,1)
  (0,1]  ~  0 < x < 1
  (3,\infty)  ~  x < 3
  (3,\infty)  ~  x \ge 3
  (3,\infty)  ~  (3,-\infty)
  x \ge 5  ~  x > 5
  y > 2x+1  ~  y < 2x+1
  y > 2x+1  ~  y \ge 2x+1
  (-\infty,1)\cup(2,\infty)  ~  (-\infty,1)
  (-\infty,1)\cup(2,\infty)  ~  (-\infty,1]\cup(2,\infty)
  \begin{pmatrix}1&2\\3&4\end{pmatrix}  ~  \begin{pmatrix}1&3\\2&4\end{pmatrix}
  \begin{pmatrix}1&2\\3&4\end{pmatrix}  ~  (1,2,3,4)
  1101_2  ~  1101_3
  1101_2  ~  13
  1101_2  ~  1100
  \text{Evelyn}  ~  Carla
  \text{(B)}  ~  C
  \text{yes}  ~  no
  偶数  ~  奇数
  \infty  ~  -\infty
  \emptyset  ~  0
  \text{Evelyn}  ~  Evelyn or Carla
  十八  ~  十九
  \frac{250}{3}  ~  83.34
  \frac{250}{3}  ~  83
  0.33  ~  \frac13
  59  ~  80 - 21
  35  ~  5 \times 7
  18  ~  18三十
  1:2:3  ~  1:3:2
  \overline{AB}  ~  AB
  \log x  ~  \ln x
  \{x|x>3\}  ~  \{x|x>4\}
  3.14  ~  \pi
  3:4  ~  4:3
`;

/** Answers that are no mathematics, or too much of it. */
const UNPARSABLE = [
  '',
  '   ',
  '$$',
  '\\frac{1}{',
  '{{{',
  '}{',
  '(1, 2',
  '\\sqrt',
  '\\frac{1}',
  '1 2 3',
  '1 +',
  'x^',
  '???',
  '=',
  '\\foo{2}',
  'about 18',
  'half of 18',
  '18 sixty',
  '18 \\text{ maybe one}',
  '18 \\text{ or 20}',
  '('.repeat(500),
  `${'('.repeat(60)}1${')'.repeat(60)}`,
  `${'{'.repeat(41)}1${'}'.repeat(41)}`,
  '1+'.repeat(600),
  `x${'^{x'.repeat(45)}${'}'.repeat(45)}`,
  '\u0000',
];

describe('compareMaths', () => {
  it.each(rows(EQUAL))('%s equals %s', (gold, answer) => {
    expect(compare(gold, answer)).toBe('equal');
  });

  it.each(rows(DIFFERENT))('%s is not %s', (gold, answer) => {
    expect(compare(gold, answer)).toBe('different');
  });

  it.each(UNPARSABLE)('%j cannot be read, as an answer or as a gold answer', (text) => {
    expect(compare('\\frac{3}{4}', text)).toBe('unparsable');
    expect(compare(text, '\\frac{3}{4}')).toBe('bad-gold');
  });

  it.each([
    ['9^{9^{9^9}}', '9^{9^{9^8}}'],
    ['\\frac{1}{0}', '\\frac{2}{0}'],
    ['\\int_0^1 x dx', '\\frac12'],
  ])('%s and %s: nobody can tell', (gold, answer) => {
    expect(compare(gold, answer)).toBe('undecided');
  });

  it('looks at units only when asked to', () => {
    const units = 'match' as const;
    expect(compare('5 cm', '5 m')).toBe('equal');
    expect(compare('5 cm', '5 m', { units })).toBe('different');
    expect(compare('5 cm', '5', { units })).toBe('different');
    expect(compare('5 cm', '0.05 m', { units })).toBe('equal');
    expect(compare('5 cm', '5厘米', { units })).toBe('equal');
    expect(compare('5 apples', '5 apple', { units })).toBe('equal');
    expect(compare('5 apples', '5 pears', { units })).toBe('different');
    expect(compare('5', '5 cm', { units })).toBe('equal');
  });

  it('asks for decimal places, and forgives within a tolerance', () => {
    expect(compare('\\sqrt{2}', '1.41', { decimals: 3 })).toBe('different');
    expect(compare('\\sqrt{2}', '1.414', { decimals: 3 })).toBe('equal');
    expect(compare('\\frac{2}{3}', '0.67', { decimals: 3 })).toBe('different');
    expect(compare('\\frac{3}{4}', '0.7', { decimals: 1 })).toBe('different'); // it has a finite decimal
    expect(compare('3.14', '\\pi', { tolerance: 0.001 })).toBe('equal');
    expect(compare('3.14', '3.15', { tolerance: 0.001 })).toBe('different');
    expect(compare('314', '314.1', { tolerance: 0.001 })).toBe('different'); // no decimal
  });

  it('finds every gold answer of the tables equal to itself', () => {
    for (const [gold, answer] of [...rows(EQUAL), ...rows(DIFFERENT)]) {
      expect([gold, compare(gold, gold)]).toEqual([gold, 'equal']);
      expect([answer, compare(answer, answer)]).not.toEqual([answer, 'different']);
    }
  });
});
