import path from 'node:path';
import { readJsonl } from '../../util/jsonl.js';
import type { Provided, StageContext } from '../stage.js';

/**
 * Counts the responses that a finished stage judged, from its `samples/` file: right after a kill and a resume too.
 * @param options `answers`: whether gold answers were looked at to judge them
 */
export function judgedResponses(ctx: StageContext, options: { readonly answers: boolean }): Provided {
  let scored = 0;
  const problems = new Set<unknown>();
  for (const { value } of readJsonl(path.join(ctx.dir, 'samples', `${ctx.name}.jsonl`))) {
    scored++;
    const { id, answer } = (value ?? {}) as Record<string, unknown>;
    if (answer !== undefined) problems.add(id);
  }
  return options.answers ? { answers: problems.size, scored } : { scored };
}
