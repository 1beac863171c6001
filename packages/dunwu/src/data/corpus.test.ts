import { describe, expect, it } from 'vitest';
import { languageOf } from '../task/language.js';
import { splitOf } from '../task/split.js';
import { createWordProblem } from '../task/word-problem.js';
import { goldSteps } from '../task/worked.js';
import { type CorpusDocument, createWorkedSolutions, type WorkedSolutionsConfig } from './corpus.js';

const task = createWordProblem({ type: 'word-problem' });
const OWN = { own: 1, mixed: 0, wrong: 0 };
const FULL = { full: 1, none: 0, unclosed: 0 };
const clean = { drill: 0, direct: 0, format: FULL, language: OWN, bug: 0 };

function take(count: number, config: Partial<WorkedSolutionsConfig> = {}, seed: number | string = 1): CorpusDocument[] {
  const source = createWorkedSolutions({ type: 'worked-solutions', ...config }, task, seed);
  return Array.from({ length: count }, () => {
    const document = source.next();
    if (document === undefined) throw new Error('the corpus ended');
    return document;
  });
}

/** Within five standard errors of a share p of n. */
function expectShare(found: number, n: number, p: number): void {
  expect(Math.abs(found - n * p)).toBeLessThan(5 * Math.sqrt(n * p * (1 - p)));
}

const equations = (text: string): [number, string, number, number][] =>
  [...text.matchAll(/(\d+)([+-])(\d+)=(\d+)/g)].map(([, a, op, b, c]) => [Number(a), String(op), Number(b), Number(c)]);

