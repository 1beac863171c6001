import { describe, expect, it } from 'vitest';
import { Random } from '../util/random.js';
import { canSolve } from './general.js';
import { createMixture } from './mixture.js';
import type { Problem, Task } from './problem.js';
import { createTask } from './registry.js';

const finite = (id: string, count: number): Task => {
  const problems = Array.from(
    { length: count },
    (_, i): Problem => ({
      id: `${id}:${i}`,
      prompt: '?',
      source: id,
      language: 'en',
      meta: {},
    }),
  );
  return {
    id,
    size: () => count,
    sample: (rng) => rng.choice(problems),
    fixed: (_, n) => problems.slice(0, n),
  };
};

describe('createMixture', () => {
  const mixture = createMixture([
    { weight: 3, task: finite('a', 100) },
    { weight: 1, task: finite('b', 2) },
  ]);

  it('draws in the shares of the weights, and leaves the source as it is', () => {
    const rng = new Random(1);
    const sources = Array.from({ length: 1000 }, () => mixture.sample(rng, 'train').source);
    expect(Math.abs(sources.filter((source) => source === 'a').length - 750)).toBeLessThan(
      5 * Math.sqrt(1000 * 0.75 * 0.25),
    );
  });

  it('keeps the shares at every length, and goes on when a part has no more', () => {
    expect(mixture.fixed('test', 8).map(({ id }) => id)).toEqual([
      'a:0',
      'a:1',
      'b:0',
      'a:2',
      'a:3',
      'a:4',
      'b:1',
      'a:5',
    ]);
    expect(
      mixture
        .fixed('test', 12)
        .map(({ id }) => id)
        .slice(8),
    ).toEqual(['a:6', 'a:7', 'a:8', 'a:9']);
    expect(mixture.fixed('test', 5)).toEqual(mixture.fixed('test', 12).slice(0, 5));
    expect(mixture.size('test')).toBe(102);
    expect(() => mixture.fixed('test', 103)).toThrow('the test split has 102 problems, 103 asked for');
  });

  it('solves what its parts solve', () => {
    const parts = [
      { weight: 1, task: { type: 'word-problem' } },
      { weight: 1, task: { type: 'general' } },
    ];
    const solving = createTask({ type: 'mixture', parts });
    if (!canSolve(solving)) throw new Error('cannot solve');
    for (const problem of solving.fixed('test', 6)) {
      const part = createTask({ type: problem.source });
      if (!canSolve(part)) throw new Error('cannot solve');
      expect(solving.solve(problem)).toBe(part.solve(problem));
    }
    expect(canSolve(mixture)).toBe(false);
  });
});
