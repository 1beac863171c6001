import { z } from 'zod';
import { sourceSchema } from '../../data/source.js';

export const schema = z.strictObject({
  /** What the vocabulary is learnt from. */
  corpus: sourceSchema,
  /** Documents read for it. */
  documents: z.number().int().positive().default(20_000),
  vocab_size: z.number().int().min(300).max(1_000_000),
  /** How numbers are cut: `single` makes every digit a token. */
  digits: z.enum(['single', 'up-to-3', 'free']).default('single'),
  min_frequency: z.number().int().positive().default(2),
});

export type TokenizerStage = z.output<typeof schema>;
