import { z } from 'zod';

/** Share of the old in a running mean. */
const rate = z.number().min(0).lt(1);

/** Which optimiser, and its constants; learning rates are peaks, see schedule.ts. */
export const optimizerSchema = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('adamw'),
    learning_rate: z.number().positive(),
    betas: z.tuple([rate, rate]).default([0.9, 0.95]),
    eps: z.number().positive().default(1e-8),
    weight_decay: z.number().nonnegative().default(0.1),
  }),
  /** Muon on the matrices of the blocks, AdamW on embeddings, head, norms and routers. */
  z.strictObject({
    kind: z.literal('muon'),
    learning_rate: z.number().positive(),
    momentum: rate.default(0.95),
    adamw_learning_rate: z.number().positive(),
    betas: z.tuple([rate, rate]).default([0.9, 0.95]),
    eps: z.number().positive().default(1e-8),
    weight_decay: z.number().nonnegative().default(0.1),
  }),
]);

export type OptimizerConfig = z.output<typeof optimizerSchema>;
