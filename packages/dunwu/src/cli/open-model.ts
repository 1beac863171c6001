import type { CausalModel } from '../model/causal-model.js';
import type { Decodable } from '../model/decodable.js';
import type { Tokenizer } from '../text/tokenizer.js';
import { requireAdapter, requireVocabulary } from './model-folder.js';
import type { AdapterFlag, DeviceFlag, TypeFlag } from './options.js';

/** A model's folder whose tokenizer is read; the weights are not yet, so that what is wrong with a prompt is said first. */
export interface OpenedModel {
  readonly tokenizer: Tokenizer;
  /**
   * Loads the weights onto the device, to generate with and for nothing else.
   * @throws UsageError when the device is not there, or the tokenizer belongs to another model
   */
  load(): Decodable;
  /** The same, for what needs more of the model than that. */
  loadWhole(): CausalModel;
  /** Ids that end a response: the model's, and the tokenizer's end of text. */
  stopIds(model: Pick<CausalModel, 'config' | 'generation'>): number[];
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
  const [{ loadForDecoding, loadMerged }, { stopIds }, { Tokenizer }, { chooseCompute }] = await Promise.all([
    import('../model/decoding-model.js'),
    import('../rollout/stop-ids.js'),
    import('../text/tokenizer.js'),
    import('../train/compute.js'),
  ]);
  const tokenizer = Tokenizer.load(folder);
  const loading =
    <T extends Decodable>(load: (folder: string, device: string, adapter?: string) => T) =>
    (): T => {
      const choice = chooseCompute({ device, dtype });
      const model = load(folder, choice.device, adapter);
      requireVocabulary(folder, tokenizer.vocab_size, model.config.vocab_size);
      return model;
    };
  return {
    tokenizer,
    load: loading(loadForDecoding),
    loadWhole: loading(loadMerged),
    stopIds: (model) => stopIds(model, tokenizer),
  };
}
