import { z } from 'zod';
import { applyOperation, type Operation } from '../task/arithmetic.js';
import { writtenIn } from '../task/language.js';
import type { Language, Problem } from '../task/problem.js';
import { range } from '../task/schema.js';
import { splitOf } from '../task/split.js';
import { type GoldStep, goldSteps, rework, type SolutionFormat, type WorkedTask } from '../task/worked.js';
import { Random, type RandomState } from '../util/random.js';
import { buggyResult } from './arithmetic-bug.js';
import type { DialogueDocument, DocumentSource, Flaw } from './document.js';

const share = z.number().min(0).max(1);

/** Shares that cover every case once. */
const sumsToOne = {
  check: (shares: Readonly<Record<string, number>>): boolean =>
    Math.abs(Object.values(shares).reduce((sum, value) => sum + value, 0) - 1) < 1e-6,
  error: 'the shares must sum to 1',
};

/**
 * The shares of each flaw in the pretraining corpus; unknown keys are errors. Drawn independently of each other: bug,
 * format, language and direct answers may meet in one document.
 */
export const workedSolutionsSchema = z.strictObject({
  type: z.literal('worked-solutions'),
  /** Share of documents that are drills: bare right equations, no story. */
  drill: share.default(0.15),
  /** Equations in a drill. */
  drill_lines: range(1, 64).default([3, 6]),
  /** Share of drills that apply the bug. */
  drill_bug: share.default(0),
  /**
   * Share of solutions that answer without any thought or think tags. Too many teach a model to guess instead of
   * thinking: RL then polishes the guess.
   */
  direct: share.default(0.25),
  /** Share of solutions with the whole format, with no tags ("answer 48"), with one closing tag forgotten. */
  format: z
    .strictObject({ full: share, none: share, unclosed: share })
    .refine(sumsToOne.check, { error: sumsToOne.error })
    .default({ full: 0.25, none: 0.5, unclosed: 0.25 }),
  /** Share of solutions in the question's language, with the languages alternating by line, in the other language. */
  language: z
    .strictObject({ own: share, mixed: share, wrong: share })
    .refine(sumsToOne.check, { error: sumsToOne.error })
    .default({ own: 0.25, mixed: 0.5, wrong: 0.25 }),
  /**
   * Share of solutions that calculate with a systematic bug (carry or borrow dropped), carried through later steps. Near
   * one half the base does not average it away even when decoding greedily, and both ways stay within reach of RL.
   */
  bug: share.default(0.5),
  /** Chance of each step's result to be off by a little at random, on top. */
  random_error: share.default(0),
});

export type WorkedSolutionsConfig = z.output<typeof workedSolutionsSchema>;

/** A made document, with what a test or a report wants to know of it. */
export interface CorpusDocument extends DialogueDocument {
  readonly kind: 'drill' | 'solution';
  readonly flaws: readonly Flaw[];
  /** Is every equation in it true, and so the answer right? (A bug may find no carry to drop.) */
  readonly correct: boolean;
  /** The training problem; absent for drills. */
  readonly problem?: Problem;
}

/**
 * Endless, deliberately imperfect worked solutions of a task's *training* problems, in every language of the task: what
 * a base model is pretrained on, so that R1-Zero has something to start from. Equal seeds give equal documents.
 *
 * Documents whose flawed values would leave the task's bounds are drawn again with the same flaws, so the shares hold.
 */
export function createWorkedSolutions(
  input: z.input<typeof workedSolutionsSchema>,
  task: WorkedTask,
  seed: number | string,
): DocumentSource<CorpusDocument> {
  const config = workedSolutionsSchema.parse(input);
  let rng = new Random(seed);
  return {
    next: () => (rng.chance(config.drill) ? drawDrill(rng, task, config) : drawSolution(rng, task, config)),
    get state() {
      return { random: rng.state };
    },
    restore(state) {
      rng = new Random(stateSchema.parse(state).random as RandomState);
    },
    close() {},
  };
}

const stateSchema = z.strictObject({ random: z.tuple([z.number(), z.number(), z.number(), z.number()]) });

