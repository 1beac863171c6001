import { hash32, Random } from '../util/random.js';
import type { Problem, Split, Task } from './problem.js';

/**
 * The split that a canonical key belongs to: 80 % train, 10 % validation, 10 % test, by a hash. A problem's split
 * follows from what it is, so no seed, order, recipe or machine can put it on both sides.
 * Generators of arithmetic use the expression (`infix`) as the key; names, things, verbs and language are left out of
 * it, so a test expression is not in training in another dress or language, nor in another generator.
 */
export function splitOf(key: string): Split {
  const bucket = hash32(`split:${key}`) % 10;
  return bucket < 8 ? 'train' : bucket === 8 ? 'validation' : 'test';
}

/**
 * The first n problems of a generated task's split that differ in `key`: drawn from a fixed seed, so fixed(split, 10) is
 * the beginning of fixed(split, 100).
 * Throws when the task's parameters do not have that many.
 */
export function firstDistinct(task: Task, split: Split, n: number, key: (problem: Problem) => string): Problem[] {
  const rng = new Random(`${task.id}:fixed:${split}`);
  const seen = new Set<string>();
  const problems: Problem[] = [];
  // 200 draws in a row without a new problem: the parameters are (nearly) exhausted.
  for (let misses = 0; problems.length < n; ) {
    const problem = task.sample(rng, split);
    if (seen.has(key(problem))) {
      if (++misses > 200) {
        throw new Error(
          `${task.id}: found only ${problems.length} different ${split} problems, ${n} asked for. ` +
            'Ask for fewer, or widen the parameters (steps, operand ranges, bounds).',
        );
      }
      continue;
    }
    misses = 0;
    seen.add(key(problem));
    problems.push(problem);
  }
  return problems;
}
