import { z } from 'zod';
import { extractAnswer, parseGold } from '../answer.js';
import { sameNumber } from '../number.js';
import type { Rule, RuleResult } from '../trace.js';

export const accuracyOptions = z.strictObject({
  /** Only the answer tag counts. In training this keeps every other place free for thinking. */
  require_tags: z.boolean().default(true),
  /** What counts when nothing marks the answer; not used with require_tags. */
  fallback: z.enum(['last-number', 'none']).default('last-number'),
});
export type AccuracyOptions = z.input<typeof accuracyOptions>;

/**
 * 1 point when the response's final answer (answer.ts has the order of precedence) equals the gold answer as an exact
 * rational (number.ts: sameNumber). Evidence: the span of the answer that was read.
 * `bad-gold`: the gold answer is missing or no number. `unparsable`: no answer found. `wrong`: another number, or several.
 */
export function accuracyRule(options: AccuracyOptions = {}): Rule {
  const { require_tags: requireTags, fallback } = accuracyOptions.parse(options);
  return (problem, response): RuleResult => {
    const base = { name: 'accuracy', max: 1, points: 0 } as const;
    const gold = problem.answer === undefined ? null : parseGold(problem.answer);
    if (!gold) {
      const shown = problem.answer === undefined ? 'missing' : `no number: "${problem.answer.slice(-60)}"`;
      return { ...base, status: 'bad-gold', evidence: [], note: `the gold answer is ${shown}` };
    }
    const answer = extractAnswer(response, { requireTags, fallback });
    if (answer.kind === 'none') return { ...base, status: 'unparsable', evidence: answer.spans, note: answer.note };
    if (answer.kind === 'several') return { ...base, status: 'wrong', evidence: answer.spans, note: answer.note };
    const right = sameNumber(gold, answer.number);
    const shown = response.slice(answer.span[0], answer.span[1]).slice(0, 60);
    return {
      ...base,
      points: right ? 1 : 0,
      status: right ? 'ok' : 'wrong',
      evidence: [answer.span],
      note: `${answer.form}: ${shown} ${right ? '=' : '≠'} ${gold.value.toFraction()}${gold.percent ? '%' : ''}`,
    };
  };
}
