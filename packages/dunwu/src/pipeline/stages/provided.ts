import { judgedSamples } from '../judged-samples.js';
import type { Provided, StageContext } from '../stage.js';

/**
 * Counts the responses that a finished stage judged.
 * @param options `answers`: whether what the rules say counts, and so the gold answers (or tests) that they looked at
 */
export function judgedResponses(ctx: StageContext, options: { readonly answers: boolean }): Provided {
  const { scored, problems } = judgedSamples(ctx.dir, ctx.name);
  return options.answers && problems.size > 0 ? { answers: problems.size, scored } : { scored };
}
