import { z } from 'zod';
import type { Trace } from '../../reward/trace.js';
import type { Sample } from '../../rollout/engine.js';
import type { Problem } from '../../task/problem.js';
import type { Random } from '../../util/random.js';

/** Which of the drawn responses are kept. */
export const keepSchema = z.strictObject({
  /** Rules whose status must be `ok`. */
  require: z.array(z.string()).default([]),
  /** The fewest points (0 to 1, unweighted) of a rule. */
  min_points: z.record(z.string(), z.number().min(0).max(1)).default({}),
  /** The fewest weighted points in all. */
  min_total: z.number().finite().optional(),
  /** A response that repeats another one to the same problem, as it would be written, goes. */
  unique: z.boolean().default(true),
  /** The most responses kept of one problem. */
  per_problem: z.int().positive().default(1),
  /** Which, when more would do: any (seeded), the shortest, or those with the most points. */
  choose: z.enum(['random', 'shortest', 'highest']).default('random'),
  /** The most rows in all: the first ones, in the order of the problems. */
  max: z.int().positive().optional(),
  /** Fewer rows than this are an error: the stages behind would learn from next to nothing. */
  min_rows: z.int().positive().default(1),
});

export type Keep = z.output<typeof keepSchema>;

/** A drawn response as it would be written, with its judgement. */
export interface Judged {
  readonly problem: Problem;
  /** Index among the responses to its problem. */
  readonly sample: number;
  /** As the model gave it. */
  readonly raw: string;
  /** After post-processing: what is judged and written. */
  readonly response: string;
  readonly trace: Trace;
  readonly reason: Sample['reason'];
  /** New tokens that the model gave. */
  readonly length: number;
}

/** `kept`, or why not: `truncated`, `empty`, the rule's name, `min_total`, `duplicate`, `not-chosen`. */
export type Verdict = string;

/**
 * Why the declared rules refuse a response, or null. In this order, and the first one counts: cut off before its end,
 * nothing in it, `require`, `min_points`, `min_total`. A rule that the response's source is not judged by (weight 0)
 * asks nothing of it.
 */
export function refusal({ response, trace, reason }: Judged, keep: Keep): Verdict | null {
  if (reason === 'length') return 'truncated';
  if (response.trim() === '') return 'empty';
  const part = (name: string) => trace.parts.find((candidate) => candidate.name === name);
  for (const name of keep.require) {
    const found = part(name);
    if (found !== undefined && found.status !== 'ok') return name;
  }
  for (const [name, least] of Object.entries(keep.min_points)) {
    const found = part(name);
    if (found !== undefined && found.points < least) return name;
  }
  return keep.min_total !== undefined && trace.total < keep.min_total ? 'min_total' : null;
}

/**
 * The verdicts on all responses to one problem, in their order.
 * @param rng of this problem alone: `choose: random` draws from it
 */
export function verdicts(group: readonly Judged[], keep: Keep, rng: Random): Verdict[] {
  const found: (Verdict | null)[] = group.map((judged) => refusal(judged, keep));
  if (keep.unique) {
    const seen = new Set<string>();
    group.forEach(({ response }, i) => {
      if (found[i] !== null) return;
      if (seen.has(response)) found[i] = 'duplicate';
      seen.add(response);
    });
  }
  const passed = group.flatMap((judged, i) => (found[i] === null ? [{ judged, i }] : []));
  if (keep.choose === 'random') rng.shuffle(passed);
  // Sorting is stable: of equals the first one drawn.
  else if (keep.choose === 'shortest') passed.sort((a, b) => a.judged.response.length - b.judged.response.length);
  else passed.sort((a, b) => b.judged.trace.total - a.judged.trace.total);
  passed.forEach(({ i }, place) => {
    found[i] = place < keep.per_problem ? 'kept' : 'not-chosen';
  });
  return found.map((verdict) => verdict ?? 'kept');
}
