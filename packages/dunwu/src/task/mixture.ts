import type { Problem, Split, Task } from './problem.js';

/** A task and how often its problems come, relative to the others. */
export interface WeightedTask {
  readonly weight: number;
  readonly task: Task;
}

export interface MixtureTask extends Task {
  readonly parts: readonly WeightedTask[];
}

export function isMixture(task: Task): task is MixtureTask {
  return 'parts' in task;
}

/**
 * Problems of several tasks, in shares given by the weights; each keeps its own `source`, so that rewards may differ.
 * `fixed` takes the parts in turns that keep the shares at every length, and goes on with the others when a part has no
 * more problems. `solve` is there when every part can.
 */
export function createMixture(parts: readonly WeightedTask[]): MixtureTask {
  const weights = Object.fromEntries(parts.map(({ weight }, i) => [String(i), weight]));
  const total = parts.reduce((sum, { weight }) => sum + weight, 0);
  const at = (index: number): Task => (parts[index] as WeightedTask).task;
  const solvers = parts.map(({ task }) => ('solve' in task ? (task as Task & Solver) : undefined));

  return {
    id: 'mixture',
    parts,
    size: (split) => parts.reduce((sum, { task }) => sum + task.size(split), 0),
    sample: (rng, split) => at(Number(rng.weighted(weights))).sample(rng, split),
    fixed: (split, n) => takeTurns(parts, total, split, n),
    ...(solvers.every((solver) => solver !== undefined)
      ? {
          solve(problem: Problem): string {
            const index = parts.findIndex(({ task }) => task.id === problem.source);
            if (index < 0) throw new Error(`mixture: no part has problems of source ${problem.source}`);
            return (solvers[index] as Solver).solve(problem);
          },
        }
      : {}),
  };
}

interface Solver {
  solve(problem: Problem): string;
}

function takeTurns(parts: readonly WeightedTask[], total: number, split: Split, n: number): Problem[] {
  const counts = parts.map(() => 0);
  const order: number[] = [];
  while (order.length < n) {
    // The part that is furthest behind its share of what there is with one more.
    let next = -1;
    let furthest = Number.NEGATIVE_INFINITY;
    for (const [index, { weight, task }] of parts.entries()) {
      const count = counts[index] as number;
      const behind = (weight / total) * (order.length + 1) - count;
      if (count < task.size(split) && behind > furthest) [next, furthest] = [index, behind];
    }
    if (next < 0) throw new RangeError(`mixture: the ${split} split has ${order.length} problems, ${n} asked for`);
    counts[next] = (counts[next] as number) + 1;
    order.push(next);
  }
  const problems = parts.map(({ task }, index) => task.fixed(split, counts[index] as number));
  const taken = parts.map(() => 0);
  return order.map((index) => {
    const place = taken[index] as number;
    taken[index] = place + 1;
    return problems[index]?.[place] as Problem;
  });
}
