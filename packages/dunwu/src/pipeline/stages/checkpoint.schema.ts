import { z } from 'zod';

export const schema = z.strictObject({
  /** A Hugging Face folder with its tokenizer; relative paths start at the recipe's folder. */
  path: z.string().min(1),
});

export type CheckpointStage = z.output<typeof schema>;
