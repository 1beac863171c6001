import { z } from 'zod';
import { packingSchema } from '../../data/packing.js';
import { sourceSchema } from '../../data/source.js';
import { deepseekV3Shape } from '../../model/deepseek-config.js';
import { pretrainConfig } from '../../train/pretrain-config.js';
import { stageName } from './common.schema.js';
import { checkModelShape } from './model-shape.schema.js';

export const schema = pretrainConfig
  .extend({
    /** The stage that made the tokenizer. */
    tokenizer: stageName,
    corpus: sourceSchema,
    /**
     * Loss weight of a dialogue's question. Made-up questions are mostly chance (names, numbers): learning to predict
     * them is noise to a small model. 1 is plain next-token training.
     */
    prompt_loss_weight: z.number().min(0).max(1).default(1),
    packing: packingSchema.omit({ pad: true }),
    /** config.json of the model, without what the tokenizer decides (vocab_size and special ids). */
    model: deepseekV3Shape,
  })
  .superRefine((config, context) => {
    checkModelShape(config.model, ['model'], context);
    const { max_position_embeddings: limit } = config.model;
    if (config.packing.time > limit) {
      context.addIssue({
        code: 'custom',
        path: ['packing', 'time'],
        message: `cannot exceed the model's max_position_embeddings, ${limit}`,
      });
    }
  });

export type PretrainStage = z.output<typeof schema>;

export const references = (config: PretrainStage): string[] => [config.tokenizer];
