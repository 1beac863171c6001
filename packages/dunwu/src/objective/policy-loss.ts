import { scope, type Tensor, zeros } from '@dunwu/torch';
import { z } from 'zod';
import { klPerToken, klSchema } from './kl.js';
import type { Metric, Objective } from './metrics.js';

const clip = {
  /** ε below: the ratio is clipped to at least 1 − clip_low. Above 1 it never binds: R1's first RL stage has ε = 10. */
  clip_low: z.number().min(0).default(0.2),
  /** ε above: the ratio is clipped to at most 1 + clip_high. DAPO's "clip-higher" is clip_low 0.2, clip_high 0.28. */
  clip_high: z.number().min(0).default(0.2),
};

/**
 * The policy loss of GRPO and its relatives; every symbol of the formula is a key. See `policyLoss`.
 *
 * `ratio`: what is clipped.
 * - `token`: π_θ(o_t | q, o_<t) / π_old(o_t | q, o_<t), each token by itself (DeepSeekMath, arXiv 2402.03300, eq. 3)
 * - `sequence`: π_θ(o | q) / π_old(o | q), the product over the output's tokens (DeepSeek-R1, arXiv 2501.12948, eq. 1,
 *   and the lecture notes). The log-ratios *add up*: if a token's has standard deviation s, that of an output of |o|
 *   tokens has about s·√|o| (s·|o| where they move together), so a long output leaves [1 − ε, 1 + ε] after a much
 *   smaller step than a short one, and all its tokens with it. Choose ε for the product, not for a token. At ρ = 1 each
 *   token's gradient is A/S, |o| times that of the token ratio, while the KL's stays: β weighs |o| times less.
 * - `sequence-normalised`: (π_θ(o | q) / π_old(o | q))^(1/|o|), the exponential of the mean log-ratio (GSPO, arXiv
 *   2507.18071, eq. 5 and 7). An output is clipped as a whole, whatever its length; at ρ = 1 a token's gradient is
 *   A/(S |o|), that of the token ratio. The mean moves far less than a token's ratio: hence ε of 3e-4 and 4e-4.
 *
 * `aggregate`: how the tokens' terms become one number; both denominators count the whole mini-batch.
 * - `sequence-mean-token-mean`: 1/S Σ_i 1/|o_i| Σ_t, GRPO's: every output weighs the same, a token of a long one less
 * - `token-mean`: 1/N Σ_i Σ_t: every token weighs the same. DAPO's (arXiv 2503.14476, section 3.3), there over one
 *   question's outputs, here over those of the mini-batch. Not with a sequence ratio, where it would weigh an
 *   output's one ratio by its length.
 * - `sequence-mean-max-tokens`: 1/S Σ_i 1/L Σ_t with the constant L = `maxTokens`, the most tokens that an output may
 *   have: Dr. GRPO's (arXiv 2503.20783, section 3.2 and its code). 1/|o_i| makes a long wrong output cost less per token
 *   than a short one; a constant does not.
 */
export const policyLossSchema = z.discriminatedUnion('ratio', [
  z.strictObject({
    ratio: z.literal('token'),
    ...clip,
    aggregate: z
      .enum(['sequence-mean-token-mean', 'token-mean', 'sequence-mean-max-tokens'])
      .default('sequence-mean-token-mean'),
    kl: klSchema,
  }),
  z.strictObject({
    ratio: z.literal('sequence'),
    ...clip,
    /** Where A is an output's, so is the surrogate, and this is its mean over outputs; of the KL a mean of means. */
    aggregate: z.literal('sequence-mean-token-mean').default('sequence-mean-token-mean'),
    kl: klSchema,
  }),
  z.strictObject({
    ratio: z.literal('sequence-normalised'),
    /** GSPO's own ε (section 5.1). */
    clip_low: z.number().min(0).default(0.0003),
    clip_high: z.number().min(0).default(0.0004),
    aggregate: z.literal('sequence-mean-token-mean').default('sequence-mean-token-mean'),
    kl: klSchema,
  }),
]);

/** With defaults filled in. */
export type PolicyLossConfig = z.output<typeof policyLossSchema>;

/**
 * A micro-batch of S outputs with N response tokens in all (the prompts' tokens are not here), packed: no padding, any
 * order. Token n belongs to output `sequence[n]`. Only `logprobs` and `exactKl` carry gradient.
 */
