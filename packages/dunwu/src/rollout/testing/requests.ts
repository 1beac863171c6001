import { rows } from '../../model/testing/tiny.js';
import type { GenerationRequest } from '../continuous-engine.js';

/** Six prompts of 3 to 8 tokens, for models of 24. */
const prompts = rows(6, 9).map((row, i) => row.slice(0, 3 + i));

/** A request with seed and key of its own, which ends at token 2 or after 8 + i tokens. */
export const request = (i: number, more: Partial<GenerationRequest> = {}): GenerationRequest => ({
  tokens: prompts[i % 6] as number[],
  sampling: { temperature: 1, top_p: 1, top_k: 0, max_tokens: 8 + i },
  seed: 5,
  key: `r${i}`,
  stop: [2],
  ...more,
});
