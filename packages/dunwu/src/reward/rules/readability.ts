import { z } from 'zod';
import { readabilityParts } from '../readability.js';
import { chainOfThought } from '../tags.js';
import type { Rule, RuleResult, Span } from '../trace.js';

export const readabilityOptions = z.strictObject({
  /** What is read: the whole response without its tags, or its chain of thought alone. */
  reads: z.enum(['whole', 'thought']).default('whole'),
});
export type ReadabilityOptions = z.input<typeof readabilityOptions>;

/**
 * How easy the response is to read (readability.ts): one language, no endless repetition, no paragraph without end, no
 * code dump. Points are the product of the four parts. `ok` when nothing is found, `wrong` otherwise, `unparsable` when
 * there is nothing to read. Evidence: what costs points (at most 64).
 */
export function readabilityRule(options: ReadabilityOptions = {}): Rule {
  const { reads } = readabilityOptions.parse(options);
  return (problem, response): RuleResult => {
    const [from, to] = reads === 'whole' ? [0, response.length] : chainOfThought(response);
    const base = { name: 'readability', max: 1 } as const;
    const parts = readabilityParts(response.slice(from, to), problem.language);
    if (parts === null) return { ...base, points: 0, status: 'unparsable', evidence: [], note: 'nothing to read' };
    const shown = (['language', 'repetition', 'paragraphs', 'prose'] as const)
      .filter((name) => parts[name] < 1)
      .map((name) => `${name} ${Math.round(parts[name] * 1000) / 1000}`);
    return {
      ...base,
      points: parts.total,
      status: parts.total === 1 ? 'ok' : 'wrong',
      evidence: parts.evidence.slice(0, 64).map(([start, end]): Span => [start + from, end + from]),
      note: shown.length === 0 ? 'nothing in the way' : shown.join(', '),
    };
  };
}
