import { z } from 'zod';

/** How tokens are drawn. Names and meanings as in the OpenAI and vLLM APIs. */
export const samplingSchema = z.strictObject({
  /** Logits are divided by it; 0 takes the most likely token. */
  temperature: z.number().nonnegative().default(1),
  /** Keep the smallest set of tokens whose probabilities reach top_p; 1 keeps all. */
  top_p: z.number().positive().max(1).default(1),
  /** Keep the top_k most likely tokens; 0 keeps all. */
  top_k: z.number().int().nonnegative().default(0),
  /** Most new tokens. */
  max_tokens: z.number().int().positive(),
  /** Texts that end a response, which is cut before the first of them (text/stop-strings.ts). */
  stop: z.array(z.string().min(1)).optional(),
});

export type Sampling = z.output<typeof samplingSchema>;