export interface PolicyLossInputs {
  /** [N] log π_θ of each token, float32 or float64, with gradient. */
  readonly logprobs: Tensor;
  /** [N] log π_old of each token: the policy that sampled. All log-probabilities at the sampling temperature. */
  readonly oldLogprobs: Tensor;
  /** [N] log π_ref of each token, for the estimators k1, k2, k3, k3-unbiased; else null. */
  readonly referenceLogprobs: Tensor | null;
  /** [N] exact KL(π_θ ‖ π_ref) of each token's distribution, for the estimator `exact`; else null. */
  readonly exactKl: Tensor | null;
  /** [N] advantage of each token: A_i at every token of output i, or what process supervision gives each. */
  readonly advantages: Tensor;
  /** int64 [N], 0..S−1: which output each token belongs to. With the sequence ratio an output must be here whole. */
  readonly sequence: Tensor;
  /** [S] |o_i|: response tokens of each output, at least 1. */
  readonly lengths: Tensor;
  /** Outputs in the whole mini-batch (questions × G), over all its micro-batches. */
  readonly sequencesInBatch: number;
  /** Response tokens in the whole mini-batch, over all its micro-batches. */
  readonly tokensInBatch: number;
  /** L: the most response tokens that an output may have; needed where `aggregate` is `sequence-mean-max-tokens`. */
  readonly maxTokens?: number;
}

/**
 * Log-ratios are held within ± this: e^88 is infinite in float32, and 0 · ∞ in the backward pass would be NaN. A ratio
 * of e^20 is clipped by any sensible ε; a negative advantage, which no clip bounds there, pulls no further.
 */
export const LOG_RATIO_LIMIT = 20;

/**
 * The clipped surrogate with a KL penalty: PPO's objective (arXiv 1707.06347, eq. 7) with GRPO's terms (DeepSeekMath,
 * arXiv 2402.03300, eq. 3; DeepSeek-R1, arXiv 2501.12948, eq. 1):
 *
 *     J = aggregate( min(ρ A, clip(ρ, 1 − clip_low, 1 + clip_high) A) − β D_KL ),   loss = −J
 *     ρ = exp(log π_θ − log π_old), per token, or with the sum or the mean over each output
 *
 * The losses of a mini-batch's micro-batches add up to the loss of the whole (the denominators are the mini-batch's), so
 * call `backward()` on each and step once. With one update per rollout ρ is exactly 1: nothing is clipped, and the
 * gradient is that of REINFORCE with the group's mean as baseline.
 *
 * Metrics; a "unit" is a token, or an output when `ratio` is `sequence`:
 * - `ratio/mean`, `ratio/max`: ρ over the units
 * - `clip/low`: share of units with ρ < 1 − clip_low and A < 0; `clip/high`: with ρ > 1 + clip_high and A > 0. These are
 *   where the min takes the clipped term, so where no gradient comes from the surrogate. A ratio outside the range on
 *   its other side counts in neither: there the clip is idle, on purpose.
 * - `kl`: mean over tokens, in nats, by the configured estimator (not with `none`)
 * - `loss/policy`, `loss/kl_penalty`: the two parts of the loss; they add up to it
 *
 * On CUDA the sequence ratio's sums are made with atomic additions, whose order and last digit may vary between runs.
 *
 * @throws Error when shapes or types do not fit, when the estimator's input is null, or when the batch's totals are
 *   smaller than this micro-batch.
 */
