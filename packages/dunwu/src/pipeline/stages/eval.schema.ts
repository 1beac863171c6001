import { z } from 'zod';
import { generalSchema } from '../../task/general.js';
import { stageName, stageTask } from './common.schema.js';

export const schema = z.strictObject({
  /** The stage whose model is measured. */
  model: stageName,
  /** Problems of another task than the recipe's. */
  task: stageTask,
  /** `validation` for choices, `test` for reports. */
  split: z.enum(['validation', 'test']).default('test'),
  /** Problems. */
  n: z.number().int().positive().default(300),
  /** Samples a problem at temperature 1, for pass@k and language mixing; 0 leaves them out. */
  samples: z.number().int().nonnegative().default(8),
  max_tokens: z.number().int().positive().default(128),
  /** Texts that end a response, as `sampling.stop` of the stages that train. */
  stop: z.array(z.string().min(1)).optional(),
  /** Instruction-following and refusal besides: problems of the general task, of the same split. */
  general: z
    .strictObject({
      n: z.number().int().positive().default(96),
      samples: z.number().int().nonnegative().default(4),
      task: generalSchema.prefault({ type: 'general' }),
    })
    .optional(),
  /** Rows of the greedy and of the sampled responses kept in samples/. */
  keep: z.number().int().nonnegative().default(1000),
});

export type EvalStage = z.output<typeof schema>;

export const references = (config: EvalStage): string[] => [config.model];
