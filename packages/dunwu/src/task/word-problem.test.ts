import { describe, expect, it } from 'vitest';
import { Random } from '../util/random.js';
import { isTrivial } from './arithmetic.js';
import { SPLITS, type Split } from './problem.js';
import { splitOf } from './split.js';
import { createWordProblem } from './word-problem.js';
import { goldSteps } from './worked.js';

const task = createWordProblem({ type: 'word-problem' });
const rich = createWordProblem({
  type: 'word-problem',
  steps: [3, 5],
  operations: { add: 1, sub: 1, mul: 1, div: 1 },
  bounds: [0, 999],
});

/** Reads a story without markers' or generator's help: the numbers and verbs in the text alone. */
function solveByReading(prompt: string): number {
  const [start = '', ...clauses] = prompt.split(/\. |。/);
  let value = Number(start.match(/\d+/)?.[0]);
  for (const clause of clauses.slice(0, -1)) {
    const n = Number(clause.replace(/^#\d+ /, '').match(/\d+/)?.[0]);
    if (/gets|finds|buys|得到|找到|买了/.test(clause)) value += n;
    else if (/loses|gives|sells|丢了|送出|卖了/.test(clause)) value -= n;
    else if (/times|倍/.test(clause)) value *= n;
    else if (/shares|平分/.test(clause)) value /= n;
    else throw new Error(`cannot read: ${clause}`);
  }
  return value;
}

describe('word-problem', () => {
  it('tells stories whose text gives the answer, within the parameters', () => {
    const rng = new Random(1);
    for (const [one, [low, high], bound] of [
      [task, [2, 4], 99],
      [rich, [3, 5], 999],
    ] as const) {
      for (let i = 0; i < 1000; i++) {
        const problem = one.sample(rng, 'train');
        const steps = goldSteps(problem);
        expect(solveByReading(problem.prompt), problem.prompt).toBe(Number(problem.answer));
        expect(steps.at(-1)?.result).toBe(Number(problem.answer));
        expect(steps.length).toBeGreaterThanOrEqual(low);
        expect(steps.length).toBeLessThanOrEqual(high);
        const values = [steps[0]?.left, ...steps.map(({ result }) => result)];
        expect(new Set(values).size).toBe(values.length); // no coming back, so no equation twice
        for (const { op, left, right } of steps) expect(isTrivial(op, left, right)).toBe(false);
        for (const { result } of steps) expect(result >= 0 && result <= bound).toBe(true);
        const unmarked = problem.prompt.replace(/#\d+/g, '');
        expect(problem.meta.numbers).toEqual(unmarked.match(/\d+/g)?.map(Number));
      }
    }
  });

  it('reads naturally in both languages', () => {
    const prompts = task.fixed('train', 200).map(({ prompt }) => prompt);
    const english =
      /^(Mary|Tom|Anna|Ben) has \d+ (card|apple|book|pen)s\. (#\d (gets|finds|buys|loses|gives|sells) \d+\. ){2,4}How many (are left|now)\?$/;
    const chinese =
      /^小(明|红|华|丽)有\d+(张卡片|个苹果|本书|支笔)。(#\d (得到|找到|买了|丢了|送出|卖了)\d+[张个本支]。){2,4}(还剩|现在有)多少[张个本支]？$/;
    expect(prompts.filter((prompt) => !english.test(prompt) && !chinese.test(prompt))).toEqual([]);
    expect(prompts.filter((prompt) => english.test(prompt)).length).toBeGreaterThan(60);
    expect(prompts.filter((prompt) => chinese.test(prompt)).length).toBeGreaterThan(60);
  });

  it('leaves the markers out when asked to', () => {
    const plain = createWordProblem({ type: 'word-problem', markers: false, languages: { en: 1 } });
    const { prompt, language } = plain.sample(new Random(3), 'train');
    expect(language).toBe('en');
    expect(prompt).toMatch(/^\w+ has \d+ \w+\. ((She|He) \w+ \d+\. ){2,4}How many/);
  });

  it('keeps the splits apart, whatever the dress: no expression of one is in another', () => {
    const rng = new Random(5);
    const seen: Record<Split, Set<string>> = { train: new Set(), validation: new Set(), test: new Set() };
    // few expressions, so that each is drawn many times
    const small = createWordProblem({ type: 'word-problem', steps: [1, 2], start: [10, 20], bounds: [0, 40] });
    for (const split of SPLITS) {
      for (let i = 0; i < 4000; i++) seen[split].add(String(small.sample(rng, split).meta.expression));
    }
    expect(seen.train.size).toBeGreaterThan(1000);
    expect(seen.test.size).toBeGreaterThan(200);
    for (const expression of seen.test)
      expect(seen.train.has(expression) || seen.validation.has(expression)).toBe(false);
    for (const expression of seen.validation) expect(seen.train.has(expression)).toBe(false);
  });

  it('gives each split its share of expressions', () => {
    const counts = { train: 0, validation: 0, test: 0 };
    for (let a = 0; a < 100; a++) for (let b = 0; b < 100; b++) counts[splitOf(`${a}+${b}`)]++;
    expect(counts.train).toBeGreaterThan(7800);
    expect(counts.train).toBeLessThan(8200);
    expect(Math.abs(counts.validation - counts.test)).toBeLessThan(200);
  });

  it('has a fixed beginning of each split, without repeats', () => {
    const first = task.fixed('test', 300);
    expect(createWordProblem({ type: 'word-problem' }).fixed('test', 300)).toEqual(first);
    expect(task.fixed('test', 50)).toEqual(first.slice(0, 50));
    expect(new Set(first.map(({ meta }) => meta.expression)).size).toBe(300);
    expect(first.every(({ meta }) => splitOf(String(meta.expression)) === 'test')).toBe(true);
    expect(new Set(first.map(({ id }) => id)).size).toBe(300);
  });

  it('draws the same problems from the same seed', () => {
    const draw = (seed: number) =>
      Array.from(
        { length: 20 },
        (
          (rng) => () =>
            task.sample(rng, 'train').id
        )(new Random(seed)),
      );
    expect(draw(9)).toEqual(draw(9));
    expect(draw(9)).not.toEqual(draw(10));
  });

  it('refuses unknown keys and impossible parameters', () => {
    expect(() => createWordProblem({ type: 'word-problem', step: [2, 3] } as never)).toThrow(
      'Unrecognized key: \\"step\\"',
    );
    expect(() => createWordProblem({ type: 'word-problem', steps: [4, 2] })).toThrow('low not above high');
    expect(() => createWordProblem({ type: 'word-problem', operations: { mul: 1 }, steps: [6, 6] })).toThrow(
      'the parameters leave no train problem',
    );
    expect(() => createWordProblem({ type: 'word-problem', start: [200, 300] })).toThrow(
      'start range lies outside bounds',
    );
    const tiny = createWordProblem({ type: 'word-problem', steps: [1, 1], start: [10, 12], operations: { add: 1 } });
    expect(() => tiny.fixed('test', 1000)).toThrow(/found only \d+ different test problems, 1000 asked for/);
  });
});
