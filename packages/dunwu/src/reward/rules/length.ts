import { z } from 'zod';
import type { Rule, RuleResult } from '../trace.js';

export const lengthOptions = z
  .strictObject({
    /** UTF-16 code units: from here on, no points. */
    max: z.number().int().positive(),
    /** Points fall linearly from 1 to 0 over the last `buffer` code units before `max`. */
    buffer: z.number().int().nonnegative().default(0),
  })
  .refine((options) => options.buffer <= options.max, {
    error: 'buffer must not be larger than max',
    path: ['buffer'],
  });
export type LengthOptions = z.input<typeof lengthOptions>;

/**
 * Soft overlong punishment (DAPO, arXiv 2503.14476, equation 13, shifted by one so that points stay in 0..1): 1 up to
 * max − buffer, (max − length) / buffer in between, 0 from max on. The constant 1 is in every response of a group, so no
 * advantage notices it.
 */
export function overlongPoints(length: number, max: number, buffer: number): number {
  return length <= max - buffer ? 1 : length >= max ? 0 : (max - length) / buffer;
}

/**
 * {@link overlongPoints}, counted in characters of the text, because a rule sees text; truncation at the token limit is a
 * matter of the rollout.
 */
export function lengthRule(options: LengthOptions): Rule {
  const { max, buffer } = lengthOptions.parse(options);
  return (_problem, response): RuleResult => {
    const length = response.length;
    const free = max - buffer;
    const points = overlongPoints(length, max, buffer);
    return {
      name: 'length',
      points,
      max: 1,
      status: points === 1 ? 'ok' : 'wrong',
      evidence: points === 1 ? [] : [[Math.min(free, length), length]],
      note: `${length} characters, free up to ${free}`,
    };
  };
}
