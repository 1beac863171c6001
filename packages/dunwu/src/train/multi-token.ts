import { type Device, noGrad, scope, type Tensor, tensor, tokenLogprobs } from '@dunwu/torch';
import type { PackedBatch } from '../data/packing.js';
import type { CausalModel } from '../model/causal-model.js';
import { languageModelLoss } from '../objective/language-model.js';
import type { Metric } from '../objective/metrics.js';
import { countPredictionFlops } from './flops.js';
import { type MultiTokenConfig, multiTokenWeight } from './multi-token-config.js';
import type { AuxiliaryLoss, AuxiliaryTraining, PackedStep } from './packed-training.js';

/** Places of a batch whose accuracy is measured, at most: it takes their logits once more. */
const ACCURACY_PLACES = 256;

/** What module k reads and predicts at every place of a packed batch; flat, [batch · time]. */
export interface Following {
  /** The token k places further on; 0 where there is none in the row. */
  readonly tokens: Int32Array;
  /** The token k + 1 places further on; 0 where there is none in the row. */
  readonly targets: Int32Array;
  /** Loss weight of that target: 0 where it is in another document, in padding, or beyond the row. */
  readonly weights: Float32Array;
  /** Whether the place, what it reads and what it predicts are of one document: 1 or 0. */
  readonly counted: Uint8Array;
}

/** Depth k (from 1) of a packed batch. */
export function followingTokens(batch: PackedBatch, k: number): Following {
  const { time } = batch;
  const size = batch.batch * time;
  const following = {
    tokens: new Int32Array(size),
    targets: new Int32Array(size),
    weights: new Float32Array(size),
    counted: new Uint8Array(size),
  };
  for (let row = 0; row < batch.batch; row++) {
    const wide = row * (time + 1);
    for (let i = 0; i + k <= time; i++) {
      const place = row * time + i;
      following.tokens[place] = batch.tokens[wide + i + k] as number;
      if (i + k === time) continue;
      following.targets[place] = batch.tokens[wide + i + k + 1] as number;
      const segment = batch.segments[wide + i] as number;
      // Documents lie in one piece: what begins and ends in the same one is inside it throughout.
      if (segment < 0 || segment !== batch.segments[wide + i + k + 1]) continue;
      following.counted[place] = 1;
      following.weights[place] = batch.lossMask[row * time + i + k] as number;
    }
  }
  return following;
}

/**
 * The loss of multi-token prediction (DeepSeek-V3, arXiv 2412.19437 §2.2) on one micro-batch:
 *
 *     Lᵏ = − 1/T Σᵢ log Pᵏᵢ[tᵢ]      (eq. 24)
 *     L  = λ/D Σₖ Lᵏ                 (eq. 25)
 *
 * The sum goes over the targets that lie k + 1 places further on in the same document, with the loss weights that they have
 * as next tokens. T is eq. 24's: the number of *next-token* targets in the batch, so that a prediction weighs the same at
 * every depth. Metrics, which are means over a depth's own targets: `loss/mtp_k` in nats, and `mtp_k/accuracy`, how often the
 * likeliest token is the target (on at most 256 places of a micro-batch).
 *
 * @param lambda λ
 * @returns null when no document is long enough to have a target
 */
export function multiTokenObjective(
  model: CausalModel,
  { batch, rows, hidden, targetsInBatch }: PackedStep,
  lambda: number,
): AuxiliaryLoss | null {
  const depths = Array.from({ length: model.predictionDepth }, (_, i) => followingTokens(batch, i + 1));
  if (!depths[0]?.weights.some((weight) => weight !== 0)) return null;
  const { device } = model;
  const shape = [batch.batch, batch.time];
  const following = depths.map(({ tokens }) => tensor(tokens, { shape, device }).to('int64'));
  const predictions = model.predictions(hidden, rows, following);
  const losses: Tensor[] = [];
  const metrics: Record<string, Metric> = {};
  predictions.forEach((prediction, i) => {
    const { targets, weights } = depths[i] as Following;
    const places = nonZero(weights);
    if (places.length === 0) return;
    const at = tensor(places, { device }).to('int64');
    const states = prediction.hidden.indexSelect(0, at);
    const wanted = tensor(targets, { device }).to('int64').indexSelect(0, at);
    const [logprobs] = tokenLogprobs(states, model.headWeight, wanted);
    const depth = languageModelLoss(logprobs, tensor(weights, { device }).indexSelect(0, at), { targetsInBatch });
    losses.push(depth.loss.mul(lambda / predictions.length));
    metrics[`loss/mtp_${i + 1}`] = depth.metrics.loss as Metric;
    metrics[`mtp_${i + 1}/accuracy`] = accuracy(model, states, wanted);
  });
  return {
    loss: losses.reduce((sum, one) => sum.add(one)),
    metrics,
    routers: predictions.flatMap(({ routers }, i) =>
      routers.map((router) => ({ router, counted: countedMask(depths[i] as Following, device) })),
    ),
  };
}

/** Trains the modules of multi-token prediction beside a stage's own objective. */
export function multiTokenTraining(model: CausalModel, config: MultiTokenConfig, steps: number): AuxiliaryTraining {
  const flops = countPredictionFlops(model.config);
  return {
    moeLayers: model.predictionMoeLayers,
    loss: (step, n) => multiTokenObjective(model, step, multiTokenWeight(config, n, steps)),
    flops: (batch) => batch.tokenCount * flops.training(batch.time / 2),
    metrics: (n) => ({ mtp_loss_weight: multiTokenWeight(config, n, steps) }),
  };
}

function nonZero(weights: Float32Array): Int32Array {
  const places: number[] = [];
  weights.forEach((weight, place) => {
    if (weight !== 0) places.push(place);
  });
  return Int32Array.from(places);
}

const countedMask = ({ counted }: Following, device: Device): Tensor => tensor(counted, { device }).ne(0);

/** How often the likeliest token is the target, on places spread evenly over those given. */
function accuracy(model: CausalModel, states: Tensor, targets: Tensor): Metric {
  const all = targets.size(0);
  const count = Math.min(all, ACCURACY_PLACES);
  const sum = scope(() =>
    noGrad(() => {
      const spread = Int32Array.from({ length: count }, (_, i) => Math.floor((i * all) / count));
      const places = tensor(spread, { device: model.device }).to('int64');
      const likeliest = model.logits(states.detach().indexSelect(0, places)).argmax(-1);
      return likeliest.eq(targets.indexSelect(0, places)).to('float32').sum();
    }),
  );
  return { kind: 'mean', sum, count };
}
