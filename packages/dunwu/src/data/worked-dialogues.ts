import { applyOperation } from '../task/arithmetic.js';
import type { Problem, Task } from '../task/problem.js';
import { type GoldStep, goldSteps, isWorkedTask, rework, type WorkedTask } from '../task/worked.js';
import { Random } from '../util/random.js';
import { buggyResult } from './arithmetic-bug.js';
import type { DialogueRow } from './dialogues.js';

/** How a solution was put wrong: the systematic bug (a carry dropped), or one result that is off by a little. */
export type Mistake = 'bug' | 'slip';

export interface WorkedDialogue extends DialogueRow {
  /** Absent in right solutions. */
  readonly mistake?: Mistake;
}

/**
 * The task's own solutions to problems, as dialogues: data as good as it can be, or, for a share `wrong` of them, as bad
 * as it looks good. A wrong solution calculates with a dropped carry (where that changes nothing: is off by a little in
 * one step), goes on with what it found, and ends in a wrong answer; format and language stay perfect. Which problems
 * are wrong is drawn by the seed: a larger share makes the same ones wrong and some more.
 *
 * @throws Error when the task cannot write solutions, or `wrong` is above 0 and it has no steps to get wrong.
 */
export function workedDialogues(
  task: Task,
  problems: readonly Problem[],
  options: { readonly wrong: number; readonly seed: number | string },
): WorkedDialogue[] {
  const { wrong, seed } = options;
  if (!canSolve(task)) {
    throw new Error(
      `task ${task.id} cannot write solutions; use a generated task (word-problem, equation, general) or data with responses`,
    );
  }
  if (wrong > 0 && !isWorkedTask(task)) {
    throw new Error(
      `task ${task.id} has no calculations to get wrong: leave out \`wrong\`, or use word-problem or equation`,
    );
  }
  const order = new Random(`${seed}/wrong`).shuffle(problems.map((_, i) => i));
  const bad = new Set(order.slice(0, Math.round(wrong * problems.length)));
  return problems.map((problem, index) => {
    const worked = bad.has(index)
      ? wrongSteps(task as WorkedTask, problem, new Random(`${seed}/mistake ${index}`))
      : undefined;
    const response =
      worked === undefined ? task.solve(problem) : (task as WorkedTask).solve(problem, { steps: worked.steps });
    return {
      where: problem.id,
      messages: [
        { role: 'user', content: problem.prompt },
        { role: 'assistant', content: response },
      ],
      ...(worked === undefined ? {} : { mistake: worked.mistake }),
    };
  });
}

interface Solver extends Task {
  solve(problem: Problem): string;
}

function canSolve(task: Task): task is Solver {
  return 'solve' in task && typeof task.solve === 'function';
}

/** Steps that lead to another answer than the gold ones, every value within the task's bounds. */
function wrongSteps(task: WorkedTask, problem: Problem, rng: Random): { steps: GoldStep[]; mistake: Mistake } {
  const gold = goldSteps(problem);
  const [low, high] = task.bounds;
  const isWrong = (steps: GoldStep[]): boolean =>
    steps.every(({ result }) => result >= low && result <= high) && steps.at(-1)?.result !== gold.at(-1)?.result;
  const bug = rework(gold, buggyResult);
  if (bug && isWrong(bug)) return { steps: bug, mistake: 'bug' };
  const slips = rng.shuffle(gold.flatMap((_, step) => [-10, -2, -1, 1, 2, 10].map((by) => ({ step, by }))));
  for (const slip of slips) {
    let step = -1;
    const slipped = rework(gold, (op, left, right) => {
      step += 1;
      const result = applyOperation(op, left, right);
      return result === undefined || step !== slip.step ? result : result + slip.by;
    });
    if (slipped && isWrong(slipped)) return { steps: slipped, mistake: 'slip' };
  }
  throw new Error(`${problem.id}: no wrong calculation stays within the task's bounds ${low}..${high}: widen them`);
}
