import { op, scope, type Tensor } from '@dunwu/torch';
import type { Objective } from './metrics.js';

/** log σ(x), exact for large |x|. */
export function logSigmoid(x: Tensor): Tensor {
  return op('aten::log_sigmoid')(x) as Tensor;
}

/** 1 where x > 0, ½ where it is 0, else 0. */
export function aboveZero(x: Tensor): Tensor {
  return x.sign().add(1).div(2);
}

/**
 * −(1 − ε) log σ(x) − ε log σ(−x): the cross-entropy of "the first is better" with probability 1 − ε under the modelled
 * chance σ(x). ε > 0 says that so many labels are wrong, and keeps x from growing without end.
 */
export function pairLoss(x: Tensor, labelSmoothing: number): Tensor {
  const right = logSigmoid(x).mul(1 - labelSmoothing);
  return (labelSmoothing === 0 ? right : right.add(logSigmoid(x.neg()).mul(labelSmoothing))).neg();
}

export interface PreferenceLossOptions {
  /** Pairs in the whole batch when this is one of several micro-batches. */
  readonly pairsInBatch: number;
  /** ε: share of the labels taken to be wrong, 0 ≤ ε < ½; default 0. */
  readonly labelSmoothing?: number;
}

/**
 * The loss of a reward model on pairs (Bradley and Terry 1952; Ouyang et al. 2022, arXiv 2203.02155, eq. 1):
 *
 *     loss = − mean log σ(r_chosen − r_rejected)
 *
 * Only the difference counts: scores have no zero of their own.
 *
 * @param chosen [P] scores of the preferred responses, with gradient; `rejected` [P] those of the others
 * @returns metrics `loss` (nats per pair), `accuracy` (share with r_chosen > r_rejected, a tie is ½), `margin` (mean
 *   difference), `score/chosen`, `score/rejected`
 * @throws Error when the shapes differ or `pairsInBatch` is too small.
 */
export function preferenceLoss(
  chosen: Tensor,
  rejected: Tensor,
  { pairsInBatch, labelSmoothing = 0 }: PreferenceLossOptions,
): Objective {
  checkPairs('preferenceLoss', { chosen, rejected }, pairsInBatch);
  const count = chosen.numel;
  return scope(() => {
    const difference = chosen.sub(rejected);
    const sum = pairLoss(difference, labelSmoothing).sum();
    const margin = difference.detach();
    return {
      loss: sum.div(pairsInBatch),
      metrics: {
        loss: { kind: 'mean', sum: sum.detach(), count },
        accuracy: { kind: 'mean', sum: aboveZero(margin).sum(), count },
        margin: { kind: 'mean', sum: margin.sum(), count },
        'score/chosen': { kind: 'mean', sum: chosen.detach().sum(), count },
        'score/rejected': { kind: 'mean', sum: rejected.detach().sum(), count },
      },
    };
  });
}

/**
 * The loss of a safety model, point by point (R1 labels single responses "safe" or "unsafe": arXiv 2501.12948): binary
 * cross-entropy of the label under the modelled chance σ(score) of being safe.
 *
 * @param scores [N] with gradient
 * @param safe [N] 1 for safe, 0 for unsafe; any floating type or bool
 * @param rowsInBatch rows of the whole batch, over all its micro-batches
 * @returns metrics `loss` (nats per row), `accuracy` (σ(score) on the label's side of ½), `score/safe` and
 *   `score/unsafe` (means; NaN where there is none)
 */
export function safetyLoss(scores: Tensor, safe: Tensor, { rowsInBatch }: { readonly rowsInBatch: number }): Objective {
  checkPairs('safetyLoss', { scores, safe }, rowsInBatch);
  const count = scores.numel;
  return scope(() => {
    const label = safe.to(scores.dtype);
    const towards = scores.mul(label.mul(2).sub(1));
    const sum = logSigmoid(towards).sum().neg();
    const values = scores.detach();
    const unsafe = label.neg().add(1);
    return {
      loss: sum.div(rowsInBatch),
      metrics: {
        loss: { kind: 'mean', sum: sum.detach(), count },
        accuracy: { kind: 'mean', sum: aboveZero(towards.detach()).sum(), count },
        'score/safe': { kind: 'mean', sum: values.mul(label).sum(), count: label.sum() },
        'score/unsafe': { kind: 'mean', sum: values.mul(unsafe).sum(), count: unsafe.sum() },
      },
    };
  });
}

/** @throws Error when the tensors are not [N] alike, N ≥ 1, or the batch is smaller than that. */
export function checkPairs(name: string, tensors: Readonly<Record<string, Tensor>>, inBatch: number): void {
  const [first, ...others] = Object.values(tensors) as [Tensor, ...Tensor[]];
  const shape = String(first.shape);
  if (first.shape.length !== 1 || first.numel === 0 || others.some((other) => String(other.shape) !== shape)) {
    const given = Object.entries(tensors).map(([key, value]) => `${key} ${value}`);
    throw new Error(`${name}: expected tensors [N] alike with at least one entry; got ${given.join(', ')}`);
  }
  if (!(inBatch >= first.numel && Number.isFinite(inBatch))) {
    throw new Error(
      `${name}: the batch is said to have ${inBatch} entries, this micro-batch alone has ${first.numel}; give the ` +
        'count of the whole batch',
    );
  }
}
