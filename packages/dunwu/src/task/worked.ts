import { SPECIAL_TOKENS } from '../text/special-tokens.js';
import { applyOperation, equationText, type Operation } from './arithmetic.js';
import type { Language, Problem, Task } from './problem.js';

/** One equation of a worked solution. */
export interface GoldStep {
  readonly op: Operation;
  readonly left: number;
  readonly right: number;
  readonly result: number;
  /** `80-21=59` */
  readonly equation: string;
  /** Index of the earlier step whose result is the left (right) operand; absent when it stands in the problem. */
  readonly leftFrom?: number;
  readonly rightFrom?: number;
  /** What the story says is done, in both languages: `{ en: 'loses', zh: '丢了' }`. */
  readonly verb?: Readonly<Record<Language, string>>;
}

/**
 * How a solution is written.
 * `full`: `<think>…</think><answer>59</answer>`; `none`: the lines, then "answer 59" / "答案是59";
 * `unclosed-think`, `unclosed-answer`: as `full`, with that closing tag forgotten.
 */
export type SolutionFormat = 'full' | 'none' | 'unclosed-think' | 'unclosed-answer';

export interface SolutionStyle {
  /** Default `full`. */
  readonly format?: SolutionFormat;
  /** Languages of the lines, taken in turn (the answer line of `none` too). Default: the problem's own. */
  readonly languages?: readonly Language[];
  /** The answer alone, with no chain of thought and no think tags. Default false. */
  readonly direct?: boolean;
  /** Steps to write instead of the problem's gold ones; the answer is the last one's result. */
  readonly steps?: readonly GoldStep[];
}

/** A task that can write solutions: problems have `GoldStep`s in `meta.steps`. */
export interface WorkedTask extends Task {
  /** Every value of a right solution is within these, both ends included. */
  readonly bounds: readonly [number, number];
  /** The fewest steps a problem has. */
  readonly minSteps: number;
  /** The line of the solution for step number `index` (from 0), ending in the step's equation. */
  line(step: GoldStep, index: number, language: Language): string;
  /** The worked solution. Throws on a problem that has no steps in its meta. */
  solve(problem: Problem, style?: SolutionStyle): string;
}

export function isWorkedTask(task: Task): task is WorkedTask {
  return 'line' in task && 'solve' in task && 'bounds' in task;
}

/** The problem's gold steps. Throws when it has none of this shape. */
export function goldSteps(problem: Problem): readonly GoldStep[] {
  const steps = problem.meta.steps;
  if (Array.isArray(steps) && steps.length > 0 && steps.every((step) => typeof step?.op === 'string')) {
    return steps as GoldStep[];
  }
  throw new Error(`problem ${problem.id}: no worked steps in meta.steps; only problems of generated tasks have them`);
}

/**
 * The same steps with results (and operands that come from earlier steps) computed anew by `compute`, as a solver with a
 * faulty way of calculating would write them. Undefined as soon as `compute` gives undefined.
 */
export function rework(
  steps: readonly GoldStep[],
  compute: (op: Operation, left: number, right: number) => number | undefined = applyOperation,
): GoldStep[] | undefined {
  const done: GoldStep[] = [];
  for (const step of steps) {
    const left = step.leftFrom === undefined ? step.left : done[step.leftFrom]?.result;
    const right = step.rightFrom === undefined ? step.right : done[step.rightFrom]?.result;
    if (left === undefined || right === undefined) return undefined;
    const result = compute(step.op, left, right);
    if (result === undefined) return undefined;
    done.push({ ...step, left, right, result, equation: equationText(step.op, left, right, result) });
  }
  return done;
}

const answerInWords = (answer: number, language: Language): string =>
  language === 'zh' ? `答案是${answer}` : `answer ${answer}`;

/** Writes a solution of a worked task: see `SolutionStyle`. */
export function writeSolution(task: Pick<WorkedTask, 'line'>, problem: Problem, style: SolutionStyle = {}): string {
  const steps = style.steps ?? goldSteps(problem);
  const last = steps.at(-1);
  if (last === undefined) throw new Error(`problem ${problem.id}: a solution needs at least one step`);
  const languages = style.languages?.length ? style.languages : [problem.language];
  const languageOf = (index: number): Language => languages[index % languages.length] as Language;
  const lines = style.direct ? [] : steps.map((step, index) => task.line(step, index, languageOf(index)));
  const format = style.format ?? 'full';
  if (format === 'none') return [...lines, answerInWords(last.result, languageOf(lines.length))].join('\n');
  const { think, think_end, answer, answer_end } = SPECIAL_TOKENS;
  const thought = style.direct ? '' : `${think}${lines.join('\n')}${format === 'unclosed-think' ? '' : think_end}`;
  return `${thought}${answer}${last.result}${format === 'unclosed-answer' ? '' : answer_end}`;
}
