import { mkdir, rm, rmdir } from 'node:fs/promises';
import path from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { errorText } from '../util/errors.js';
import { formatSeconds, type Progress } from '../util/progress.js';
import { hash32 } from '../util/random.js';
import { type Checkpoint, CheckpointStore } from './checkpoint.js';
import { StageLines } from './metrics.js';
import type { Recipe, RecipeStage } from './recipe.js';
import { RunFolder } from './run-folder.js';
import { Interrupted, type StageContext, type StageKind, type StageRecord, WaitingForPeople } from './stage.js';

export interface RunOptions {
  readonly recipe: Recipe;
  /** The run folder. */
  readonly out: string;
  readonly resume: boolean;
  readonly signal: AbortSignal;
  readonly kinds: readonly StageKind[];
  readonly ui: Progress;
  /** The command that goes on with this run, to be printed when it stops early. */
  readonly resumeCommand?: string;
  /** The command that people decide with, to be printed when the run waits for them. */
  readonly curateCommand?: string;
  /** Checkpoints to keep for each stage. */
  readonly keep?: number;
}

export interface RunOutcome {
  /** `waiting`: people have to decide something (`dunwu curate`) before it can be resumed. */
  readonly status: 'done' | 'interrupted' | 'waiting';
  readonly dir: string;
  readonly stages: readonly StageRecord[];
}

/** A stage's work failed. The command line prints the message and exits with code 1. */
export class StageError extends Error {
  override name = 'StageError';
  readonly stage: string;
  constructor(stage: string, cause: unknown) {
    super(`stage ${stage} failed: ${errorText(cause)}`, { cause });
    this.stage = stage;
  }
}

/**
 * Runs a recipe's stages in order in a run folder, leaving out those that are finished, and writes the report.
 * Killed at any moment and resumed, it gives the lines that the unbroken run gives.
 * @throws UsageError when the folder or the recipe does not fit; StageError when a stage fails
 */
export async function runRecipe(options: RunOptions): Promise<RunOutcome> {
  const { recipe, signal, ui } = options;
  const folder = await RunFolder.open(options.out, recipe, options.resume);
  const records: StageRecord[] = [];
  const names = recipe.stages.map((stage) => stage.name);
  try {
    if (options.resume && !folder.existed) ui.log(`Nothing to resume in ${folder.dir}: beginning anew`);
    for (const [index, stage] of recipe.stages.entries()) {
      const finished = await folder.record(stage.name);
      if (finished !== null) {
        ui.log(`${heading(index, recipe)}: done before, in ${formatSeconds(finished.seconds)}`);
        records.push(finished);
        continue;
      }
      if (signal.aborted) return stopped(options, folder, records);
      // A finished stage behind an unfinished one was made from something that is about to change.
      for (const later of names.slice(index + 1)) await folder.forget(later);
      try {
        records.push(await runStage(options, folder, stage, index, records));
      } catch (error) {
        ui.end();
        if (isStop(error, signal)) return stopped(options, folder, records);
        if (error instanceof WaitingForPeople) return waiting(options, folder, records, error);
        if (options.resumeCommand !== undefined)
          ui.log(`When the cause is gone, go on with:\n  ${options.resumeCommand}`);
        throw new StageError(stage.name, error);
      }
    }
    const { writeReport } = await import('./report.js');
    const files = await writeReport(folder.dir, recipe, records);
    ui.log(`Report: ${files.markdown}`);
    return { status: 'done', dir: folder.dir, stages: records };
  } finally {
    ui.end();
    folder.close();
  }
}

/** Whether a stage ended because it was told to: by `Interrupted`, or by the signal's own error. */
function isStop(error: unknown, signal: AbortSignal): boolean {
  if (error instanceof Interrupted) return true;
  return signal.aborted && (error === signal.reason || (error instanceof Error && error.name === 'AbortError'));
}

function heading(index: number, recipe: Recipe): string {
  const stage = recipe.stages[index];
  return `[${index + 1}/${recipe.stages.length}] ${stage?.name ?? ''} (${stage?.kind ?? ''})`;
}

function stopped(options: RunOptions, folder: RunFolder, stages: readonly StageRecord[]): RunOutcome {
  options.ui.end();
  options.ui.log(`Interrupted; the run is saved in ${folder.dir}.`);
  if (options.resumeCommand !== undefined) options.ui.log(`Go on with:\n  ${options.resumeCommand}`);
  return { status: 'interrupted', dir: folder.dir, stages };
}

