import type { Problem, Task } from '../../task/problem.js';
import { Random } from '../../util/random.js';

/**
 * n different problems of a task's train split, seeded; the first ones are the same for every n when the task is endless.
 * @throws Error when the split has fewer
 */
export function drawProblems(task: Task, n: number, seed: number | string): Problem[] {
  const rng = new Random(`${seed}/problems`);
  const size = task.size('train');
  if (Number.isFinite(size)) {
    if (size < n) throw new Error(`problems: ${n} asked for, the train split of ${task.id} has ${size}: ask for fewer`);
    return rng.shuffle(task.fixed('train', size)).slice(0, n);
  }
  const problems: Problem[] = [];
  const seen = new Set<string>();
  // So many draws in a row without a new problem: the parameters are (nearly) exhausted.
  for (let misses = 0; problems.length < n; ) {
    const problem = task.sample(rng, 'train');
    if (!seen.has(problem.id)) {
      seen.add(problem.id);
      problems.push(problem);
      misses = 0;
    } else if (++misses > 200) {
      throw new Error(
        `problems: ${n} asked for, found ${problems.length} different ones in the train split of ${task.id}: ask for ` +
          'fewer, or widen the task',
      );
    }
  }
  return problems;
}