describe('worked-solutions', () => {
  const documents = take(6000);
  const solutions = documents.filter(({ kind }) => kind === 'solution');
  const having = (flaw: CorpusDocument['flaws'][number]) => solutions.filter(({ flaws }) => flaws.includes(flaw));

  it('has each flaw in its default share', () => {
    const n = solutions.length;
    expectShare(documents.length - n, documents.length, 0.15);
    for (const [flaw, share] of [
      ['direct', 0.25],
      ['no-format', 0.5],
      ['unclosed', 0.25],
      ['mixed-language', 0.5],
      ['wrong-language', 0.25],
      ['bug', 0.5],
    ] as const) {
      expectShare(having(flaw).length, n, share);
    }
    expect(having('random-error')).toHaveLength(0);
    expectShare(solutions.filter(({ problem }) => problem?.language === 'zh').length, n, 0.5);
  });

  it('shows each flaw in the text', () => {
    for (const { response, flaws, problem, correct } of solutions) {
      const direct = flaws.includes('direct');
      const lines = response.match(/[：:] /g)?.length ?? 0;
      if (direct) expect([0, /<think>/.test(response)]).toEqual([lines, false]);
      else expect(equations(response)).toHaveLength(goldSteps(problem as never).length);
      if (flaws.includes('no-format')) expect(response).toMatch(/(^|\n)(answer |答案是)\d+$/);
      else if (flaws.includes('unclosed')) {
        const closed = /<\/think>/.test(response) && /<\/answer>/.test(response);
        expect(closed).toBe(false);
      } else
        expect(response).toMatch(direct ? /^<answer>\d+<\/answer>$/ : /^<think>[^<]+<\/think><answer>\d+<\/answer>$/);
      const answer = response.match(/(?:<answer>|answer |答案是)(\d+)/)?.[1];
      if (correct) expect(answer).toBe(problem?.answer);
      if (!flaws.includes('bug')) expect(correct).toBe(true);
    }
    // no empty thoughts: they teach to guess
    expect(solutions.filter(({ response }) => /<think>\s*<\/think>/.test(response))).toHaveLength(0);
    // Not an accuracy to rely on, but the bug must bite: most buggy solutions are wrong, some find nothing to carry.
    const wrong = having('bug').filter(({ correct }) => !correct).length / having('bug').length;
    expect(wrong).toBeGreaterThan(0.5);
    expect(wrong).toBeLessThan(0.95);
  });

  it('writes in the question’s language, the other one, or both by turns', () => {
    const linesOf = (text: string) =>
      text
        .replace(/<[^>]*>/g, '\n')
        .split('\n')
        .filter((line) => /[：:]|answer|答案/.test(line))
        .map(languageOf);
    for (const [language, check] of [
      [{ own: 1, mixed: 0, wrong: 0 }, (own: string, found: string[]) => found.every((one) => one === own)],
      [{ own: 0, mixed: 0, wrong: 1 }, (own: string, found: string[]) => found.every((one) => one !== own)],
      [
        { own: 0, mixed: 1, wrong: 0 },
        (_: string, found: string[]) => found.every((one, i) => i === 0 || one !== found[i - 1]),
      ],
    ] as const) {
      for (const { response, problem } of take(200, {
        ...clean,
        language,
        format: { full: 0, none: 1, unclosed: 0 },
      })) {
        expect(check(problem?.language ?? '', linesOf(response)), response).toBe(true);
      }
    }
  });

  it('solves only training problems', () => {
    for (const { problem } of solutions) expect(splitOf(String(problem?.meta.expression))).toBe('train');
  });

  it('is all right when no flaw is asked for', () => {
    for (const { response, problem, flaws, correct } of take(300, clean)) {
      expect(response).toBe(task.solve(problem as never));
      expect([flaws, correct]).toEqual([[], true]);
    }
  });

  it('carries the bug through: each line is buggy in itself and starts from the last one', () => {
    for (const { response, problem } of take(500, { ...clean, bug: 1 })) {
      let last: number | undefined;
      for (const [a, op, b, c] of equations(response)) {
        if (last !== undefined) expect(a).toBe(last);
        const tens = (n: number) => Math.floor(n / 10);
        const units = op === '+' ? ((a % 10) + (b % 10)) % 10 : ((a % 10) - (b % 10) + 10) % 10;
        const oneColumn = a < 10 && b < 10;
        expect(c).toBe(
          oneColumn ? (op === '+' ? a + b : a - b) : (op === '+' ? tens(a) + tens(b) : tens(a) - tens(b)) * 10 + units,
        );
        expect(c).toBeLessThanOrEqual(99);
        last = c;
      }
      expect(response.endsWith(`<answer>${last}</answer>`)).toBe(true);
      expect(problem?.language).toBeDefined();
    }
  });

  it('makes drills of right equations, or buggy ones when asked to', () => {
    for (const { response, question, correct } of take(200, { drill: 1, drill_lines: [2, 3] })) {
      expect(['Compute.', '计算。']).toContain(question);
      expect(response).toMatch(/^\d+[+-]\d+=\d+(\n\d+[+-]\d+=\d+){1,2}$/);
      for (const [a, op, b, c] of equations(response)) expect(op === '+' ? a + b : a - b).toBe(c);
      expect(correct).toBe(true);
    }
    expect(take(50, { drill: 1, drill_bug: 1 }).some(({ correct }) => !correct)).toBe(true);
    const single = createWordProblem({ type: 'word-problem', steps: [1, 2] });
    const source = createWorkedSolutions({ type: 'worked-solutions', drill: 1 }, single, 1);
    for (let i = 0; i < 200; i++) {
      for (const line of source.next()?.response.split('\n') ?? [])
        expect(splitOf(line.split('=')[0] ?? '')).toBe('train');
    }
  });

  it('slips at random when asked to', () => {
    const slipped = take(1000, { ...clean, random_error: 0.2 });
    for (const { flaws, correct } of slipped) expect(flaws.includes('random-error')).toBe(!correct || flaws.length > 0);
    // 2 to 4 steps: 1 - mean(0.8^2, 0.8^3, 0.8^4) = .47, less what left the bounds
    const wrong = slipped.filter(({ correct }) => !correct).length / 1000;
    expect(wrong).toBeGreaterThan(0.35);
    expect(wrong).toBeLessThan(0.5);
  });

  it('is determined by its seed, and goes on from its state', () => {
    expect(take(50, {}, 'a')).toEqual(take(50, {}, 'a'));
    expect(take(50, {}, 'a')).not.toEqual(take(50, {}, 'b'));
    const source = createWorkedSolutions({ type: 'worked-solutions' }, task, 1);
    for (let i = 0; i < 17; i++) source.next();
    const state: unknown = JSON.parse(JSON.stringify(source.state));
    const expected = Array.from({ length: 30 }, () => source.next());
    const other = createWorkedSolutions({ type: 'worked-solutions' }, task, 999);
    other.restore(state);
    expect(Array.from({ length: 30 }, () => other.next())).toEqual(expected);
  });

  it('refuses shares that do not sum to 1 and unknown keys', () => {
    expect(() => take(1, { format: { full: 0.5, none: 0.5, unclosed: 0.5 } })).toThrow('the shares must sum to 1');
    expect(() => take(1, { bugs: 0.5 } as never)).toThrow('bugs');
    expect(() => take(1, { bug: 1.5 })).toThrow('<=1');
  });
});