function waiting(
  options: RunOptions,
  folder: RunFolder,
  stages: readonly StageRecord[],
  { message }: WaitingForPeople,
): RunOutcome {
  options.ui.log(`Waiting for people: ${message} The run is saved in ${folder.dir}.`);
  if (options.curateCommand !== undefined) options.ui.log(`Decide with:\n  ${options.curateCommand}`);
  if (options.resumeCommand !== undefined) options.ui.log(`Then go on with:\n  ${options.resumeCommand}`);
  return { status: 'waiting', dir: folder.dir, stages };
}

async function runStage(
  options: RunOptions,
  folder: RunFolder,
  stage: RecipeStage,
  index: number,
  earlier: readonly StageRecord[],
): Promise<StageRecord> {
  const { recipe, signal, ui } = options;
  const kind = options.kinds.find((candidate) => candidate.kind === stage.kind);
  if (kind === undefined) throw new Error(`there is no kind of stage \`${stage.kind}\``);

  const began = performance.now();
  let before = 0; // seconds of earlier sessions
  const elapsed = () => before + (performance.now() - began) / 1000;

  let lines: StageLines | undefined;
  let samples: StageLines | undefined;
  const checkpoints = new CheckpointStore(path.join(folder.dir, 'checkpoints', stage.name), {
    keep: options.keep,
    log: (line) => ui.log(line),
    elapsed,
    beforeCommit: (step) => {
      // A checkpoint that outlived the lines before it could not be resumed from.
      lines?.sync();
      samples?.sync();
      lines?.closeStep(step);
      samples?.closeStep(step);
    },
  });
  const from = await checkpoints.latest();
  before = from?.seconds ?? 0;
  const step = from?.step ?? -1;
  ui.log(`${heading(index, recipe)}${from === null ? '' : `: going on after step ${from.step}`}`);

  const order = new Map(recipe.stages.map((other, i) => [other.name, i]));
  folder.metrics.truncateWhere((row) => {
    const place = order.get(String(row.stage)) ?? Number.POSITIVE_INFINITY;
    return place < index || (place === index && Number(row.step) <= step);
  });
  const sampleFile = folder.samples(stage.name);
  sampleFile.truncateWhere((row) => Number(row.step) <= step);
  lines = new StageLines(folder.metrics, stage.name, step, true);
  samples = new StageLines(sampleFile, stage.name, step, false);

  const modelDir = path.join(folder.dir, 'models', stage.name);
  await rm(modelDir, { recursive: true, force: true }); // perhaps half written when the run was killed
  await mkdir(modelDir, { recursive: true });
  const datasetFile = folder.dataset(stage.name);
  // A stage that keeps its data between sessions (a queue that waits for people) keeps it elsewhere.
  await rm(datasetFile, { force: true });

  const context: StageContext = {
    name: stage.name,
    seed: stageSeed(recipe.seed, stage.name),
    recipe,
    dir: folder.dir,
    modelDir,
    datasetFile,
    signal,
    interrupted: async () => {
      await setImmediate();
      return signal.aborted;
    },
    progress: ui,
    log: (line) => ui.log(line),
    metrics: (at, values) => lines.append(at, [values]),
    samples: (at, rows) => samples.append(at, rows),
    checkpoints,
    resumeFrom: (): Checkpoint | null => from,
    artefact: (name) => {
      const record = earlier.find((other) => other.name === name);
      if (record !== undefined) return record;
      throw new Error(`there is no finished stage \`${name}\` before ${stage.name}`);
    },
    elapsed,
  };
  const work = await kind.work();
  const result = await work.run(context, stage.config);
  ui.end();
  await rmdir(modelDir).catch(() => {}); // goes only when the stage put no model there
  lines.sync();
  samples.sync();
  const record: StageRecord = { ...result, name: stage.name, kind: stage.kind, seconds: result.seconds ?? elapsed() };
  await folder.finish(record);
  return record;
}

/** 32 bits from the recipe's seed and a stage's name. */
export function stageSeed(seed: number, stage: string): number {
  return hash32(`${seed}/${stage}`);
}