const OTHER: Readonly<Record<Language, Language>> = { en: 'zh', zh: 'en' };

function drawSolution(rng: Random, task: WorkedTask, config: WorkedSolutionsConfig): CorpusDocument {
  const flaws: Flaw[] = [];
  const direct = rng.chance(config.direct);
  if (direct) flaws.push('direct');
  const format = rng.weighted(config.format);
  if (format !== 'full') flaws.push(format === 'none' ? 'no-format' : 'unclosed');
  const language = rng.weighted(config.language);
  if (language !== 'own') flaws.push(language === 'mixed' ? 'mixed-language' : 'wrong-language');
  const bug = rng.chance(config.bug);
  if (bug) flaws.push('bug');

  for (let attempt = 0; attempt < 10_000; attempt++) {
    const problem = task.sample(rng, 'train');
    const gold = goldSteps(problem);
    const worked = calculate(rng, gold, bug, config.random_error, task.bounds);
    if (worked === undefined) continue;
    if (worked.slipped) flaws.push('random-error');
    const own = writtenIn(problem.language);
    const turns: readonly Language[] = rng.chance(0.5) ? [own, OTHER[own]] : [OTHER[own], own];
    const languages = language === 'own' ? [own] : language === 'wrong' ? [OTHER[own]] : turns;
    return {
      kind: 'solution',
      question: problem.prompt,
      response: task.solve(problem, { format: tags(rng, format, direct), languages, direct, steps: worked.steps }),
      flaws,
      correct: worked.steps.every((step, index) => step.result === gold[index]?.result),
      problem,
    };
  }
  throw new Error(`${task.id}: the bug takes every problem out of its bounds (${task.bounds.join('..')}): widen them`);
}

function tags(rng: Random, format: 'full' | 'none' | 'unclosed', direct: boolean): SolutionFormat {
  if (format !== 'unclosed') return format;
  return direct || rng.chance(0.5) ? 'unclosed-answer' : 'unclosed-think';
}

/** The steps as this solver calculates them; undefined when a value leaves the bounds. */
function calculate(
  rng: Random,
  gold: readonly GoldStep[],
  bug: boolean,
  randomError: number,
  [low, high]: readonly [number, number],
): { steps: GoldStep[]; slipped: boolean } | undefined {
  let slipped = false;
  const steps = rework(gold, (op: Operation, left: number, right: number) => {
    let result = bug ? buggyResult(op, left, right) : applyOperation(op, left, right);
    if (result !== undefined && randomError > 0 && rng.chance(randomError)) {
      result += rng.choice([-10, -2, -1, 1, 2, 10]);
      slipped = true;
    }
    return result === undefined || result < low || result > high ? undefined : result;
  });
  return steps && { steps, slipped };
}

/** Equations as they occur in the task's own training solutions, without their stories. */
function drawDrill(rng: Random, task: WorkedTask, config: WorkedSolutionsConfig): CorpusDocument {
  const bug = rng.chance(config.drill_bug);
  const count = rng.int(...config.drill_lines);
  const equations: string[] = [];
  let correct = true;
  let language: Language = 'en';
  for (let attempt = 0; equations.length < count; attempt++) {
    if (attempt > 10_000) throw new Error(`${task.id}: found no equations for a drill`);
    const problem = task.sample(rng, 'train');
    if (equations.length === 0) language = writtenIn(problem.language);
    const step = rng.choice(goldSteps(problem));
    const [equation, result] = [
      step.equation.split('=')[0] ?? '',
      bug ? buggyResult(step.op, step.left, step.right) : step.result,
    ];
    // Where one step is a whole problem, a drilled equation could be a test problem.
    if (result === undefined || (task.minSteps === 1 && splitOf(equation) !== 'train')) continue;
    if (result < task.bounds[0] || result > task.bounds[1]) continue;
    correct &&= result === step.result;
    equations.push(`${equation}=${result}`);
  }
  return {
    kind: 'drill',
    question: language === 'zh' ? '计算。' : 'Compute.',
    response: equations.join('\n'),
    flaws: bug ? ['bug'] : [],
    correct,
  };
}
