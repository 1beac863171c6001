import path from 'node:path';
import type { RewardProgramConfig } from '../../reward/program.js';
import { readsGold } from '../../reward/rules/index.js';
import { readJsonl } from '../../util/jsonl.js';
import type { Provided, StageContext } from '../stage.js';

/**
 * Counts the responses that a finished stage judged, from its `samples/` file: right after a kill and a resume too.
 * @param rewards the rules that count: with one that looks at gold answers, those of the problems are counted
 */
export function judgedResponses(ctx: StageContext, rewards?: RewardProgramConfig): Provided {
  let scored = 0;
  const problems = new Set<unknown>();
  for (const { value } of readJsonl(path.join(ctx.dir, 'samples', `${ctx.name}.jsonl`))) {
    scored++;
    const { id, answer } = (value ?? {}) as Record<string, unknown>;
    if (answer !== undefined) problems.add(id);
  }
  const gold = Object.keys(rewards?.rules ?? {}).some(readsGold);
  return gold ? { answers: problems.size, scored } : { scored };
}
