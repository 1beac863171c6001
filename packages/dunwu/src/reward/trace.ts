import type { Problem } from '../task/problem.js';

/** Half-open range [start, end) of UTF-16 code units in the response: the text a rule looked at. */
export type Span = readonly [start: number, end: number];

/**
 * `wrong`: understood and not right. `unparsable`: the response holds nothing the rule can read.
 * `timeout`: checking was cut short. `bad-gold`: the problem's own answer cannot be read, so nothing can be said.
 * `error`: the rule itself failed, which only a user's own rule can (user-rules.ts); the note says how.
 */
export type PartStatus = 'ok' | 'wrong' | 'unparsable' | 'timeout' | 'bad-gold' | 'error';

/** What one rule said of one response. `points` is between 0 and `max` (unweighted, max usually 1). */
export interface Part {
  readonly name: string;
  readonly points: number;
  readonly max: number;
  readonly status: PartStatus;
  readonly evidence: readonly Span[];
  /** One line for people: why these points. */
  readonly note?: string;
}

/** One step of the chain of thought and its points: what process supervision uses. */
export interface StepPoints {
  readonly span: Span;
  readonly points: number;
}

/** A step's points, and the rule that gave them: the name of one of the trace's parts. */
export interface TraceStep extends StepPoints {
  readonly rule: string;
}

/** The whole judgement: `total` is the exact sum of the parts' weighted points. */
export interface Trace {
  readonly total: number;
  readonly parts: readonly (Part & { readonly weight: number })[];
  readonly steps?: readonly TraceStep[];
}

export interface RuleResult extends Part {
  readonly steps?: readonly StepPoints[];
}

/** A rule is pure and deterministic, and never throws on any string. */
export type Rule = (problem: Problem, response: string) => RuleResult;

/** The trace with one more part: total' = total + weight · points. */
export function withPart(trace: Trace, part: Trace['parts'][number]): Trace {
  return { ...trace, total: trace.total + part.weight * part.points, parts: [...trace.parts, part] };
}
