import Fraction from 'fraction.js';
import { z } from 'zod';
import type { Problem } from '../../task/problem.js';
import { type EquationOperand, findEquations } from '../equations.js';
import { fold } from '../fold.js';
import { chineseInteger, scanNumbers, wordNumberAt } from '../number.js';
import { chainOfThought } from '../tags.js';
import type { Rule, RuleResult, Span, StepPoints } from '../trace.js';

export const stepsOptions = z.strictObject({
  /**
   * Divide by the number of gold steps in `meta.steps` when it is known and larger than the number of steps written.
   * One true equation of a three-step problem is then worth a third, however often it is repeated.
   */
  relative_to_gold: z.boolean().default(true),
  /**
   * Which operands need not come from the problem: `none`, or `everyday` numbers (2 for half, 7 days, 12 months, 60
   * minutes, 100 percent …), of which a step may hold some beside at least one number of the problem.
   */
  constants: z.enum(['none', 'everyday']).default('none'),
});
export type StepsOptions = z.input<typeof stepsOptions>;

const EVERYDAY = [1, 2, 3, 4, 5, 7, 10, 12, 16, 24, 30, 31, 36, 50, 52, 60, 100, 360, 365, 1000, 3600];

const WORDS: Readonly<Record<string, readonly (number | readonly [number, number])[]>> = {
  half: [2, [1, 2]],
  halves: [2, [1, 2]],
  twice: [2],
  double: [2],
  doubled: [2],
  doubles: [2],
  couple: [2],
  pair: [2],
  pairs: [2],
  thrice: [3],
  triple: [3],
  tripled: [3],
  triples: [3],
  quadruple: [4],
  third: [3, [1, 3]],
  thirds: [3, [1, 3]],
  quarter: [4, [1, 4], 25],
  quarters: [4, [1, 4], 25],
  fourth: [4, [1, 4]],
  fourths: [4, [1, 4]],
  fifth: [5, [1, 5]],
  fifths: [5, [1, 5]],
  sixth: [6, [1, 6]],
  seventh: [7, [1, 7]],
  eighth: [8, [1, 8]],
  ninth: [9, [1, 9]],
  tenth: [10, [1, 10]],
  dozen: [12],
  dozens: [12],
  hundred: [100],
  thousand: [1000],
  single: [1],
  once: [1],
};

/** The numbers that a step may start from: a set of exact values. */
class KnownNumbers {
  readonly #values = new Set<string>();

  add(value: Fraction): void {
    this.#values.add(value.toFraction());
  }

  addPercent(value: Fraction): void {
    // 20% of, 20% more, 20% less, and the same counted in hundreds.
    const part = value.div(100);
    for (const derived of [
      value,
      part,
      part.add(1),
      new Fraction(1).sub(part),
      value.add(100),
      new Fraction(100).sub(value),
    ]) {
      this.add(derived);
    }
  }

