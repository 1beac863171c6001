import { z } from 'zod';
import { distillationSchema } from '../objective/distillation.js';
import { rewardProgramConfig } from '../reward/program.js';
import { samplingSchema } from '../rollout/sampling-config.js';
import { optimizerSchema } from './optimizer-config.js';
import { scheduleSchema } from './schedule.js';
import { checkLength, dialogueTrainingConfig, tuningBalance } from './sft-config.js';

/** Distillation from dialogue rows: at every token of a row the student learns what the teacher expects there. */
export const distillFromRowsConfig = dialogueTrainingConfig
  .extend({ loss: distillationSchema.prefault({}) })
  .superRefine(checkLength);

export type DistillFromRowsConfig = z.output<typeof distillFromRowsConfig>;

/** On-policy distillation (GKD, arXiv 2306.13649): the teacher judges, token by token, what the student itself says. */
export const distillOnPolicyConfig = z
  .strictObject({
    /** Rollouts, each followed by one update. */
    steps: z.int().positive(),
    /** Questions drawn for each. */
    questions_per_step: z.int().positive(),
    /** The student's responses to each. */
    samples: z.int().positive().default(1),
    sampling: samplingSchema,
    /** Rules that the responses are measured by; nothing is learnt from them. */
    rewards: rewardProgramConfig.optional(),
    loss: distillationSchema.prefault({ divergence: { kind: 'reverse' } }),
    optimizer: optimizerSchema,
    schedule: scheduleSchema.prefault({ kind: 'constant' }),
    clip_grad: z.number().positive().default(1),
    balance: tuningBalance,
    /** Tokens computed at one time; bounds memory, changes results by rounding only. */
    micro_batch_tokens: z.int().positive().default(8192),
    save_every: z.int().positive().default(20),
  })
  .superRefine(({ loss }, context) => {
    if (loss.hard_weight > 0) {
      context.addIssue({
        code: 'custom',
        path: ['loss', 'hard_weight'],
        message: 'must be 0: the next-token loss on its own samples teaches the student only what it says already',
      });
    }
  });

export type DistillOnPolicyConfig = z.output<typeof distillOnPolicyConfig>;
