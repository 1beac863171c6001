import { cpSync, mkdirSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';
import { makeTinyFolder } from '../../cli/testing/tiny-folder.js';
import type { Progress } from '../../util/progress.js';
import { kinds, taskSchema } from '../kinds.js';
import { parseRecipe } from '../recipe.js';
import { type RunOutcome, runRecipe } from '../run.js';
import { defineKind, type StageKind } from '../stage.js';

/** A stage that leaves a tiny random model at once, for stages that need one. `bias`: how likely its texts end. */
export const tinyKind: StageKind = defineKind<{ seed: number }>({
  kind: 'tiny',
  summary: 'a random model',
  spec: async () => ({ schema: z.strictObject({ seed: z.int().default(1) }) }),
  work: async () => ({
    async run(ctx, { seed }) {
      await makeTinyFolder(ctx.modelDir, seed);
      return { model: ctx.modelDir, tokenizer: ctx.modelDir, tokens: 0, flops: 0 };
    },
  }),
});

export interface StageRunOptions {
  readonly resume?: boolean;
  /** Told every update of the progress; true asks the run to stop. */
  readonly stopWhen?: (done: number) => boolean;
}

/** Runs a recipe (YAML) of the product's kinds and `tiny` in this process, and keeps what it says. */
export async function runStages(
  yaml: string,
  out: string,
  options: StageRunOptions = {},
): Promise<RunOutcome & { readonly lines: string[] }> {
  const all = [tinyKind, ...kinds];
  mkdirSync(out, { recursive: true });
  const recipe = await parseRecipe(yaml, path.join(out, '..', 'recipe.yaml'), {
    kinds: all,
    task: taskSchema.optional(),
  });
  const lines: string[] = [];
  const stop = new AbortController();
  const ui: Progress = {
    start: () => {},
    update: (done) => {
      if (options.stopWhen?.(done) === true) stop.abort();
    },
    log: (line) => lines.push(line),
    end: () => {},
  };
  const outcome = await runRecipe({
    recipe,
    out,
    resume: options.resume ?? false,
    signal: stop.signal,
    kinds: all,
    ui,
    resumeCommand: 'dunwu run again',
  });
  return { ...outcome, lines };
}

/** A second run that begins where another one is: the folder copied. */
export function copyRun(from: string, to: string): string {
  cpSync(from, to, { recursive: true });
  return to;
}
