import { existsSync } from 'node:fs';
import path from 'node:path';
import { readsGold } from '../reward/rules/index.js';
import type { Trace } from '../reward/trace.js';
import { readJsonl } from '../util/jsonl.js';

export interface JudgedSamples {
  /** Responses. */
  readonly scored: number;
  /** The problems whose gold answer (or tests) a rule looked at, by their text: ids are those of their own data set. */
  readonly problems: ReadonlySet<string>;
}

/**
 * Reads what a stage judged from its `samples/` file: right after a kill and a resume too. Nothing when there is no file.
 * @throws Error naming the file and line that cannot be read.
 */
export function judgedSamples(dir: string, stage: string): JudgedSamples {
  let scored = 0;
  const problems = new Set<string>();
  const file = path.join(dir, 'samples', `${stage}.jsonl`);
  if (!existsSync(file)) return { scored, problems };
  for (const { value } of readJsonl(file)) {
    scored++;
    const { prompt, trace } = (value ?? {}) as { readonly prompt?: string; readonly trace?: Trace };
    const read = trace?.parts.some(({ name, status }) => readsGold(name) && status !== 'bad-gold') ?? false;
    if (read && prompt !== undefined) problems.add(prompt);
  }
  return { scored, problems };
}
