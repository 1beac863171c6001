import { describe, expect, it } from 'vitest';
import type { Problem } from '../task/problem.js';
import { Random } from '../util/random.js';
import { RewardProgram } from './program.js';

const problem: Problem = {
  id: 'p',
  prompt: 'Mary has 80 cards and loses 21.',
  answer: '59',
  source: 'mini',
  language: 'en',
  meta: { steps: ['80-21=59'] },
};
const good = '<think>She has 80-21=59 left.</think><answer>59</answer>';

describe('RewardProgram', () => {
  it('sums weighted points and keeps every part', () => {
    const program = new RewardProgram({ rules: { accuracy: 1, format: 0.5, steps: { weight: 0.25 } } });
    const trace = program.score(problem, good);
    expect(trace.total).toBe(1.75);
    expect(trace.parts.map(({ name, weight, points }) => [name, weight, points])).toEqual([
      ['accuracy', 1, 1],
      ['format', 0.5, 1],
      ['steps', 0.25, 1],
    ]);
    expect(trace.steps?.map(({ span, points, rule }) => [good.slice(...span), points, rule])).toEqual([
      ['80-21=59', 1, 'steps'],
    ]);
    expect(program.score(problem, '59').total).toBe(0);
    expect(program.max('mini')).toBe(1.75);
  });

  it('has weights and options of its own for a source', () => {
    const program = new RewardProgram({
      rules: { accuracy: 1, format: 0.5 },
      sources: { gsm8k: { format: 0, accuracy: { weight: 2, require_tags: false } } },
    });
    expect(program.score(problem, '#### 59').total).toBe(0);
    const trace = program.score({ ...problem, source: 'gsm8k' }, '#### 59');
    expect(trace.total).toBe(2);
    expect(trace.parts.map((part) => part.name)).toEqual(['accuracy']);
    expect(program.max('gsm8k')).toBe(2);
  });

  it('charges with negative weights, and leaves them out of the best case', () => {
    const program = new RewardProgram({ rules: { accuracy: 1, length: { weight: -1, max: 1000 } } });
    expect(program.score(problem, good).total).toBe(0);
    expect(program.max('mini')).toBe(1);
  });

  it.each([
    [{ rules: {} }, /name at least one rule/],
    [{ rules: { acuracy: 1 } }, /acuracy/],
    [{ rules: { accuracy: 'high' } }, /give a weight/],
    [{ rules: { accuracy: { tags: true } } }, /"accuracy"[\s\S]*tags/],
    [{ rules: { format: { strict: true } } }, /strict/],
    [{ rules: { length: 1 } }, /"max"/],
    [
      { rules: { accuracy: 1 }, sources: { a: { format: 1 } } },
      /format is not among this program's rules \(accuracy\)/,
    ],
    [{ rules: { accuracy: 1 }, sources: { a: { accuracy: { no: 1 } } } }, /"a"[\s\S]*Unrecognized key/],
    [{ rules: { accuracy: 1 }, weights: {} }, /"weights"/],
    [{ rules: { accuracy: Number.NaN } }, /weight/],
  ])('refuses %j', (config, message) => {
    expect(() => new RewardProgram(config as never)).toThrow(message);
  });

  it('never throws, stays in its range, and is deterministic (seeded fuzz)', () => {
    const pieces = [
      '<think>',
      '</think>',
      '<answer>',
      '</answer>',
      '####',
      '\\boxed{',
      '}',
      '{',
      '\\frac{',
      '\\frac{1}{2}',
      '答案',
      '是',
      '：',
      ':',
      'answer is ',
      'A:',
      '=',
      '≈',
      '+',
      '-',
      '*',
      '/',
      '÷',
      '^',
      '(',
      ')',
      '<<',
      '>>',
      '%',
      '$',
      ',',
      '.',
      '…',
      ' ',
      '\n',
      '1',
      '80',
      '21',
      '59',
      '1,000',
      '0',
      '999999999999',
      'x',
      'apples',
      '三',
      '十',
      '亿',
      '百分之',
      '分之',
      '又',
      '**',
      '`',
      '\\',
      '\\text{',
      'million',
      ' of ',
      '\u200b',
      '\ufeff',
      '\ud83d',
      '😀',
      '\u0000',
      '１',
      '，',
      '−',
      '½',
      'e9',
      '\u2028',
      '余',
      '等于',
      'Q:',
      '\\times',
      '|',
      '~',
    ];
    const program = new RewardProgram({
      rules: {
        accuracy: { weight: 1, require_tags: false },
        format: 1,
        steps: { constants: 'everyday' },
        language: 1,
        length: { max: 100, buffer: 50 },
      },
    });
    const strict = new RewardProgram({ rules: { accuracy: 1, steps: 1 } });
    const rng = new Random(7);
    for (let round = 0; round < 1500; round++) {
      const text = Array.from({ length: rng.int(0, 40) }, () => rng.choice(pieces)).join('');
      const source: Problem = { ...problem, prompt: text, answer: round % 2 ? text : '59' };
      const trace = program.score(source, text);
      expect(trace).toEqual(program.score(source, text));
      expect(trace.total).toBe(trace.parts.reduce((sum, part) => sum + part.weight * part.points, 0));
      for (const part of [...trace.parts, ...strict.score(source, text).parts]) {
        expect(part.points >= 0 && part.points <= part.max).toBe(true);
        for (const [start, end] of part.evidence) expect(0 <= start && start <= end && end <= text.length).toBe(true);
      }
    }
  });

  it.each([
    '1',
    '\\boxed{',
    '1+1=2 ',
    '(',
    '\n',
    '<answer>',
    '<think>',
    'answer is ',
    '**1',
    '\nQ:1',
    'equals',
    '9^9=',
    '```',
    'a',
    '答：',
  ])('judges a megabyte of %j in bounded time', (piece) => {
    const program = new RewardProgram({
      rules: { accuracy: { require_tags: false }, format: 1, steps: 1, language: 1 },
    });
    // No clock: quadratic work on a megabyte would run into the suite's own time limit.
    const trace = program.score(problem, piece.repeat(Math.ceil(1e6 / piece.length)));
    expect(trace.parts).toHaveLength(4);
  });
});
