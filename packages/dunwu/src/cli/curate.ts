import type { Command } from 'commander';
import type { CurationQueue } from '../pipeline/curation/queue.js';
import type { RewardProgram } from '../reward/program.js';
import { UsageError } from './errors.js';
import { collect, wholeNumber } from './options.js';
import type { Input } from './terminal-input.js';

export interface CurateFlags {
  readonly stage?: string;
  readonly who?: string;
  readonly list?: boolean;
  readonly export?: string;
  readonly import: readonly string[];
  readonly lease: number;
}

export interface CurateStreams {
  readonly input: Input;
  readonly output: { write(text: string): unknown };
  readonly env: NodeJS.ProcessEnv;
}

/** `dunwu curate RUN`: people decide about the candidates that a run put up. */
export function registerCurate(program: Command): void {
  program
    .command('curate')
    .summary('decide about the responses that a run put up for people')
    .description(
      'Shows one candidate after another, with the points that the rules gave it, and asks: accept, reject, edit, skip,\n' +
        'undo, quit. Each decision is on disk at once. Several people may decide at the same time, each in a terminal of\n' +
        'their own. When enough is decided, go on with the run: dunwu run … --resume.',
    )
    .argument('<run>', 'run folder')
    .option('--stage <name>', 'the stage whose candidates are meant (default: the one that waits)')
    .option('--who <name>', 'who decides (default: your user name)')
    .option('--list', 'print every candidate with what was decided, and by whom')
    .option('--export <file>', 'write what is accepted so far as dialogues (JSONL), - for standard output')
    .option(
      '--import <file>',
      'a file of rules of your own that the recipe imports, to check edits by (repeatable)',
      collect,
      [],
    )
    .option(
      '--lease <minutes>',
      'how long a candidate that you look at is kept from others',
      wholeNumber('--lease', 1),
      10,
    )
    .addHelpText(
      'after',
      `
In a pipe each answer is a line: a key, then a reason, or the lines of an edit up to one that holds "." alone.

Examples:
  dunwu curate runs/r1-mini
  dunwu curate runs/r1-mini --stage cold-start-data --who Ann
  dunwu curate runs/r1-mini --list
  dunwu curate runs/r1-mini --export kept.jsonl`,
    )
    .action((run: string, flags: CurateFlags) =>
      curateCommand(run, flags, { input: process.stdin, output: process.stdout, env: process.env }),
    );
}

/** @throws UsageError when the folder is no run, or the stage has no candidates */
export async function curateCommand(run: string, flags: CurateFlags, streams: CurateStreams): Promise<void> {
  const [{ CurationQueue, RULES }, { curateInTerminal, listCandidates }] = await Promise.all([
    import('../pipeline/curation/queue.js'),
    import('./curate-session.js'),
  ]);
  const stage = await chooseStage(run, flags.stage);
  const queue = CurationQueue.open(run, stage);
  try {
    if (flags.list) streams.output.write(listCandidates(queue));
    const { program, note } = await rulesOf(queue, flags.import);
    if (flags.export !== undefined) await exportRows(queue, program, flags.export, streams);
    if (flags.list || flags.export !== undefined) return;
    if (queue.sealed !== null) {
      throw new UsageError(
        `${run}: the run took the decisions of stage ${stage} at ${queue.sealed} and went on. See them with --list`,
      );
    }
    const who = flags.who ?? (await userName());
    if (who.trim() === '' || who === RULES) throw new UsageError(`--who ${who}: give the name of a person`);
    await curateInTerminal(queue, {
      ...streams,
      who,
      leaseMilliseconds: flags.lease * 60_000,
      program,
      ...(note === null ? {} : { note }),
    });
  } finally {
    queue.close();
  }
}

async function chooseStage(run: string, given: string | undefined): Promise<string> {
  const [{ existsSync }, path, { curatedStages, curationFolder }] = await Promise.all([
    import('node:fs'),
    import('node:path'),
    import('../pipeline/curation/queue.js'),
  ]);
  if (!existsSync(path.join(run, 'recipe.yaml'))) throw new UsageError(`${run}: is no run folder (no recipe.yaml)`);
  const stages = await curatedStages(run);
  if (stages.length === 0) {
    throw new UsageError(
      `${run}: no stage has put up candidates yet; a stage of kind sample does, when the run gets there`,
    );
  }
  if (given !== undefined) {
    if (stages.includes(given)) return given;
    throw new UsageError(`--stage ${given}: has no candidates; stages that have: ${stages.join(', ')}`);
  }
  const open = stages.filter((stage) => !existsSync(path.join(curationFolder(run, stage), 'sealed.json')));
  const [only] = open.length > 0 ? open : stages;
  if (only !== undefined && (open.length === 1 || stages.length === 1)) return only;
  throw new UsageError(`${run}: several stages have candidates: say which with --stage (${stages.join(', ')})`);
}

/** The rules that the candidates were judged by, as far as they are here; `note` says what is missing. */
async function rulesOf(
  queue: CurationQueue,
  files: readonly string[],
): Promise<{ program: RewardProgram | null; note: string | null }> {
  const [{ RewardProgram, rewardProgramConfig }, { importRules }] = await Promise.all([
    import('../reward/program.js'),
    import('../reward/user-rules.js'),
  ]);
  // Never loaded by what the run folder says: rules are programs, and a run folder may come from anywhere.
  for (const file of files) await importRules(file);
  const parsed = rewardProgramConfig.safeParse(queue.settings.rewards);
  if (parsed.success) return { program: new RewardProgram(parsed.data), note: null };
  const why = parsed.error.issues.map(({ message }) => message).join('; ');
  return {
    program: null,
    note: `Edits cannot be checked by the rules (${why}). Rules of your own: give their file with --import`,
  };
}

async function exportRows(
  queue: CurationQueue,
  program: RewardProgram | null,
  file: string,
  { output }: CurateStreams,
): Promise<void> {
  const [{ acceptedOf, dialogueRow }, { writeFileAtomic }] = await Promise.all([
    import('../pipeline/curation/curate.js'),
    import('../util/fs.js'),
  ]);
  const rows = acceptedOf(queue).map((accepted) => dialogueRow(accepted, program));
  const text = rows.map((row) => `${JSON.stringify(row)}\n`).join('');
  if (file === '-') output.write(text);
  else {
    await writeFileAtomic(file, text);
    output.write(`${rows.length} rows in ${file}\n`);
  }
}

async function userName(): Promise<string> {
  const { userInfo } = await import('node:os');
  try {
    return userInfo().username;
  } catch {
    throw new UsageError('--who is needed: this user has no name');
  }
}
