import type { z } from 'zod';
import { type deepseekV3Shape, parseConfig } from '../../model/config.js';
import { DeepseekModel } from '../../model/deepseek.js';
import type { Tokenizer } from '../../text/tokenizer.js';
import type { StageContext } from '../stage.js';

/**
 * A model with fresh weights for a tokenizer; seed the default generator first. Its size is logged.
 * @param key of the recipe that has the shape, for errors
 */
export function newModel(
  ctx: StageContext,
  shape: z.output<typeof deepseekV3Shape>,
  tokenizer: Tokenizer,
  key: string,
): DeepseekModel {
  const model = new DeepseekModel(
    parseConfig(
      {
        ...shape,
        vocab_size: tokenizer.vocab_size,
        bos_token_id: tokenizer.special_id('bos'),
        eos_token_id: tokenizer.special_id('eos'),
        pad_token_id: tokenizer.special_id('pad'),
      },
      `stage '${ctx.name}', key ${key}`,
    ),
  );
  const size = (parameterCount(model) / 1e6).toFixed(2);
  ctx.log(`${ctx.name}: a model of ${size} M parameters, vocabulary ${tokenizer.vocab_size}`);
  return model;
}

export function parameterCount(model: DeepseekModel): number {
  return model.parameters().reduce((sum, { tensor }) => sum + tensor.numel, 0);
}
