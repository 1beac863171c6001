import { type Device, noGrad, onesLike, scope, type Tensor, zeros } from '@dunwu/torch';
import type { MoeLayer, RouterOutput } from '../model/moe.js';

/**
 * How many (token, choice) pairs each expert of each layer got, summed over the micro-batches of a step: the input of the
 * balancing rule and of {@link loadMetrics}. Counted where the routers' choices are; nothing is waited for.
 */
export class ExpertLoad {
  /** int64 [layers, experts]; of the scope that this was made in. */
  readonly counts: Tensor;

  constructor(layers: number, experts: number, device: Device) {
    this.counts = zeros([layers, experts], { dtype: 'int64', device });
  }

  /**
   * @param counted bool or int64 [tokens]: whether or how often each token counts; once without it. Padding is no load, and
   *   a prompt that several responses share is one to each.
   * @param first the layer that the first router belongs to
   */
  add(routers: readonly RouterOutput[], counted?: Tensor, first = 0): void {
    scope(() => {
      routers.forEach(({ indices }, layer) => {
        // A token that does not count adds 0: to leave it out would have the device tell how many there are.
        const one = counted === undefined ? onesLike(indices) : counted.to('int64').unsqueeze(1).expand(indices.shape);
        this.counts.select(0, first + layer).scatterAdd_(0, indices.reshape([-1]), one.reshape([-1]));
      });
    });
  }
}

/**
 * `expert_imbalance`, the largest load over the mean load, of the worst layer: 1 is perfect balance. And each layer's loads as
 * shares that sum to 1, `expert_load/LAYER`.
 * @param counts of an {@link ExpertLoad}, row by row; none in a dense model
 */
export function loadMetrics(counts: readonly number[], experts: number): Record<string, number | readonly number[]> {
  const layers = Array.from({ length: experts === 0 ? 0 : counts.length / experts }, (_, layer) =>
    counts.slice(layer * experts, (layer + 1) * experts),
  );
  const totals = layers.map((layer) => layer.reduce((sum, count) => sum + count, 0));
  const worst = layers.map((layer, i) => {
    const mean = (totals[i] as number) / experts;
    return mean === 0 ? 1 : Math.max(...layer) / mean;
  });
  const shares = layers.map((layer, i) => layer.map((count) => (totals[i] === 0 ? 0 : count / (totals[i] as number))));
  return {
    expert_imbalance: Math.max(1, ...worst),
    ...Object.fromEntries(shares.map((layer, i) => [`expert_load/${i}`, layer])),
  };
}

/**
 * Balancing without auxiliary loss (DeepSeek-V3, arXiv 2412.19437 §2.1.2): after a step the bias of an expert that got
 * more than the mean load falls by γ, that of one that got less rises by γ. No gradient. DeepSeek-V2's gate has no bias.
 */
export function updateBalanceBias(
  { moeLayers }: { readonly moeLayers: readonly MoeLayer[] },
  { counts }: ExpertLoad,
  speed: number,
): void {
  if (speed === 0) return;
  noGrad(() =>
    scope(() => {
      // Above or below the mean, in whole numbers: a rounded mean could differ from a load that is equal to it.
      const steps = counts
        .sum(1, true)
        .sub(counts.mul(counts.size(1)))
        .sign()
        .mul(speed);
      moeLayers.forEach(({ router }, layer) => {
        router.bias?.add_(steps.select(0, layer));
      });
    }),
  );
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
