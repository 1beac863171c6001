import type { CausalModel } from '../model/causal-model.js';
import type { LoopHost } from './loop.js';
import { type PackedLoader, type TrainingSummary, trainPacked } from './packed-training.js';
import type { PretrainConfig } from './pretrain-config.js';

export { checkGradient } from './gradient.js';

/** Next-token training on packed rows, each document seeing itself only. The model is changed in place. */
export async function pretrain(
  host: LoopHost,
  model: CausalModel,
  loader: PackedLoader,
  config: PretrainConfig,
): Promise<TrainingSummary> {
  return trainPacked(host, model, loader, config, { label: 'pretrain', data: 'corpus' });
}
