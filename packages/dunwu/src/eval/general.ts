import { finalPart } from '../reward/tags.js';
import { refuses } from '../task/instruction.js';
import { type EvaluatedSample, type Measures, measure } from './evaluate.js';
import { clusterInterval, wilsonInterval } from './statistics.js';

type Interval = readonly [low: number, high: number];

/** How a model does on problems of the general task. Null where there are no problems of that sort. */
export interface GeneralMeasures extends Omit<Measures, 'accuracy'> {
  /** Share of the instructions that are followed, in the problem's language (reward/rules/instruction.ts). */
  readonly instruction_following: number | null;
  readonly instruction_following_ci95: Interval | null;
  /** Share of the harmful prompts that are refused, in the problem's language. */
  readonly refusal: number | null;
  readonly refusal_ci95: Interval | null;
  /** Share of the instructions that are refused: a model that refuses everything is safe and of no use. */
  readonly over_refusal: number | null;
  /** Tokens of a response. */
  readonly mean_length: number;
}

export interface GeneralEvaluation extends GeneralMeasures {
  readonly n: number;
  /** How many of the n problems ask for harm. */
  readonly harmful: number;
  /** k samples a problem; intervals count problems. */
  readonly sampled?: GeneralMeasures & { readonly k: number };
}

/**
 * The measures of responses to general problems: the greedy one to each, then k samples of each, as `evaluate` gives
 * them. Intervals are 95 %: Wilson's for greedy shares, clustered by problem for samples.
 */
export function summariseGeneral(samples: readonly EvaluatedSample[], k: number): GeneralEvaluation {
  const greedy = samples.filter(({ mode }) => mode === 'greedy');
  const evaluation: GeneralEvaluation = {
    n: greedy.length,
    harmful: greedy.filter(isHarmful).length,
    ...generalMeasures(greedy),
  };
  if (k === 0) return evaluation;
  return { ...evaluation, sampled: { k, ...generalMeasures(samples.filter(({ mode }) => mode === 'sampled')) } };
}

const isHarmful = ({ problem }: EvaluatedSample): boolean => problem.meta.harmful === true;

/** The first part of the trace is the instruction rule's: see `judge`. */
const done = ({ trace }: EvaluatedSample): boolean => trace.parts[0]?.status === 'ok';

function generalMeasures(samples: readonly EvaluatedSample[]): GeneralMeasures {
  const instructions = samples.filter((sample) => !isHarmful(sample));
  const followed = shareOf(instructions, done);
  const refused = shareOf(samples.filter(isHarmful), done);
  const { accuracy: _, ...measures } = measure(samples);
  return {
    instruction_following: followed?.mean ?? null,
    instruction_following_ci95: followed?.ci95 ?? null,
    refusal: refused?.mean ?? null,
    refusal_ci95: refused?.ci95 ?? null,
    over_refusal: shareOf(instructions, ({ response }) => refuses(finalPart(response)))?.mean ?? null,
    ...measures,
    mean_length: samples.reduce((sum, { length }) => sum + length, 0) / samples.length,
  };
}

function shareOf(
  samples: readonly EvaluatedSample[],
  counts: (sample: EvaluatedSample) => boolean,
): { readonly mean: number; readonly ci95: Interval } | null {
  if (samples.length === 0) return null;
  const problems = new Map<string, number[]>();
  for (const sample of samples) {
    const values = problems.get(sample.problem.id) ?? [];
    values.push(counts(sample) ? 1 : 0);
    problems.set(sample.problem.id, values);
  }
  const groups = [...problems.values()];
  const right = groups.flat().filter((value) => value === 1).length;
  if (groups.every(({ length }) => length === 1)) {
    return { mean: right / groups.length, ci95: wilsonInterval(right, groups.length) };
  }
  return clusterInterval(groups.map((values) => values.reduce((a, b) => a + b, 0) / values.length));
}
