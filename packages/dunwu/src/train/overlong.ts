import { z } from 'zod';
import { overlongPoints } from '../reward/rules/length.js';
import { withPart } from '../reward/trace.js';
import type { ScoredRollout } from './rollouts.js';

export const overlongSchema = z.strictObject({
  /** L_cache: tokens before `sampling.max_tokens` over which the penalty grows. */
  buffer: z.number().int().positive(),
  /** Size of the whole penalty, in points. */
  weight: z.number().positive().default(1),
});
export type OverlongConfig = z.output<typeof overlongSchema>;

/**
 * Adds the part `overlong` to every trace: total' = total + weight · {@link overlongPoints}, in tokens, with the rollout's
 * longest response as L_max. The rule `length` does the same in characters, for texts that are no rollouts.
 */
export function addOverlong(
  rollouts: readonly ScoredRollout[],
  { buffer, weight }: OverlongConfig,
  maxTokens: number,
): ScoredRollout[] {
  return rollouts.map((rollout) => {
    const { trace, response, sample } = rollout;
    const points = overlongPoints(sample.tokens.length, maxTokens, buffer);
    const part = {
      name: 'overlong',
      points,
      max: 1,
      weight,
      status: points === 1 ? ('ok' as const) : ('wrong' as const),
      evidence: points === 1 ? [] : [[0, response.length] as const],
      note: `${sample.tokens.length} tokens, free up to ${maxTokens - buffer}`,
    };
    return { ...rollout, trace: withPart(trace, part) };
  });
}