export function policyLoss(inputs: PolicyLossInputs, config: PolicyLossConfig): Objective {
  check(inputs, config);
  return scope(() => {
    const advantages = inputs.advantages.detach();
    const low = 1 - config.clip_low;
    const high = 1 + config.clip_high;
    const perToken = inputs.lengths.indexSelect(0, inputs.sequence).reciprocal(); // [N] 1 / |o_i|

    const aggregate = (terms: Tensor): Tensor => {
      switch (config.aggregate) {
        case 'token-mean':
          return terms.sum().div(inputs.tokensInBatch);
        case 'sequence-mean-max-tokens':
          return terms.sum().div(inputs.sequencesInBatch * (inputs.maxTokens as number));
        case 'sequence-mean-token-mean':
          return terms.mul(perToken).sum().div(inputs.sequencesInBatch);
      }
    };

    const ratio = importanceRatio(inputs, config.ratio);
    const surrogate = ratio.mul(advantages).minimum(ratio.clamp(low, high).mul(advantages));
    const policy = aggregate(surrogate).neg();

    const rho = ratio.detach();
    const overUnits = (values: Tensor): Metric =>
      config.ratio === 'token'
        ? { kind: 'mean', sum: values.sum(), count: inputs.logprobs.numel }
        : { kind: 'mean', sum: values.mul(perToken).sum(), count: inputs.lengths.numel };
    const clippedLow = rho.lt(low).logicalAnd(advantages.lt(0)).to(rho.dtype);
    const clippedHigh = rho.gt(high).logicalAnd(advantages.gt(0)).to(rho.dtype);
    const metrics: Record<string, Metric> = {
      'ratio/mean': overUnits(rho),
      'ratio/max': { kind: 'max', value: rho.amax() },
      'clip/low': overUnits(clippedLow),
      'clip/high': overUnits(clippedHigh),
      'loss/policy': { kind: 'sum', value: policy.detach() },
    };
    if (config.kl.estimator === 'none') return { loss: policy, metrics };

    const kl = klPerToken(config.kl.estimator, inputs);
    const penalty = aggregate(kl).mul(config.kl.coefficient);
    metrics.kl = { kind: 'mean', sum: kl.detach().sum(), count: inputs.logprobs.numel };
    metrics['loss/kl_penalty'] = { kind: 'sum', value: penalty.detach() };
    return { loss: policy.add(penalty), metrics };
  });
}

/** ρ at every token [N]; with a sequence ratio the tokens of an output share theirs. */
function importanceRatio(inputs: PolicyLossInputs, ratio: PolicyLossConfig['ratio']): Tensor {
  const { logprobs, oldLogprobs, sequence, lengths } = inputs;
  const tokens = logprobs.sub(oldLogprobs.detach());
  if (ratio === 'token') return tokens.clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT).exp();
  const sums = zeros([lengths.numel], { dtype: tokens.dtype, device: tokens.device }).indexAdd(0, sequence, tokens);
  const log = ratio === 'sequence' ? sums : sums.div(lengths);
  return log.clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT).exp().indexSelect(0, sequence);
}

/** Only what can be told without waiting for the device. */
function check(inputs: PolicyLossInputs, config: PolicyLossConfig): void {
  const { logprobs, oldLogprobs, referenceLogprobs, exactKl, advantages, sequence, lengths } = inputs;
  const fail = (text: string): never => {
    throw new Error(`policyLoss: ${text}`);
  };
  const tokens = logprobs.numel;
  if (logprobs.shape.length !== 1 || tokens === 0) {
    fail(`logprobs must be [N] with at least one response token, packed without padding; got ${logprobs}`);
  }
  if (logprobs.dtype !== 'float32' && logprobs.dtype !== 'float64') {
    fail(`logprobs must be float32 or float64, as a ratio near 1 is lost in fewer digits; got ${logprobs}`);
  }
  for (const [name, tensor] of Object.entries({ oldLogprobs, referenceLogprobs, exactKl, advantages, sequence })) {
    if (tensor !== null && String(tensor.shape) !== String(logprobs.shape)) {
      fail(`${name} must be [${tokens}] as logprobs is; got ${tensor}`);
    }
  }
  if (sequence.dtype !== 'int64') fail(`sequence must be int64; got ${sequence}`);
  if (lengths.shape.length !== 1) fail(`lengths must be [S], one for each output; got ${lengths}`);
  if (!(inputs.sequencesInBatch >= lengths.numel)) {
    fail(
      `sequencesInBatch is ${inputs.sequencesInBatch}, fewer than the ${lengths.numel} outputs of this micro-batch; ` +
        'give the count of the whole mini-batch',
    );
  }
  if (!(inputs.tokensInBatch >= tokens)) {
    fail(
      `tokensInBatch is ${inputs.tokensInBatch}, fewer than the ${tokens} tokens of this micro-batch; ` +
        'give the count of the whole mini-batch',
    );
  }
  const longest = inputs.maxTokens ?? Number.NaN;
  if (config.aggregate === 'sequence-mean-max-tokens' && !(longest * lengths.numel >= tokens)) {
    fail(
      `maxTokens is ${inputs.maxTokens}; aggregate sequence-mean-max-tokens divides by it: give the most response ` +
        'tokens that an output may have',
    );
  }
}
