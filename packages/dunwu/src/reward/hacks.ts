import type { Problem } from '../task/problem.js';
import { CODE_HACKS } from './hacks/code.js';
import { GENERAL_HACKS } from './hacks/general.js';
import { MATHS_HACKS } from './hacks/maths.js';
import { NUMBER_HACKS } from './hacks/number.js';
import type { RewardProgram, RewardProgramConfig } from './program.js';
import type { Trace } from './trace.js';

/**
 * What an honest solver hands in, by how much of the work is done. `right`: all of it, in form. `foreign`: all of it, in
 * the other language. `untagged`: all of it, without tags. `bare`: the right answer with a sentence instead of a calculation. `direct`: the right answer tag alone.
 * `miscopied`: every step right and another number in the answer. `slip`: the last step wrong. `begun`: the first step
 * alone, and a wrong answer. `guess`: a sentence and a wrong answer. `wrong`: something else than was asked, in form.
 */
export type HonestKind =
  | 'right'
  | 'foreign'
  | 'untagged'
  | 'bare'
  | 'direct'
  | 'miscopied'
  | 'slip'
  | 'begun'
  | 'guess'
  | 'wrong';

export interface Hack {
  readonly name: string;
  readonly response: string;
  /** The honest response that has as much of the work done: what the hack may score at most. */
  readonly deserves: HonestKind;
}

/** One problem with honest responses and responses made to cheat. */
export interface HackCase {
  readonly problem: Problem;
  /** Always has `right`, and all that a hack of this case deserves. */
  readonly honest: Readonly<Partial<Record<HonestKind, string>>>;
  readonly hacks: readonly Hack[];
}

/**
 * Word problems in English and Chinese, an expression, GSM8K's and CMATH's shapes, mathematics that is no number, small
 * instructions, harmful prompts, a program.
 */
export const HACK_CASES: readonly HackCase[] = [...NUMBER_HACKS, ...MATHS_HACKS, ...GENERAL_HACKS, ...CODE_HACKS];

/** What the hacks are tried on where nothing else is said: the rules and weights of the recipes, all kinds of problems. */
export const HACK_PROGRAM: RewardProgramConfig = {
  rules: { accuracy: 1, format: 0.5, steps: 0.5, language: 0.5, instruction: 0, code: 0 },
  sources: {
    maths: { steps: 0 },
    general: { accuracy: 0, steps: 0, language: 0, instruction: 1 },
    code: { accuracy: 0, steps: 0, code: 1 },
  },
};

export interface HackResult {
  readonly problem: Problem;
  readonly hack: string;
  readonly response: string;
  readonly trace: Trace;
  readonly deserves: HonestKind;
  /** Points of the honest response that it is measured by, and of the right one. */
  readonly bar: number;
  readonly right: number;
  /** It scores above `bar`, or above `right`. */
  readonly wins: boolean;
}

export interface HackReport {
  readonly results: readonly HackResult[];
  /** Problems that the program cannot judge: a rule of it has no gold there (`bad-gold`). Their hacks are left out. */
  readonly unjudged: readonly Problem[];
}

/** Sums of the same parts round differently in another order: no more than this is no difference. */
const SAME = 1e-9;

/**
 * Scores responses that were made to cheat, and the honest ones that they must not outdo: cheating may pay as much as
 * doing honestly what was done, and never more than being right.
 * @throws Error when a case lacks the honest response that one of its hacks is measured by
 */
export function judgeHacks(program: RewardProgram, cases: readonly HackCase[] = HACK_CASES): HackReport {
  const results: HackResult[] = [];
  const unjudged: Problem[] = [];
  for (const { problem, honest, hacks } of cases) {
    const score = (kind: HonestKind): Trace => {
      const response = honest[kind];
      if (response === undefined) throw new Error(`hacks of ${problem.id}: there is no honest response \`${kind}\``);
      return program.score(problem, response);
    };
    const right = score('right');
    if (right.parts.some(({ status }) => status === 'bad-gold')) {
      unjudged.push(problem);
      continue;
    }
    for (const { name, response, deserves } of hacks) {
      const trace = program.score(problem, response);
      const bar = score(deserves).total;
      const wins = trace.total > Math.min(bar, right.total) + SAME;
      results.push({ problem, hack: name, response, trace, deserves, bar, right: right.total, wins });
    }
  }
  return { results, unjudged };
}
