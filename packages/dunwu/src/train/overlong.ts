import { z } from 'zod';
import type { ScoredRollout } from './rollouts.js';

export const overlongSchema = z.strictObject({
  /** L_cache: tokens before `sampling.max_tokens` over which the penalty grows. */
  buffer: z.number().int().positive(),
  /** Size of the whole penalty, in points. */
  weight: z.number().positive().default(1),
});
export type OverlongConfig = z.output<typeof overlongSchema>;

/**
 * Soft overlong punishment (DAPO, arXiv 2503.14476, equation 13), plus 1: 1 up to max − buffer tokens, (max − length) /
 * buffer in between, 0 from max on. The constant 1 is in every response of a group, so no advantage notices it.
 */
export function overlongPoints(length: number, max: number, buffer: number): number {
  return Math.min(1, Math.max(0, (max - length) / buffer));
}

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
    return { ...rollout, trace: { ...trace, total: trace.total + weight * points, parts: [...trace.parts, part] } };
  });
}
