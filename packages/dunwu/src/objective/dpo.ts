import { scope, type Tensor } from '@dunwu/torch';
import type { Metric, Objective } from './metrics.js';
import { aboveZero, checkPairs, pairLoss } from './preference.js';

/** log π(y | x) of whole responses, summed over their tokens: [P] each. Only the policy's carry gradient. */
export interface DpoInputs {
  readonly policyChosen: Tensor;
  readonly policyRejected: Tensor;
  readonly referenceChosen: Tensor;
  readonly referenceRejected: Tensor;
}

export interface DpoOptions {
  /** β: how dearly the policy pays for leaving the reference. */
  readonly beta: number;
  /** Pairs in the whole batch, over all its micro-batches. */
  readonly pairsInBatch: number;
  /** ε of conservative DPO: share of the labels taken to be wrong, 0 ≤ ε < ½; default 0. */
  readonly labelSmoothing?: number;
}

/**
 * Direct preference optimisation (Rafailov et al. 2023, arXiv 2305.18290, eq. 7): a policy learnt from preference pairs
 * without a reward model and without sampling. The policy is its own reward model, r(x, y) = β log π_θ(y|x)/π_ref(y|x):
 *
 *     loss = − mean log σ( r(x, y_chosen) − r(x, y_rejected) )
 *
 * With label smoothing ε: − (1 − ε) log σ(Δ) − ε log σ(−Δ) (cDPO, Mitchell 2023).
 *
 * @returns metrics `loss` (nats per pair; ln 2 where the policy is the reference), `accuracy`, `margin` (mean Δ),
 *   `rewards/chosen`, `rewards/rejected` (mean r), `logprob/chosen`, `logprob/rejected` (mean log π_θ): both may fall
 *   while the margin grows
 * @throws Error when the shapes differ or `pairsInBatch` is too small.
 */
export function dpoLoss(inputs: DpoInputs, { beta, pairsInBatch, labelSmoothing = 0 }: DpoOptions): Objective {
  checkPairs('dpoLoss', { ...inputs }, pairsInBatch);
  const { policyChosen, policyRejected, referenceChosen, referenceRejected } = inputs;
  return scope(() => {
    const chosen = policyChosen.sub(referenceChosen.detach()).mul(beta);
    const rejected = policyRejected.sub(referenceRejected.detach()).mul(beta);
    const difference = chosen.sub(rejected);
    const sum = pairLoss(difference, labelSmoothing).sum();
    const mean = (values: Tensor): Metric => ({
      kind: 'mean',
      sum: values.detach().sum(),
      count: policyChosen.numel,
    });
    return {
      loss: sum.div(pairsInBatch),
      metrics: {
        loss: mean(sum),
        accuracy: mean(aboveZero(difference.detach())),
        margin: mean(difference),
        'rewards/chosen': mean(chosen),
        'rewards/rejected': mean(rejected),
        'logprob/chosen': mean(policyChosen),
        'logprob/rejected': mean(policyRejected),
      },
    };
  });
}
