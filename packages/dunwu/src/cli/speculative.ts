import type { Decodable } from '../model/decodable.js';
import type { RolloutOptions, RolloutPrompt, Sample } from '../rollout/engine.js';
import type { SpeculativeStats } from '../rollout/speculative.js';
import { UsageError } from './errors.js';
import type { OpenedModel } from './open-model.js';

/** What commands that let a model speak generate with. */
export interface Generator {
  readonly model: Decodable;
  generate(prompts: readonly RolloutPrompt[], options: RolloutOptions): Promise<Sample[]>;
  /** How drafting went so far; null where nothing is drafted. */
  readonly stats: SpeculativeStats | null;
}

/**
 * Loads a model into the engine that --speculative asks for, or the plain one.
 * @param folder of the model, for the error
 * @throws UsageError as `load`, or when the model has nothing to draft with, or is not on the CPU
 */
export async function createGenerator(
  { load, loadWhole }: Pick<OpenedModel, 'load' | 'loadWhole'>,
  folder: string,
  speculative: boolean,
): Promise<Generator> {
  if (!speculative) {
    const { RolloutEngine } = await import('../rollout/engine.js');
    const model = load();
    const engine = new RolloutEngine(model);
    return { model, generate: (prompts, options) => engine.generate(prompts, options), stats: null };
  }
  const model = loadWhole();
  if (model.predictionDepth === 0) {
    throw new UsageError(
      `${folder}: --speculative needs a module of multi-token prediction, and this model has none ` +
        '(num_nextn_predict_layers in config.json, and its layer in the weights); leave --speculative out',
    );
  }
  if (model.device !== 'cpu') {
    throw new UsageError(
      `${folder}: --speculative works on the CPU alone, and the model is on ${model.device}: add --device cpu`,
    );
  }
  const { SpeculativeEngine } = await import('../rollout/speculative.js');
  return new SpeculativeEngine(model);
}

/** A line for people on how drafting went. */
export function speculativeText({ drafted, accepted, steps, tokens }: SpeculativeStats): string {
  if (drafted === 0) return '(speculative: nothing was drafted)';
  const share = ((100 * accepted) / drafted).toFixed(1);
  const rate = (tokens / steps).toFixed(2);
  return `(speculative: ${accepted} of ${drafted} drafts accepted, ${share} %; ${rate} tokens a step)`;
}
