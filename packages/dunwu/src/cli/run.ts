import type { Command } from 'commander';
import type { z } from 'zod';
import type { StageKind } from '../pipeline/stage.js';
import { EXIT, UsageError } from './errors.js';
import { collect, type DeviceFlag, deviceOption } from './options.js';

interface RunFlags extends DeviceFlag {
  readonly out?: string;
  readonly resume?: boolean;
  readonly set: readonly string[];
  readonly seed?: number;
}

/** What recipes may consist of. */
export interface RecipeParts {
  readonly kinds: readonly StageKind[];
  readonly taskSchema: z.ZodType;
}

/** @param parts the product's own kinds and task schema by default; loaded only when the command runs */
export function registerRun(program: Command, parts?: () => Promise<RecipeParts>): void {
  deviceOption(program.command('run'))
    .summary('run a recipe: all its stages, into a run folder')
    .description(
      'Runs a recipe (YAML): its stages in order, into a run folder that holds the resolved recipe, metrics, samples,\n' +
        'checkpoints, models and a report. Ctrl-C saves and stops; --resume goes on with the same numbers.',
    )
    .argument('<recipe>', 'recipe file')
    .option('-o, --out <dir>', 'run folder (default: runs/NAME, or the next free runs/NAME.2, …)')
    .option('-r, --resume', 'go on with the run in the folder (default: the newest runs/NAME)')
    .option('-s, --set <key=value>', 'override a key, e.g. stages.pretrain.steps=10 (repeatable)', collect, [])
    .option('--seed <n>', "the run's seed, instead of the recipe's", wholeNumber)
    .addHelpText(
      'after',
      `
Examples:
  dunwu run recipes/r1-zero-mini.yaml
  dunwu run recipes/r1-zero-mini.yaml --seed 2 --out runs/seed-2
  dunwu run recipes/r1-zero-mini.yaml --set stages.pretrain.steps=100 --set compute.threads=2
  dunwu run recipes/r1-zero-mini.yaml --resume --out runs/seed-2 --seed 2`,
    )
    .action((recipe: string, flags: RunFlags) => runCommand(recipe, flags, parts ?? productParts));
}

async function productParts(): Promise<RecipeParts> {
  return await import('../pipeline/kinds.js');
}

async function runCommand(file: string, flags: RunFlags, parts: () => Promise<RecipeParts>): Promise<void> {
  const [{ loadRecipe }, { runRecipe }, { createProgress }, { interruption }, { kinds, taskSchema }] =
    await Promise.all([
      import('../pipeline/recipe.js'),
      import('../pipeline/run.js'),
      import('../util/progress.js'),
      import('./interrupt.js'),
      parts(),
    ]);
  const set = flags.device === undefined ? flags.set : [...flags.set, `compute.device=${flags.device}`];
  const recipe = await loadRecipe(file, { kinds, task: taskSchema, set, seed: flags.seed });
  const resume = flags.resume === true;
  const { curateCommand, defaultFolder, resumeCommand } = await import('./run-command-line.js');
  const out = flags.out ?? (await defaultFolder(recipe.name, resume));
  const ui = createProgress({ out: process.stdout });
  const stop = interruption(() => ui.log('Stopping: saving after this step. Ctrl-C again stops at once.'));
  // A closed pipe or terminal must not end hours of work: the run goes on, its lines are in the run folder.
  process.stdout.on('error', () => {});
  try {
    ui.log(`Run folder: ${out}`);
    const command = resumeCommand({ file, out, set, seed: flags.seed });
    const outcome = await runRecipe({
      recipe,
      out,
      resume,
      kinds,
      ui,
      signal: stop.signal,
      resumeCommand: command,
      curateCommand: curateCommand(out),
    });
    if (outcome.status !== 'done') process.exitCode = EXIT[outcome.status];
  } finally {
    stop.dispose();
  }
}

function wholeNumber(text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(value)) {
    throw new UsageError(`--seed ${text}: a whole number ≥ 0 is needed`);
  }
  return value;
}
