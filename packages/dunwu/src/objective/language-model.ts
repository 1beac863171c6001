import { scope, type Tensor } from '@dunwu/torch';
import type { Objective } from './metrics.js';

export interface LanguageModelLossOptions {
  /**
   * Σ mask over the whole batch when this is one of several micro-batches: the micro-batches' losses and gradients then
   * add up to those of the batch. Default: Σ mask of what is given here.
   */
  readonly targetsInBatch?: number;
}

/**
 * Next-token loss: the mean negative log-likelihood of the targets that count, in nats per target.
 *
 *     loss = − Σ_n mask_n · log π_θ(target_n) / Σ_n mask_n
 *
 * Pretraining and supervised fine-tuning are this same loss; they differ in the mask (every token, or the response
 * alone). exp(loss) is the perplexity.
 *
 * @param logprobs [N] log-probability of each target, with gradient (from `tokenLogprobs`, which never holds the
 *   [N, vocabulary] logits)
 * @param mask [N] loss weight of each target: 1 counts, 0 does not; any floating type or bool
 * @returns `loss` (NaN when no target counts and `targetsInBatch` is left out: loud, where 0 would train on nothing
 *   unnoticed); metric `loss`: nats per target
 * @throws Error when the shapes differ or `targetsInBatch` is not above 0.
 */
export function languageModelLoss(
  logprobs: Tensor,
  mask: Tensor,
  { targetsInBatch }: LanguageModelLossOptions = {},
): Objective {
  if (logprobs.shape.length !== 1 || String(logprobs.shape) !== String(mask.shape)) {
    throw new Error(`languageModelLoss: logprobs and mask must be [N] alike; got ${logprobs} and ${mask}`);
  }
  if (targetsInBatch !== undefined && !(targetsInBatch > 0 && Number.isFinite(targetsInBatch))) {
    throw new Error(
      `languageModelLoss: targetsInBatch is ${targetsInBatch}; give the sum of the masks of all micro-batches, above 0`,
    );
  }
  return scope(() => {
    const weights = mask.to(logprobs.dtype);
    const sum = logprobs.mul(weights).sum().neg();
    const count = weights.sum();
    return {
      loss: sum.div(targetsInBatch ?? count),
      metrics: { loss: { kind: 'mean', sum: sum.detach(), count } },
    };
  });
}
