import { existsSync } from 'node:fs';
import path from 'node:path';
import { type Command, Option } from 'commander';
import { UsageError } from '../util/errors.js';
import { writeFileAtomic } from '../util/fs.js';
import { collect } from './options.js';
import type { RecipeParts } from './run.js';

interface CompareFlags {
  readonly metric: string;
  readonly threshold?: number;
  readonly reach?: readonly string[];
  readonly given?: readonly string[];
  readonly json?: boolean;
  readonly markdown?: string;
  readonly svg?: string;
  readonly language: 'en' | 'zh';
}

/** Drawn beside the metric, where stages logged them. */
const ALSO_DRAWN = ['reward', 'length', 'entropy'];

/** `dunwu compare RUN…`: several runs in one table. */
export function registerCompare(program: Command, parts?: () => Promise<RecipeParts>): void {
  program
    .command('compare')
    .summary('several runs (seeds, recipes) in one table, with intervals')
    .description(
      'Compares run folders. Runs of one recipe that differ in the seed alone are taken together: each evaluation stage ' +
        "is shown as the mean over them ± half of Student's 95 % interval (three seeds make a wide one: that is the " +
        'truth about three seeds). Runs of other recipes, or of the same with other values, stand in rows of their own; ' +
        'what differs is named.\n\n' +
        'With --threshold: how many steps, and samples, a stage of reinforcement learning took until a metric first ' +
        'reached it. Runs that never did are counted as such, not left out.',
    )
    .argument('<runs...>', 'run folders')
    .option('--metric <name>', 'metric of --threshold and --svg', 'validation/accuracy')
    .option('--threshold <x>', 'show when the metric first was at least x', threshold)
    .option(
      '--reach <stage>',
      'with --threshold: only this stage (repeatable; default: all grpo and ppo stages)',
      collect,
    )
    .option(
      '--given <stage>',
      'leave the price of this stage, and of all it came from, out of the models made from it (repeatable): a common base, a teacher',
      collect,
    )
    .option('--json', 'print one JSON object')
    .option('--markdown <file>', 'write the tables to a file')
    .option(
      '--svg <file>',
      'draw the metric, reward, length and entropy: mean over the runs, with their range as a band',
    )
    .addOption(new Option('--language <language>', 'of tables and charts').choices(['en', 'zh']).default('en'))
    .addHelpText(
      'after',
      `
Examples:
  for s in 1 2 3; do dunwu run recipes/r1-zero-mini.yaml --seed $s --out runs/seed-$s; done
  dunwu compare runs/seed-1 runs/seed-2 runs/seed-3
  dunwu compare runs/seed-* --threshold 0.8 --markdown seeds.md --svg seeds.svg
  dunwu compare runs/outcome-* runs/steps-* --threshold 0.8 --reach r1-zero
  dunwu compare runs/compare-mini --given base --given r1-c
  dunwu compare runs/ablate-kl --metric reward --threshold 1.5`,
    )
    .action((runs: string[], flags: CompareFlags) =>
      compareCommand(runs, flags, parts ?? (async () => await import('../pipeline/kinds.js'))),
    );
}

async function compareCommand(dirs: string[], flags: CompareFlags, parts: () => Promise<RecipeParts>): Promise<void> {
  const { metric, threshold, reach = [], language } = flags;
  if (threshold === undefined && reach.length > 0) {
    throw new UsageError(`--reach ${reach.join(' ')}: would be ignored; give --threshold too`);
  }
  for (const [name, file] of [
    ['--markdown', flags.markdown],
    ['--svg', flags.svg],
  ] as const) {
    if (file !== undefined && !existsSync(path.dirname(path.resolve(file)))) {
      throw new UsageError(`${name} ${file}: there is no folder ${path.dirname(file)}`);
    }
  }
  const [{ compareRuns, gather, readRun }, { compareChart, compareMarkdown, compareText }, { kinds }] =
    await Promise.all([import('../pipeline/compare.js'), import('../pipeline/compare-report.js'), parts()]);
  const runs = dirs.map(readRun);
  const comparison = await compareRuns(runs, {
    kinds,
    ...(flags.given === undefined ? {} : { given: flags.given }),
    ...(threshold === undefined
      ? {}
      : { reach: { metric, threshold, ...(reach.length === 0 ? {} : { stages: reach }) } }),
  });
  if (flags.svg !== undefined) {
    const metrics = [metric, ...ALSO_DRAWN.filter((name) => name !== metric)];
    const chart = compareChart(gather(runs), metrics, language, reach.length === 0 ? undefined : reach);
    if (chart === null) throw new UsageError(`--svg: no stage of these runs logged \`${metric}\` more than once`);
    const { renderSvg } = await import('../pipeline/plot.js');
    await writeFileAtomic(flags.svg, await renderSvg(chart));
  }
  if (flags.markdown !== undefined) {
    const image =
      flags.svg === undefined
        ? undefined
        : path.relative(path.dirname(path.resolve(flags.markdown)), path.resolve(flags.svg));
    await writeFileAtomic(flags.markdown, compareMarkdown(comparison, language, image));
  }
  process.stdout.write(`${flags.json ? JSON.stringify(comparison) : compareText(comparison, language)}\n`);
}

function threshold(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value)) throw new UsageError(`--threshold ${text}: a number is needed`);
  return value;
}
