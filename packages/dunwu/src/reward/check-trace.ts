import { z } from 'zod';
import type { Trace } from './trace.js';

const finite = z.number().finite();
const span = z.tuple([z.int().min(0), z.int().min(0)]);
const steps = z.array(z.looseObject({ span, points: finite, rule: z.string() })).max(100_000);

/** A trace as it is read back from a file, which anybody may have written. */
export const traceSchema = z.looseObject({
  total: finite,
  parts: z
    .array(
      z.looseObject({
        name: z.string(),
        points: finite,
        max: finite,
        status: z.enum(['ok', 'wrong', 'unparsable', 'timeout', 'bad-gold', 'error']),
        evidence: z.array(span).max(100_000),
        note: z.string().optional(),
        weight: finite,
      }),
    )
    .max(1000),
  steps: steps.optional(),
});

export interface TraceCheck {
  /** Σ weight · points in the order of the parts, as RewardProgram.score adds them. */
  readonly sum: number;
  /** Whether that is the stored total, to the last bit. */
  readonly exact: boolean;
}

/** Adds a trace up again. Floating-point sums depend on their order: it is that of the program. */
export function checkTrace(trace: Trace): TraceCheck {
  let sum = 0;
  for (const { weight, points } of trace.parts) sum += weight * points;
  return { sum, exact: sum === trace.total };
}

/**
 * What keeps a trace from being one of this response: a range that is none or lies outside of it, steps of a rule that has no
 * part. Null when nothing does.
 */
export function traceFault(trace: Trace, response: string): string | null {
  const outside = ([start, end]: readonly [number, number]): boolean => start > end || end > response.length;
  for (const { name, evidence } of trace.parts) {
    const bad = evidence.find(outside);
    if (bad) return `the rule ${name} shows [${bad.join(', ')}], the response has ${response.length} characters`;
  }
  for (const { span: place, rule } of trace.steps ?? []) {
    if (outside(place)) return `a step is at [${place.join(', ')}], the response has ${response.length} characters`;
    if (!trace.parts.some(({ name }) => name === rule)) return `a step is of the rule ${rule}, which has no part`;
  }
  return null;
}
