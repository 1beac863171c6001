import type { CausalModel } from '../model/causal-model.js';
import type { Tokenizer } from '../text/tokenizer.js';
import { requireAdapter, requireVocabulary } from './model-folder.js';
import type { AdapterFlag, DeviceFlag, TypeFlag } from './options.js';

/** A model's folder whose tokenizer is read; the weights are not yet, so that what is wrong with a prompt is said first. */
export interface OpenedModel {
  readonly tokenizer: Tokenizer;
  /** Loads the weights onto the device. @throws UsageError when it is not there, or the tokenizer belongs to another model */
  load(): CausalModel;
  /** Ids that end a response: the model's, and the tokenizer's end of text. */
  stopIds(model: CausalModel): number[];
}

/**
 * @param folder one that has a tokenizer.json (requireTokenizer)
 * @param flags `adapter`: the folder of an adapter that the weights get when they are loaded; `device`: where they go;
 *   `dtype`: what is computed in, from `load` on
 * @throws UsageError when there is no adapter for this model
 */
export async function openModel(
  folder: string,
  { adapter, device = 'auto', dtype }: AdapterFlag & DeviceFlag & TypeFlag,
): Promise<OpenedModel> {
  if (adapter !== undefined) requireAdapter(folder, adapter);
  // Not at the top of the file: --help must not load the engine.
  const [{ loadModel }, { loadAdapter }, { absorbAdapters }, { stopIds }, { Tokenizer }, { chooseCompute }] =
    await Promise.all([
      import('../model/checkpoint.js'),
      import('../model/adapter-folder.js'),
      import('../model/lora.js'),
      import('../rollout/stop-ids.js'),
      import('../text/tokenizer.js'),
      import('../train/compute.js'),
    ]);
  const tokenizer = Tokenizer.load(folder);
  return {
    tokenizer,
    load() {
      const choice = chooseCompute({ device, dtype });
      const model = loadModel(folder, choice.device);
      requireVocabulary(folder, tokenizer.vocab_size, model.config.vocab_size);
      if (adapter !== undefined) {
        loadAdapter(model, adapter);
        absorbAdapters(model);
      }
      return model;
    },
    stopIds: (model) => stopIds(model, tokenizer),
  };
}
