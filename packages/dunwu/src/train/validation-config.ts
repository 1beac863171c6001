import { z } from 'zod';

/** Greedy accuracy on n problems of the validation split every so many rollouts; also of `samples` sampled ones. */
export const validationSchema = z.strictObject({
  every: z.number().int().positive(),
  n: z.number().int().positive(),
  /** Samples a problem at temperature 1; 0 leaves them out. */
  samples: z.number().int().nonnegative().default(0),
});

export type ValidationConfig = z.output<typeof validationSchema>;
