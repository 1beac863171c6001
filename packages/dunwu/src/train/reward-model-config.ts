import { z } from 'zod';
import { optimizerSchema } from './optimizer-config.js';
import { scheduleSchema } from './schedule.js';

/** Learning a reward model from preference pairs or safety labels. */
export const rewardModelConfig = z
  .strictObject({
    /** `preference`: pairs, learnt by Bradley–Terry; `safety`: labelled responses, one by one. */
    rows: z.enum(['preference', 'safety']),
    /** What of a response is judged. R1: helpfulness the final part, harmlessness the whole. */
    reads: z.enum(['final', 'whole']),
    /** Times the rows are gone through, in another order each time. More than a few overfit. */
    epochs: z.int().positive().default(1),
    /** Pairs, or responses, in a step. */
    batch: z.int().positive(),
    /** Share of the rows kept out of training and measured on; all rows of a prompt go together. 0 measures nothing. */
    held_out: z.number().min(0).max(0.5).default(0.1),
    /** Share of the labels taken to be wrong. Of preference rows only. */
    label_smoothing: z.number().min(0).lt(0.5).optional(),
    optimizer: optimizerSchema,
    schedule: scheduleSchema.prefault({ kind: 'cosine' }),
    /** Largest gradient norm. */
    clip_grad: z.number().positive().default(1),
    /** Positions computed at one time; bounds memory, changes results by rounding only. */
    micro_batch_tokens: z.int().positive().default(8192),
    /** Steps between measurements on the rows held out; always measured after the last step. */
    evaluate_every: z.int().positive().default(50),
    save_every: z.int().positive().default(100),
  })
  .superRefine(({ rows, label_smoothing }, context) => {
    if (rows === 'safety' && label_smoothing !== undefined) {
      context.addIssue({
        code: 'custom',
        path: ['label_smoothing'],
        message: 'would be ignored: it is of preference rows',
      });
    }
  });

export type RewardModelConfig = z.output<typeof rewardModelConfig>;
