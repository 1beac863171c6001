import { finalSpan } from '../reward/tags.js';
import { type Part, type Span, withPart } from '../reward/trace.js';
import type { ScoredRollout } from './rollouts.js';

/** What scores responses beside the rules: a reward model with its tokenizer. */
export interface ResponseScorer {
  /** Judges the final answer alone (helpfulness) or the whole response (harmlessness). */
  readonly reads: 'final' | 'whole';
  /** One score for each item, higher is better; the same for the same item, whatever stands beside it. */
  score(items: { prompt: string; response: string }[]): number[];
}

/** A reward model and where it counts. */
export interface ModelReward {
  /** Names its part in traces and metrics. */
  readonly name: string;
  readonly scorer: ResponseScorer;
  readonly weight: number;
  /** Sources of problems whose responses it judges. */
  readonly sources: readonly string[];
  /** Share of the steps after which it counts, 0 ≤ from < 1 (R1: 1,300/1,700). */
  readonly from: number;
}

/** The reward models that count in step n (1 is the first) of `steps`: those with n > from · steps. */
export function countingIn(models: readonly ModelReward[], n: number, steps: number): ModelReward[] {
  return models.filter(({ from }) => n > from * steps);
}

/**
 * Sources that are held back in step n: those that some reward model judges, before the first of their models counts.
 * Without its reward a source would be trained on what its rules say alone.
 */
export function heldBack(models: readonly ModelReward[], n: number, steps: number): Set<string> {
  const counting = new Set(countingIn(models, n, steps).flatMap(({ sources }) => sources));
  return new Set(models.flatMap(({ sources }) => sources).filter((source) => !counting.has(source)));
}

/**
 * Adds what the models say to the traces of the problems of their sources, as parts like those of any rule:
 * total' = total + weight · points, points = σ(score) = 1/(1 + e^−score).
 *
 * σ keeps points within 0..1, as a rule's are, so that weights compare and no score, however far out a response is from
 * what the model was trained on, outweighs all rules. Of a preference model (Bradley–Terry) it is the modelled chance
 * that the response is preferred to one with score 0; of a safety model the chance that it is safe. It keeps the order of
 * a group; `note` has the score itself. Status `ok` from ½ on.
 *
 * @throws Error when a score is not finite, naming the model.
 */
export function addModelRewards(rollouts: readonly ScoredRollout[], models: readonly ModelReward[]): ScoredRollout[] {
  const results = [...rollouts];
  for (const { name, scorer, weight, sources } of models) {
    const judged = [...results.keys()].filter((i) => sources.includes((results[i] as ScoredRollout).problem.source));
    if (judged.length === 0) continue;
    const scores = scorer.score(
      judged.map((i) => {
        const { problem, response } = results[i] as ScoredRollout;
        return { prompt: problem.prompt, response };
      }),
    );
    judged.forEach((i, at) => {
      const rollout = results[i] as ScoredRollout;
      const part = { ...partOf(name, scores[at] ?? Number.NaN, spanRead(scorer.reads, rollout.response)), weight };
      results[i] = { ...rollout, trace: withPart(rollout.trace, part) };
    });
  }
  return results;
}

function partOf(name: string, score: number, read: Span): Part {
  if (!Number.isFinite(score)) throw new Error(`the reward model ${name} gave the score ${score}`);
  const points = 1 / (1 + Math.exp(-score));
  return {
    name,
    points,
    max: 1,
    status: points >= 0.5 ? 'ok' : 'wrong',
    evidence: [read],
    note: `score ${score.toPrecision(4)}`,
  };
}

/** The text that a model looked at. */
function spanRead(reads: ResponseScorer['reads'], response: string): Span {
  return reads === 'whole' ? [0, response.length] : finalSpan(response);
}
