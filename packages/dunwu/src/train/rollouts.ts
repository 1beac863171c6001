import type { RewardProgram } from '../reward/program.js';
import { languageConsistency } from '../reward/rules/language.js';
import { chainOfThought } from '../reward/tags.js';
import type { Trace } from '../reward/trace.js';
import type { RolloutEngine, Sample } from '../rollout/engine.js';
import type { Sampling } from '../rollout/sampling-config.js';
import { stopIds } from '../rollout/stop-ids.js';
import type { Problem } from '../task/problem.js';
import { decodeResponse, renderPrompt } from '../text/template.js';
import type { Tokenizer } from '../text/tokenizer.js';

/** One response to one problem: what every online method (GRPO, PPO, on-policy distillation) begins with. */
export interface Rollout {
  readonly problem: Problem;
  /** Tokens of the prompt; the response's are `sample.tokens`. */
  readonly prompt: readonly number[];
  /** The response's tokens, their log-probabilities under the policy that sampled, and why it ended. */
  readonly sample: Sample;
  /** The response as text: what rewards read. A thought that the prompt has begun is whole in it. */
  readonly response: string;
}

/** A rollout with its judgement. */
export interface ScoredRollout extends Rollout {
  readonly trace: Trace;
}

export interface RolloutPlan {
  /** Responses to each problem. */
  readonly samples: number;
  readonly sampling: Sampling;
  readonly seed: number | string;
  /** Names the random numbers of the i-th problem: another key for every problem of every step. */
  readonly key: (index: number) => string;
}

/**
 * Samples responses with the engine's weights as they are now and decodes them.
 * @returns problem by problem, `samples` rollouts each: those of problem i are at i · samples and following
 * @throws Error when a prompt is too long for the model.
 */
export async function rollOut(
  engine: RolloutEngine,
  tokenizer: Tokenizer,
  problems: readonly Problem[],
  plan: RolloutPlan,
): Promise<Rollout[]> {
  const prompts = problems.map((problem) => renderPrompt(tokenizer, problem.prompt));
  const stop = stopIds(engine.model, tokenizer);
  // Not stopped half-way: a step that was begun is finished and saved, so nothing of it is lost or done twice.
  const samples = await engine.generate(
    prompts.map((tokens, i) => ({ tokens, samples: plan.samples, key: plan.key(i) })),
    { sampling: plan.sampling, seed: plan.seed, stop, tokenizer },
  );
  return samples.map((sample) => ({
    problem: problems[sample.prompt] as Problem,
    prompt: prompts[sample.prompt] as number[],
    sample,
    response: decodeResponse(tokenizer, sample.tokens, {
      prompt: prompts[sample.prompt] as number[],
      stop,
      strings: plan.sampling.stop,
    }),
  }));
}

/** Judges every rollout by the rules. */
export function scoreRollouts(rollouts: readonly Rollout[], rewards: RewardProgram): ScoredRollout[] {
  return rollouts.map((rollout) => ({ ...rollout, trace: rewards.score(rollout.problem, rollout.response) }));
}

/** A list cut into groups of `size` neighbours: rollouts of the same problem. */
export function inGroups<T>(list: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(list.length / size) }, (_, i) => list.slice(i * size, (i + 1) * size));
}

/** Tokens that a rollout cost: a prompt is computed once for all its samples. */
export function rolloutTokens(
  rollouts: readonly Rollout[],
  groupSize: number,
): { readonly prompt: number; readonly new: number } {
  return {
    prompt: inGroups(rollouts, groupSize).reduce((sum, group) => sum + (group[0]?.prompt.length ?? 0), 0),
    new: rollouts.reduce((sum, { sample }) => sum + sample.tokens.length, 0),
  };
}

/**
 * What is logged of a step's rollouts: `reward`, `reward/RULE` and the shares of its troubles, `accuracy` and
 * `solved_questions` (of the problems with an answer), `length`, `truncated`, `language_consistency`. Where problems of
 * several sources were drawn, `source/SOURCE/reward` and `source/SOURCE/accuracy` too.
 */
export function rolloutMetrics(rollouts: readonly ScoredRollout[], groupSize: number): Record<string, number> {
  const metrics = metricsOf(rollouts, groupSize);
  const sources = [...new Set(rollouts.map(({ problem }) => problem.source))].sort();
  if (sources.length < 2) return metrics;
  for (const source of sources) {
    const own = metricsOf(
      rollouts.filter(({ problem }) => problem.source === source),
      groupSize,
    );
    metrics[`source/${source}/reward`] = own.reward as number;
    if (own.accuracy !== undefined) metrics[`source/${source}/accuracy`] = own.accuracy;
  }
  return metrics;
}

function metricsOf(rollouts: readonly ScoredRollout[], groupSize: number): Record<string, number> {
  const traces = rollouts.map(({ trace }) => trace);
  const metrics: Record<string, number> = {
    reward: mean(traces.map(({ total }) => total)),
    length: mean(rollouts.map(({ sample }) => sample.tokens.length)),
    truncated: mean(rollouts.map(({ sample }) => (sample.reason === 'length' ? 1 : 0))),
  };
  // Sources may have different rules: each is averaged over the responses that it judged.
  for (const name of new Set(traces.flatMap(({ parts }) => parts.map((part) => part.name)))) {
    const parts = rollouts.map(({ problem, trace }) =>
      // A problem without an answer is neither solved nor failed.
      name === 'accuracy' && problem.answer === undefined ? undefined : trace.parts.find((part) => part.name === name),
    );
    const judged = parts.filter((part) => part !== undefined);
    if (judged.length === 0) continue;
    metrics[`reward/${name}`] = mean(judged.map(({ points }) => points));
    if (name === 'accuracy') {
      metrics.accuracy = mean(judged.map(({ status }) => (status === 'ok' ? 1 : 0)));
      const groups = inGroups(parts, groupSize).filter(([first]) => first !== undefined);
      metrics.solved_questions = mean(groups.map((group) => (group.some((part) => part?.status === 'ok') ? 1 : 0)));
    }
    for (const status of ['unparsable', 'timeout', 'bad-gold', 'error'] as const) {
      const share = mean(judged.map((part) => (part.status === status ? 1 : 0)));
      if (share > 0) metrics[`reward/${name}/${status}`] = share;
    }
  }
  metrics.language_consistency = mean(
    rollouts.flatMap(({ problem, response }) => {
      const [start, end] = chainOfThought(response);
      const share = languageConsistency(response.slice(start, end), problem.language);
      return share === null ? [] : [share];
    }),
  );
  return metrics;
}

function mean(list: readonly number[]): number {
  return list.length === 0 ? 0 : list.reduce((a, b) => a + b, 0) / list.length;
}
