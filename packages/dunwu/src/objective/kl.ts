import { op, type Tensor } from '@dunwu/torch';
import { z } from 'zod';

/**
 * How far the policy π_θ has moved from the reference π_ref, token by token: D_KL(π_θ ‖ π_ref), estimated.
 *
 * With d = log π_ref(token) − log π_θ(token) for a token that π_θ sampled (John Schulman, "Approximating KL
 * Divergence", 2020, http://joschu.net/blog/kl-approx.html; there r = e^d):
 *
 * | name  | per token       | value                                       | gradient in a loss, expected on-policy     |
 * |-------|-----------------|---------------------------------------------|--------------------------------------------|
 * | k1    | −d              | unbiased, often negative, large variance    | 0: it does not pull at all                 |
 * | k2    | ½ d²            | biased, never negative, small variance      | ∇ KL(π_θ ‖ π_ref): that of the true KL      |
 * | k3    | e^d − d − 1     | unbiased, never negative, small variance    | ∇ KL(π_ref ‖ π_θ): that of the *other* KL   |
 * | exact | Σ_v p (log p/q) | the KL of the token's distribution itself   | ∇ KL(π_θ ‖ π_ref), without sampling noise   |
 *
 * `k3-unbiased` is ρ · k3 with the importance ratio ρ = π_θ/π_old *in the gradient* (DeepSeek-V3.2, arXiv 2512.02556,
 * eq. 7): value and gradient are those of KL(π_θ ‖ π_ref) in expectation over samples of π_old, on-policy and off.
 *
 * k3 is GRPO's penalty (DeepSeekMath, arXiv 2402.03300, eq. 4) and the lecture notes' formula
 * π_ref/π_θ − log(π_ref/π_θ) − 1. The "value" column holds for samples of π_θ: where the samples are π_old's and
 * π_θ has moved on, k1, k2 and k3 are off by that; k3-unbiased and exact are not, given the tokens before. The last
 * column is why the choice matters, and it is tested: the gradient of a sampled estimator misses the part that comes
 * from the sampling itself.
 */

export interface KlInputs {
  /** [N] log π_θ(token), with gradient. */
  readonly logprobs: Tensor;
  /** [N] log π_old(token), under the policy that sampled; no gradient. */
  readonly oldLogprobs: Tensor;
  /** [N] log π_ref(token), no gradient; null when the estimator does not need it. */
  readonly referenceLogprobs: Tensor | null;
  /** [N] exact KL of each token's distribution, with gradient (from `tokenKl`); null when not needed. */
  readonly exactKl: Tensor | null;
}

/** An estimator: which of the two optional inputs it needs, and KL per token [N] → [N], with gradient. */
export interface KlEstimator {
  readonly needs: 'referenceLogprobs' | 'exactKl';
  perToken(inputs: KlInputs): Tensor;
}

/** An estimator from the sampled tokens' log-probabilities alone, each [N]. */
function sampled(estimate: (logprobs: Tensor, reference: Tensor, old: Tensor) => Tensor): KlEstimator {
  return {
    needs: 'referenceLogprobs',
    perToken: (inputs) =>
      estimate(inputs.logprobs, need(inputs, 'referenceLogprobs').detach(), inputs.oldLogprobs.detach()),
  };
}

/** Every estimator there is. A new one is one entry here; recipes know its name from this table. */
export const KL_ESTIMATORS = {
  k1: sampled((logprobs, reference) => logprobs.sub(reference)),
  k2: sampled((logprobs, reference) => logprobs.sub(reference).square().mul(0.5)),
  k3: sampled((logprobs, reference) => expMinusLineMinusOne(reference.sub(logprobs))),
  'k3-unbiased': sampled((logprobs, reference, old) =>
    logprobs
      .sub(old)
      .clamp(-K3_LIMIT, K3_LIMIT)
      .exp()
      .mul(expMinusLineMinusOne(reference.sub(logprobs))),
  ),
  exact: { needs: 'exactKl', perToken: (inputs) => need(inputs, 'exactKl') },
} as const satisfies Readonly<Record<string, KlEstimator>>;

export type KlEstimatorName = keyof typeof KL_ESTIMATORS;

export const KL_ESTIMATOR_NAMES = Object.keys(KL_ESTIMATORS) as [KlEstimatorName, ...KlEstimatorName[]];

/** The penalty −β D_KL in the objective. `none` needs no reference model; a coefficient of 0 measures without pulling. */
export const klSchema = z.discriminatedUnion('estimator', [
  z.strictObject({ estimator: z.literal('none') }),
  z.strictObject({
    estimator: z.enum(KL_ESTIMATOR_NAMES),
    /** β, per nat. DeepSeekMath 0.04, DeepSeek-R1 0.001. */
    coefficient: z.number().min(0),
  }),
]);

export type KlConfig = z.output<typeof klSchema>;

/** What the trainer has to have for an estimator: the reference's log-probabilities, the exact KL, or neither. */
export function klNeeds(kl: KlConfig): KlEstimator['needs'] | null {
  return kl.estimator === 'none' ? null : KL_ESTIMATORS[kl.estimator].needs;
}

/**
 * KL(π_θ ‖ π_ref) per token.
 * @returns [N] in nats, with gradient
 * @throws Error when the input that the estimator needs is null.
 */
export function klPerToken(name: KlEstimatorName, inputs: KlInputs): Tensor {
  return KL_ESTIMATORS[name].perToken(inputs);
}

/**
 * Where k3 leaves e^d for the tangent at this point: e^88 is infinite in float32, and one token that the policy has
 * made e^20 times less likely than the reference would already drown the batch. Beyond it the value grows linearly and
 * the gradient stays e^20 − 1, so the pull back to the reference stays, where a clamp would end it.
 */
export const K3_LIMIT = 20;

/** e^d − d − 1, through expm1: near 0, where a young policy lives, e^d − 1 in float32 would be rounding noise. */
function expMinusLineMinusOne(d: Tensor): Tensor {
  const near = d.clampMax(K3_LIMIT);
  // Not d − near: its gradient would be e^20 − e^20 along two paths, and their rounding larger than any real gradient.
  const beyond = d.sub(K3_LIMIT).relu();
  return (op('aten::expm1')(near) as Tensor).sub(near).add(beyond.mul(Math.expm1(K3_LIMIT)));
}

function need(inputs: KlInputs, key: KlEstimator['needs']): Tensor {
  const tensor = inputs[key];
  if (tensor !== null) return tensor;
  const users = KL_ESTIMATOR_NAMES.filter((name) => KL_ESTIMATORS[name].needs === key).join(', ');
  throw new Error(`KL: ${key} is null; the estimators ${users} need it, [N] per response token`);
}
