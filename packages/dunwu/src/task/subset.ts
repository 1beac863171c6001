import type { Problem, Split, Task } from './problem.js';

/**
 * A task with n training problems, the same ones in every stage and run: what a way of learning does with so many labels
 * and no more. Validation and test are the task's own.
 * @throws Error when the task has fewer
 */
export function createSubset<T extends Task>(task: T, n: number): T {
  const problems: readonly Problem[] = task.fixed('train', n);
  return {
    ...task,
    size: (split: Split) => (split === 'train' ? n : task.size(split)),
    sample: (rng, split) => (split === 'train' ? rng.choice(problems) : task.sample(rng, split)),
    fixed: (split: Split, count: number) => {
      if (split !== 'train') return task.fixed(split, count);
      if (count > n) throw new RangeError(`subset: it has ${n} training problems, ${count} asked for`);
      return problems.slice(0, count);
    },
  };
}
