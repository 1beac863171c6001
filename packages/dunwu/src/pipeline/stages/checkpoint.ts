import path from 'node:path';
import { loadModel } from '../../model/checkpoint.js';
import { Tokenizer } from '../../text/tokenizer.js';
import type { StageContext, StageResult } from '../stage.js';
import type { CheckpointStage } from './checkpoint.schema.js';
import { parameterCount } from './new-model.js';

/**
 * A model that is there already: another run's, or one from elsewhere. It is read once, so that a folder that cannot be
 * used is refused now and not stages later, and stays where it is.
 */
export async function run(ctx: StageContext, config: CheckpointStage): Promise<StageResult> {
  const folder = path.resolve(ctx.recipe.base, config.path);
  const tokenizer = Tokenizer.load(folder);
  const model = loadModel(folder);
  const parameters = parameterCount(model);
  const rows = model.config.vocab_size;
  model.dispose();
  if (rows < tokenizer.vocab_size) {
    throw new Error(`${folder}: tokenizer.json has ${tokenizer.vocab_size} tokens, the model's vocab_size is ${rows}`);
  }
  return {
    model: folder,
    tokenizer: folder,
    tokens: 0,
    flops: 0,
    notes: [{ en: `${folder}, ${parameters} parameters`, zh: `${folder}，${parameters} 个参数` }],
  };
}
