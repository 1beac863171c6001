import { z } from 'zod';
import { advantageSchema } from '../objective/advantage.js';
import { policyLossSchema } from '../objective/policy-loss.js';
import { rewardProgramConfig } from '../reward/program.js';
import { samplingSchema } from '../rollout/sampling-config.js';
import { optimizerSchema } from './optimizer-config.js';
import { scheduleSchema } from './schedule.js';

/** Every symbol of the formula by name (DeepSeekMath, arXiv 2402.03300, eq. 3; DeepSeek-R1, arXiv 2501.12948, eq. 1). */
export const grpoConfig = z
  .strictObject({
    /** Rollouts. */
    steps: z.number().int().positive(),
    /** Questions q drawn for each rollout. */
    questions_per_step: z.number().int().positive(),
    /** G: outputs sampled for each question. */
    group_size: z.number().int().min(2),
    /** Updates made from one rollout: its outputs are split in so many parts, group by group. */
    mini_batches: z.number().int().positive().default(1),
    /** Times the whole rollout is gone through. */
    inner_epochs: z.number().int().positive().default(1),
    sampling: samplingSchema,
    /** Rules and their weights, per source. */
    rewards: rewardProgramConfig,
    advantage: advantageSchema.prefault({ scale: 'std' }),
    loss: policyLossSchema,
    /** Rollouts between two refreshes π_ref ← π_θ; 0 keeps the first (R1: 400). */
    reference_every: z.number().int().nonnegative().default(0),
    optimizer: optimizerSchema,
    schedule: scheduleSchema.prefault({ kind: 'constant' }),
    clip_grad: z.number().positive().default(1),
    /** Tokens computed at one time; bounds memory, changes results by rounding only. */
    micro_batch_tokens: z.number().int().positive().default(8192),
    save_every: z.number().int().positive().default(10),
    /** Greedy accuracy on the validation split every so many rollouts; n problems. */
    validation: z.strictObject({ every: z.number().int().positive(), n: z.number().int().positive() }).optional(),
  })
  .superRefine((config, context) => {
    if (config.mini_batches > config.questions_per_step) {
      context.addIssue({
        code: 'custom',
        path: ['mini_batches'],
        message: 'cannot exceed questions_per_step: a group stays together',
      });
    }
    if (config.sampling.temperature === 0) {
      context.addIssue({
        code: 'custom',
        path: ['sampling', 'temperature'],
        message: 'must be above 0: a group of equal outputs teaches nothing',
      });
    }
    if (config.loss.kl.estimator === 'none' && config.reference_every > 0) {
      context.addIssue({
        code: 'custom',
        path: ['reference_every'],
        message: 'would be ignored: loss.kl.estimator is none, so there is no reference',
      });
    }
  });

export type GrpoConfig = z.output<typeof grpoConfig>;
