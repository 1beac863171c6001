import path from 'node:path';
import { readsGold } from '../../reward/rules/index.js';
import type { Trace } from '../../reward/trace.js';
import { readJsonl } from '../../util/jsonl.js';
import type { Provided, StageContext } from '../stage.js';

/**
 * Counts the responses that a finished stage judged, from its `samples/` file: right after a kill and a resume too.
 * @param options `answers`: whether what the rules say counts, and so the gold answers (or tests) that they looked at
 */
export function judgedResponses(ctx: StageContext, options: { readonly answers: boolean }): Provided {
  let scored = 0;
  const problems = new Set<unknown>();
  for (const { value } of readJsonl(path.join(ctx.dir, 'samples', `${ctx.name}.jsonl`))) {
    scored++;
    const { id, trace } = (value ?? {}) as { readonly id?: string; readonly trace?: Trace };
    if (trace?.parts.some(({ name, status }) => readsGold(name) && status !== 'bad-gold')) problems.add(id);
  }
  return options.answers && problems.size > 0 ? { answers: problems.size, scored } : { scored };
}
