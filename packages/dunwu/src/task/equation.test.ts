import { describe, expect, it } from 'vitest';
import { Random } from '../util/random.js';
import { isTrivial } from './arithmetic.js';
import { createEquation } from './equation.js';
import { SPLITS } from './problem.js';
import { splitOf } from './split.js';
import { goldSteps, rework } from './worked.js';

const task = createEquation({ type: 'equation', operations: { add: 1, sub: 1, mul: 1, div: 1 }, steps: [2, 4] });

/** A recursive-descent evaluator: it knows nothing of the generator. */
function evaluate(text: string): number {
  let at = 0;
  const primary = (): number => {
    if (text[at] === '(') {
      at++;
      const value = sum();
      at++;
      return value;
    }
    const digits = /^\d+/.exec(text.slice(at))?.[0] ?? '';
    at += digits.length;
    return Number(digits);
  };
  const product = (): number => {
    let value = primary();
    while (text[at] === '*' || text[at] === '/') value = text[at++] === '*' ? value * primary() : value / primary();
    return value;
  };
  const sum = (): number => {
    let value = product();
    while (text[at] === '+' || text[at] === '-') value = text[at++] === '+' ? value + product() : value - product();
    return value;
  };
  return sum();
}

describe('equation', () => {
  it('asks for expressions whose value by the usual rules is the answer', () => {
    const rng = new Random(1);
    for (let i = 0; i < 2000; i++) {
      const problem = task.sample(rng, SPLITS[i % 3] ?? 'train');
      const expression = String(problem.meta.expression);
      expect(evaluate(expression), expression).toBe(Number(problem.answer));
      expect(splitOf(expression)).toBe(SPLITS[i % 3]);
      expect(problem.prompt).toBe(problem.language === 'en' ? `Compute ${expression}.` : `计算${expression}。`);
      expect(problem.meta.numbers).toEqual(expression.match(/\d+/g)?.map(Number));
      const steps = goldSteps(problem);
      for (const { equation, result } of steps) expect(evaluate(equation.split('=')[0] ?? '')).toBe(result);
      expect(rework(steps)).toEqual(steps);
      expect(new Set(steps.map(({ equation }) => equation)).size).toBe(steps.length);
      for (const { op, left, right } of steps) expect(isTrivial(op, left, right)).toBe(false);
    }
  });

  it('solves from the inside out', () => {
    const problem = task
      .fixed('train', 500)
      .find(({ meta, language }) => language === 'en' && /^\d+-\(/.test(String(meta.expression)));
    if (problem === undefined) throw new Error('no such problem among the first 500');
    const [first, last] = [goldSteps(problem)[0], goldSteps(problem).at(-1)];
    expect(last?.leftFrom).toBeUndefined();
    expect(last?.rightFrom).toBe(goldSteps(problem).length - 2);
    expect(task.solve(problem)).toMatch(new RegExp(`^<think>so \\d+.\\d+=${first?.result}\n`));
    expect(task.solve(problem).endsWith(`=${problem.answer}</think><answer>${problem.answer}</answer>`)).toBe(true);
  });

  it('is deterministic and refuses unknown keys', () => {
    expect(task.fixed('test', 20)).toEqual(task.fixed('test', 40).slice(0, 20));
    expect(() => createEquation({ type: 'equation', factors: [2, 3] } as never)).toThrow('factors');
  });
});