  has(operand: EquationOperand): boolean {
    const { value, percent } = operand;
    if (this.#values.has(value.abs().toFraction()) || this.#values.has(value.toFraction())) return true;
    return percent && this.#values.has(value.div(100).toFraction());
  }
}

function problemNumbers(problem: Problem): KnownNumbers {
  const known = new KnownNumbers();
  // "#1 loses 21": what numbers the clauses is no quantity. Else 1+1=2, 2+1=3, … would be steps of any such problem.
  const { text } = fold(problem.prompt.slice(0, 20_000).replace(/#\d{1,3}(?!\d)/g, ' '));
  for (const token of scanNumbers(text)) {
    if (token.percent) known.addPercent(token.value);
    else known.add(token.value);
    if (token.scale) known.add(token.value.mul(token.scale));
    // 3/4 and 1 1/2 also give their parts, as in "× 3 / 4"; so does 8:30.
    if (token.form !== 'decimal') {
      for (const part of text.slice(token.start, token.end).match(/\d{1,15}/g) ?? []) known.add(new Fraction(part));
    }
  }
  let wordsEnd = 0;
  for (const match of text.matchAll(/[A-Za-z]+/g)) {
    for (const value of WORDS[match[0].toLowerCase()] ?? []) {
      known.add(typeof value === 'number' ? new Fraction(value) : new Fraction(value[0], value[1]));
    }
    // "thirty-five percent", "three hundred": the number, and not 30, 5 and 100.
    const words = match.index >= wordsEnd ? wordNumberAt(text, match.index) : null;
    if (!words) continue;
    wordsEnd = words.end;
    if (/^[\s-]{0,2}percent/i.test(text.slice(words.end, words.end + 10))) known.addPercent(words.value);
    else known.add(words.value);
  }
  for (const numeral of text.match(/[零一二两三四五六七八九十百千万亿]{1,24}/g) ?? []) {
    const value = chineseInteger(numeral);
    if (value !== null) known.add(new Fraction(value));
  }
  for (const [parts] of text.matchAll(/[一二两三四五六七八九十]{1,3}分之[一二两三四五六七八九十]{1,3}/g)) {
    const [bottom, top] = parts.split('分之').map((part) => chineseInteger(part));
    if (top && bottom) known.add(new Fraction(top, bottom));
  }
  if (/半/.test(text)) {
    known.add(new Fraction(2));
    known.add(new Fraction(1, 2));
  }
  const { numbers } = problem.meta;
  if (Array.isArray(numbers)) {
    for (const value of numbers) {
      if (typeof value === 'number' && Number.isFinite(value)) known.add(new Fraction(value));
      else if (typeof value === 'string') for (const token of scanNumbers(value.slice(0, 200))) known.add(token.value);
    }
  }
  return known;
}

/** Number of gold steps: `meta.steps` is a list (its length) or a count; GSM8K's annotations in the answer otherwise. */
export function goldSteps(problem: Problem): number | null {
  const { steps } = problem.meta;
  if (Array.isArray(steps)) return steps.length;
  if (typeof steps === 'number' && Number.isInteger(steps) && steps > 0) return steps;
  return null;
}

/**
 * Points step by step (N11 of the notes: 步步给分): every calculation in the chain of thought is checked with exact
 * arithmetic and is
 * - *right* when its two sides are equal (equations.ts: also where it rounds openly), and
 * - *relevant* when every operand comes from the problem or from the result of an earlier relevant step, or it goes on a
 *   chain a=b=c that began so.
 *
 * A true step that adds 0 or multiplies by 1 is not counted at all.
 *
 * points = (steps right and relevant) / (different steps written; or the gold steps, if more). A step written twice
 * counts once, in any order of its operands. An irrelevant true step earns nothing and is counted: padding costs.
 * The stated result of a *wrong* relevant step may be used afterwards: one slip costs one step, as in an exam.
 *
 * `steps` has one entry for each equation, also repeated ones: 1 when it earned, else 0 (process supervision).
 * `ok` when all is earned, `wrong` when not, `unparsable` when there is no calculation. Evidence: the equations' spans.
 */
export function stepsRule(options: StepsOptions = {}): Rule {
  const { relative_to_gold: relativeToGold, constants } = stepsOptions.parse(options);
  const everyday = new Set(constants === 'everyday' ? EVERYDAY.map(String) : []);
  return (problem, response): RuleResult => {
    const [from, to] = chainOfThought(response);
    const equations = findEquations(response.slice(from, to));
    const base = { name: 'steps', max: 1 } as const;
    if (equations.length === 0) {
      return { ...base, points: 0, status: 'unparsable', evidence: [], note: 'no calculation found', steps: [] };
    }
    const known = problemNumbers(problem);
    const seen = new Set<string>();
    const steps: StepPoints[] = [];
    const evidence: Span[] = [];
    let earned = 0;
    let wrong = 0;
    let irrelevant = 0;
    let lastRelevant = false;
    for (const equation of equations) {
      const span: Span = [equation.span[0] + from, equation.span[1] + from];
      let fromProblem = 0;
      let fromLife = 0;
      for (const operand of equation.operands) {
        if (known.has(operand)) fromProblem++;
        else if (everyday.has(operand.value.toFraction())) fromLife++;
      }
      const sourced = fromProblem > 0 && fromProblem + fromLife === equation.operands.length;
      const relevant: boolean = !equation.trivial && (sourced || (equation.chained && lastRelevant));
      lastRelevant = relevant || (equation.trivial && sourced);
      if (lastRelevant) known.add(equation.result.abs());
      // 48 * 1 = 48 says nothing: when true it neither earns nor costs.
      if (equation.trivial && equation.right) {
        steps.push({ span, points: 0 });
        evidence.push(span);
        continue;
      }
      const repeated = seen.has(equation.key);
      seen.add(equation.key);
      const good = equation.right && relevant && !repeated;
      steps.push({ span, points: good ? 1 : 0 });
      evidence.push(span);
      if (repeated) continue;
      if (good) earned++;
      else if (!equation.right) wrong++;
      else irrelevant++;
    }
    const gold = relativeToGold ? (goldSteps(problem) ?? 0) : 0;
    const count = Math.max(seen.size, gold, 1);
    const points = earned / count;
    return {
      ...base,
      points,
      status: earned === count ? 'ok' : 'wrong',
      evidence,
      note: `${earned} of ${count} steps right and relevant, ${wrong} wrong, ${irrelevant} irrelevant`,
      steps,
    };
  };
}
