import { z } from 'zod';

export const gaeSchema = z.strictObject({
  /** γ: what a reward one token later is worth. 1 for responses: the score at the end counts in full everywhere. */
  gamma: z.number().min(0).max(1).default(1),
  /** λ: 0 trusts the value function one token ahead (low variance, biased by it), 1 only what really came. */
  lambda: z.number().min(0).max(1).default(0.95),
});

export type GaeConfig = z.output<typeof gaeSchema>;

export interface GaeResult {
  /** Â_t for each token. */
  readonly advantages: Float64Array;
  /** Â_t + V(s_t): what the value function is to learn. */
  readonly returns: Float64Array;
}

/**
 * Generalised advantage estimation of one response (Schulman et al. 2016, arXiv 1506.02438, eq. 16):
 *
 *     Â_t = Σ_l (γλ)^l δ_{t+l},   δ_t = r_t + γ V(s_{t+1}) − V(s_t)
 *
 * s_t is everything before token t, and V after the last token is 0: the response is over, however it ended. λ = 0 gives
 * δ_t; λ = 1 gives Σ_l γ^l r_{t+l} − V(s_t).
 *
 * @param rewards r_t of each token; `values` V(s_t), as many
 * @throws Error when their lengths differ.
 */
export function gae(rewards: ArrayLike<number>, values: ArrayLike<number>, { gamma, lambda }: GaeConfig): GaeResult {
  const length = rewards.length;
  if (values.length !== length) throw new Error(`gae: ${length} rewards and ${values.length} values`);
  const advantages = new Float64Array(length);
  const returns = new Float64Array(length);
  let next = 0;
  let nextValue = 0;
  for (let t = length - 1; t >= 0; t--) {
    const value = values[t] as number;
    next = (rewards[t] as number) + gamma * nextValue - value + gamma * lambda * next;
    nextValue = value;
    advantages[t] = next;
    returns[t] = next + value;
  }
  return { advantages, returns };
}

/** Added to the standard deviation, so that advantages that hardly differ are not blown up. */
const WHITEN_EPSILON = 1e-8;

/**
 * Advantages of all tokens of a rollout brought to mean 0 and standard deviation 1 (the population's), whatever response
 * they belong to.
 */
export function whiten(advantages: readonly Float64Array[]): Float64Array[] {
  const all = advantages.flatMap((list) => Array.from(list));
  const mean = all.reduce((sum, value) => sum + value, 0) / all.length;
  const variance = all.reduce((sum, value) => sum + (value - mean) ** 2, 0) / all.length;
  const scale = 1 / (Math.sqrt(variance) + WHITEN_EPSILON);
  return advantages.map((list) => list.map((value) => (value - mean) * scale));
}

/**
 * How much of the returns' spread the values explain: 1 − Var(R − V) / Var(R). 1 is perfect, 0 no better than a
 * constant, below 0 worse; NaN where all returns are the same.
 */
export function explainedVariance(returns: readonly Float64Array[], values: readonly ArrayLike<number>[]): number {
  const all = returns.flatMap((list) => Array.from(list));
  const errors = returns.flatMap((list, i) => Array.from(list, (value, t) => value - (values[i]?.[t] as number)));
  const spread = varianceOf(all);
  return spread === 0 ? Number.NaN : 1 - varianceOf(errors) / spread;
}

function varianceOf(list: readonly number[]): number {
  const mean = list.reduce((sum, value) => sum + value, 0) / list.length;
  return list.reduce((sum, value) => sum + (value - mean) ** 2, 0) / list.length;
}
