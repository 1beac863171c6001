import { z } from 'zod';
import { saysSomething } from '../blank.js';
import { repetition } from '../repetition.js';
import { chainOfThought } from '../tags.js';
import type { Rule, RuleResult, Span } from '../trace.js';

export const repetitionOptions = z.strictObject({
  /** Length of the n-grams, in tokens: words, numbers, signs, Han characters. */
  n: z.number().int().min(1).max(64).default(4),
  /** Repetition up to this share of the n-grams costs nothing. */
  free: z.number().min(0).lt(1).default(0.1),
});
export type RepetitionOptions = z.input<typeof repetitionOptions>;

/**
 * Repetition in the chain of thought: points = 1 while the share of n-grams that occurred before is at most `free`, then
 * falling linearly to 0 where every one did (repetition.ts). `ok` for all points, `wrong` otherwise, `unparsable` when
 * the thought says nothing (blanks, dots). Evidence: the passages written again (at most 64).
 */
export function repetitionRule(options: RepetitionOptions = {}): Rule {
  const { n, free } = repetitionOptions.parse(options);
  return (_problem, response): RuleResult => {
    const [from, to] = chainOfThought(response);
    const thought = response.slice(from, to);
    const found = repetition(thought, n);
    const base = { name: 'repetition', max: 1 } as const;
    if (!saysSomething(thought))
      return { ...base, points: 0, status: 'unparsable', evidence: [], note: 'nothing is thought' };
    const points = Math.min(1, (1 - found.share) / (1 - free));
    return {
      ...base,
      points,
      status: points === 1 ? 'ok' : 'wrong',
      evidence: found.spans.map(([start, end]): Span => [start + from, end + from]),
      note: `${found.repeated} of ${found.grams} ${n}-grams occurred before`,
    };
  };
}
