import { z } from 'zod';
import { packingSchema } from '../../data/packing.js';
import { sourceSchema } from '../../data/source.js';
import { deepseekV3PretrainShape } from '../../model/deepseek-config.js';
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
    /**
     * config.json of the model, without what the tokenizer decides (vocab_size and special ids). With
     * `num_nextn_predict_layers` it has modules of multi-token prediction, which `mtp` trains.
     */
    model: deepseekV3PretrainShape,
  })
  .superRefine((config, context) => {
    checkModelShape(config.model, ['model'], context);
    const { max_position_embeddings: limit, num_nextn_predict_layers: depth = 0 } = config.model;
    if (config.mtp !== undefined && depth === 0) {
      context.addIssue({
        code: 'custom',
        path: ['mtp'],
        message:
          'would train nothing: the model has no module for it; give model.num_nextn_predict_layers, or remove mtp',
      });
    }
    if (config.packing.time < depth + 1) {
      context.addIssue({
        code: 'custom',
        path: ['packing', 'time'],
        message: `must be at least ${depth + 1}: module ${depth} predicts the token ${depth + 1} places further on`,
      });
    }
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
