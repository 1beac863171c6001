import type { CausalModel } from '../model/causal-model.js';
import type { LoopHost } from './loop.js';
import { multiTokenTraining } from './multi-token.js';
import { multiTokenSchema } from './multi-token-config.js';
import { type PackedLoader, type TrainingSummary, trainPacked } from './packed-training.js';
import type { PretrainConfig } from './pretrain-config.js';

export { checkGradient } from './gradient.js';

/**
 * Next-token training on packed rows, each document seeing itself only. Modules of multi-token prediction, where the model
 * has some, learn beside it (multi-token.ts). The model is changed in place.
 * @throws Error when `mtp` is given for a model without such modules.
 */
export async function pretrain(
  host: LoopHost,
  model: CausalModel,
  loader: PackedLoader,
  config: PretrainConfig,
): Promise<TrainingSummary> {
  if (config.mtp !== undefined && model.predictionDepth === 0) {
    throw new Error('mtp: the model has no modules of multi-token prediction; give it num_nextn_predict_layers: 1');
  }
  const auxiliary =
    model.predictionDepth === 0
      ? {}
      : { auxiliary: multiTokenTraining(model, config.mtp ?? multiTokenSchema.parse({}), config.steps) };
  return trainPacked(host, model, loader, config, { label: 'pretrain', data: 'corpus', ...auxiliary });
}
