import { z } from 'zod';
import { optimizerSchema } from './optimizer-config.js';
import { scheduleSchema } from './schedule.js';

/** Direct preference optimisation (arXiv 2305.18290). */
export const dpoConfig = z.strictObject({
  /** β: the smaller, the further the policy may go from the reference for the same margin. */
  beta: z.number().positive().default(0.1),
  /** Share of the labels taken to be wrong (cDPO). */
  label_smoothing: z.number().min(0).lt(0.5).default(0),
  /** Times the rows are gone through, in another order each time. */
  epochs: z.int().positive().default(1),
  /** Pairs in a step. */
  batch: z.int().positive(),
  /** Share of the rows kept out of training and measured on; all rows of a prompt go together. 0 measures nothing. */
  held_out: z.number().min(0).max(0.5).default(0.1),
  optimizer: optimizerSchema,
  schedule: scheduleSchema.prefault({ kind: 'constant' }),
  /** Largest gradient norm. */
  clip_grad: z.number().positive().default(1),
  /** Positions computed at one time; bounds memory, changes results by rounding only. */
  micro_batch_tokens: z.int().positive().default(8192),
  /** Steps between measurements on the rows held out; always measured after the last step. */
  evaluate_every: z.int().positive().default(50),
  save_every: z.int().positive().default(100),
});

export type DpoConfig = z.output<typeof dpoConfig>;
