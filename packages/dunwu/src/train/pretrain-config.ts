import { z } from 'zod';
import { multiTokenSchema } from './multi-token-config.js';
import { optimizerSchema } from './optimizer-config.js';
import { scheduleSchema } from './schedule.js';

/** How to keep experts evenly used (DeepSeek-V3 §2.1.2). */
export const balanceSchema = z.strictObject({
  /** γ: how far an expert's selection bias moves after each step. */
  bias_update_speed: z.number().nonnegative().default(0.001),
  /** α: weight of the sequence-wise balance loss. */
  sequence_loss: z.number().nonnegative().default(0.0001),
});

export const pretrainConfig = z.strictObject({
  steps: z.number().int().positive(),
  /** Forward and backward passes per step, their gradients added up. */
  gradient_accumulation: z.number().int().positive().default(1),
  optimizer: optimizerSchema,
  schedule: scheduleSchema,
  /** Largest gradient norm. */
  clip_grad: z.number().positive().default(1),
  balance: balanceSchema.prefault({}),
  /** How modules of multi-token prediction learn. A model that has some is never trained without: then the defaults hold. */
  mtp: multiTokenSchema.optional(),
  /** Steps between checkpoints. */
  save_every: z.number().int().positive().default(200),
});

export type PretrainConfig = z.output<typeof pretrainConfig>;
