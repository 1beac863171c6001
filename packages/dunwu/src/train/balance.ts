import { noGrad, scope, type Tensor } from '@dunwu/torch';
import type { MoeLayer, RouterOutput } from '../model/moe.js';

/**
 * How many (token, choice) pairs each expert of each layer got, summed over the micro-batches of a step; the metric
 * `expert_load/<layer>` and the input of the balancing rule.
 */
export class ExpertLoad {
  readonly #counts: number[][];

  constructor(layers: number, experts: number) {
    this.#counts = Array.from({ length: layers }, () => new Array<number>(experts).fill(0));
  }

  /**
   * @param counted bool [tokens]: which tokens count; all without it. Padding is no load.
   * @param first the layer that the first router belongs to
   */
  add(routers: readonly RouterOutput[], counted?: Tensor, first = 0): void {
    routers.forEach((router, layer) => {
      const counts = this.#counts[first + layer];
      if (counts === undefined) return;
      const found = scope(() => {
        const { indices } = router;
        const chosen = counted === undefined ? indices.reshape([-1]) : indices.maskedSelect(counted.unsqueeze(1));
        return chosen.bincount(null, counts.length).numbers();
      });
      found.forEach((count, expert) => {
        counts[expert] = (counts[expert] ?? 0) + count;
      });
    });
  }

  get counts(): readonly (readonly number[])[] {
    return this.#counts;
  }

  /** Each layer's counts as shares that sum to 1. */
  shares(): number[][] {
    return this.#counts.map((counts) => {
      const total = counts.reduce((sum, count) => sum + count, 0);
      return counts.map((count) => (total === 0 ? 0 : count / total));
    });
  }

  /** The largest load over the mean load, of the worst layer: 1 is perfect balance. */
  imbalance(): number {
    return Math.max(
      1,
      ...this.#counts.map((counts) => {
        const mean = counts.reduce((sum, count) => sum + count, 0) / counts.length;
        return mean === 0 ? 1 : Math.max(...counts) / mean;
      }),
    );
  }
}

/**
 * Balancing without auxiliary loss (DeepSeek-V3, arXiv 2412.19437 §2.1.2): after a step the bias of an expert that got
 * more than the mean load falls by γ, that of one that got less rises by γ. No gradient. DeepSeek-V2's gate has no bias.
 */
export function updateBalanceBias(
  { moeLayers }: { readonly moeLayers: readonly MoeLayer[] },
  load: ExpertLoad,
  speed: number,
): void {
  if (speed === 0) return;
  noGrad(() => {
    moeLayers.forEach((layer, index) => {
      const counts = load.counts[index] ?? [];
      const mean = counts.reduce((sum, count) => sum + count, 0) / counts.length;
      counts.forEach((count, expert) => {
        const direction = Math.sign(mean - count);
        if (direction !== 0) scope(() => layer.router.bias?.narrow(0, expert, 1).add_(direction * speed));
      });
    });
  });
}

/**
 * The complementary sequence-wise balance loss (same section, eq. 17–20), where "chosen" is the choice actually made
 * (biased, within the groups) and a row's padding counts as tokens: Σ_i f_i P_i per row and layer, with
 * f_i = N_r / (K_r T) Σ_t 1[i among the top k of t] and P_i the mean over t of the normalised scores; the mean over rows,
 * summed over layers. Multiply by α.
 *
 * @param batch rows of the batch; each is one "sequence"
 */
export function sequenceBalanceLoss(routers: readonly RouterOutput[], batch: number): Tensor | null {
  let total: Tensor | null = null;
  for (const { scores, indices } of routers) {
    const [tokens, experts] = scores.shape as [number, number];
    const time = tokens / batch;
    const topK = indices.size(1);
    const chosen = scores.detach().mul(0).scatterValue(1, indices, 1).view([batch, time, experts]);
    const frequency = chosen.sum(1).mul(experts / (topK * time));
    const share = scores.div(scores.sum(-1, true).add(1e-20)).view([batch, time, experts]).mean(1);
    const loss = frequency.mul(share).sum(-1).mean();
    total = total === null ? loss : total.add(loss);
  }
  return total;
}
