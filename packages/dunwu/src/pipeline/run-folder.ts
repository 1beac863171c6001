import { mkdirSync } from 'node:fs';
import { mkdir, readFile, rm } from 'node:fs/promises';
import path from 'node:path';
import { errorCode, errorText, UsageError } from '../util/errors.js';
import { makeFolder, namesIn, writeFileAtomic } from '../util/fs.js';
import { FolderLock, LOCK_NAME } from './lock.js';
import { JsonLines } from './metrics.js';
import { type Recipe, recipeDifferences, recipeYaml } from './recipe.js';
import type { StageRecord } from './stage.js';

/** First line of a run folder's recipe.yaml: what tells a run from any other folder. */
const MARK = '# The resolved recipe of the run in this folder, written by dunwu (format 1).';

/** What a process killed while it wrote recipe.yaml leaves. */
const TORN_RECIPE = '.recipe.yaml.tmp-';

/** A run's folder, held by this process alone until `close`. */
export class RunFolder {
  readonly dir: string;
  /** Whether the folder held a run already. */
  readonly existed: boolean;
  readonly metrics: JsonLines;
  readonly #lock: FolderLock;
  readonly #samples = new Map<string, JsonLines>();

  private constructor(dir: string, existed: boolean, lock: FolderLock) {
    this.dir = dir;
    this.existed = existed;
    this.#lock = lock;
    mkdirSync(path.join(dir, 'samples'), { recursive: true });
    mkdirSync(path.join(dir, 'stages'), { recursive: true });
    mkdirSync(path.join(dir, 'datasets'), { recursive: true });
    this.metrics = new JsonLines(path.join(dir, 'metrics.jsonl'));
  }

  /**
   * Creates a run's folder, or opens it again to resume. Resuming where there is nothing yet begins anew, so that a
   * run killed in its first moments can be resumed like any other.
   * @throws UsageError when the folder holds something else, holds a run and `resume` is false, is in use by another
   *   process, or when the recipe to resume is not the one in the folder (the keys that differ are named)
   */
  static async open(dir: string, recipe: Recipe, resume: boolean): Promise<RunFolder> {
    const full = path.resolve(dir);
    try {
      makeFolder(full);
    } catch (error) {
      const why = errorCode(error) === 'EEXIST' ? 'it is a file' : errorText(error);
      throw new UsageError(`cannot use ${dir} as a run folder: ${why}`);
    }
    await check(full, dir, resume); // before the lock, so that nothing is written into a folder that is not ours
    const lock = FolderLock.acquire(full);
    try {
      const saved = await check(full, dir, resume); // again: another process may have begun a run in between
      const now = recipeYaml(recipe);
      if (saved === null) {
        for (const name of (await namesIn(full)) ?? []) {
          if (name.startsWith(TORN_RECIPE)) await rm(path.join(full, name), { force: true });
        }
        await writeFileAtomic(path.join(full, 'recipe.yaml'), `${MARK}\n${now}`);
        await keepRules(full, recipe);
      } else {
        const differences = [...recipeDifferences(saved, now), ...(await keepRules(full, recipe))];
        if (differences.length > 0) {
          throw new UsageError(
            `cannot resume ${dir}: the recipe is not the one of this run.\n${differences.map((line) => `  ${line}`).join('\n')}\n` +
              'Resume with the same recipe, --set and --seed, or begin a new run with another --out',
          );
        }
      }
      return new RunFolder(full, saved !== null, lock);
    } catch (error) {
      lock.release();
      throw error;
    }
  }

  /** `samples/<stage>.jsonl`, opened once. */
  samples(stage: string): JsonLines {
    let file = this.#samples.get(stage);
    if (file === undefined) {
      file = new JsonLines(path.join(this.dir, 'samples', `${stage}.jsonl`));
      this.#samples.set(stage, file);
    }
    return file;
  }

  /** What a finished stage left, or null when it is not finished. */
  async record(stage: string): Promise<StageRecord | null> {
    const file = this.#recordFile(stage);
    let text: string;
    try {
      text = await readFile(file, 'utf8');
    } catch (error) {
      if (errorCode(error) === 'ENOENT') return null;
      throw error;
    }
    let record: StageRecord;
    try {
      record = JSON.parse(text) as StageRecord;
    } catch (error) {
      throw new Error(`${file} is damaged (${errorText(error)}). Remove it to run the stage ${stage} again`, {
        cause: error,
      });
    }
    return { ...record, ...mapPaths(record, (file) => path.resolve(this.dir, file)) };
  }

  /** Marks a stage as finished. Paths inside the run folder are stored relative to it: a run folder may be moved. */
  async finish(record: StageRecord): Promise<void> {
    const relative = mapPaths(record, (file) => this.relative(file));
    await writeFileAtomic(this.#recordFile(record.name), `${JSON.stringify({ ...record, ...relative }, null, 1)}\n`);
  }

  /** A path inside the run folder as seen from it; others as they are. */
  relative(file: string): string {
    const relative = path.relative(this.dir, path.resolve(this.dir, file));
    return relative.startsWith('..') || path.isAbsolute(relative) ? file : relative.split(path.sep).join('/');
  }

  /** Removes all that a stage left, its lines in metrics.jsonl excepted. */
  async forget(stage: string): Promise<void> {
    this.#samples.get(stage)?.close();
    this.#samples.delete(stage);
    await rm(this.#recordFile(stage), { force: true }); // first: without it, the rest counts as unfinished
    await rm(path.join(this.dir, 'samples', `${stage}.jsonl`), { force: true });
    await rm(path.join(this.dir, 'checkpoints', stage), { recursive: true, force: true });
    await rm(path.join(this.dir, 'models', stage), { recursive: true, force: true });
    await rm(this.dataset(stage), { force: true });
  }

  /** `datasets/<stage>.jsonl`. */
  dataset(stage: string): string {
    return path.join(this.dir, 'datasets', `${stage}.jsonl`);
  }

  close(): void {
    this.metrics.close();
    for (const file of this.#samples.values()) file.close();
    this.#lock.release();
  }

  #recordFile(stage: string): string {
    return path.join(this.dir, 'stages', `${stage}.json`);
  }
}

/**
 * Copies the recipe's files of rules beside recipe.yaml, which names them: a run's rules are part of its recipe.
 * @returns those that are there and not as they are now: a resumed run's numbers would not be those of one recipe
 */
async function keepRules(full: string, { base, ruleFiles }: Recipe): Promise<string[]> {
  const differences: string[] = [];
  for (const file of ruleFiles) {
    const copy = path.join(full, file);
    const now = await readFile(path.resolve(base, file), 'utf8');
    const kept = await readFile(copy, 'utf8').catch(() => null);
    if (kept !== null && kept !== now) differences.push(`${file}: is not as it was when the run began`);
    if (kept !== null) continue;
    await mkdir(path.dirname(copy), { recursive: true });
    await writeFileAtomic(copy, now);
  }
  return differences;
}

/** The text of the run's recipe, null in a folder that is as good as empty. */
async function check(full: string, shown: string, resume: boolean): Promise<string | null> {
  const names = ((await namesIn(full)) ?? []).filter(
    (name) => !name.startsWith(LOCK_NAME) && !name.startsWith(TORN_RECIPE),
  );
  if (names.length === 0) return null;
  const saved = names.includes('recipe.yaml') ? await readFile(path.join(full, 'recipe.yaml'), 'utf8') : '';
  if (!saved.startsWith(MARK)) {
    throw new UsageError(`${shown} is not empty and holds no run: choose another folder with --out`);
  }
  if (!resume) {
    throw new UsageError(`${shown} holds a run already: go on with --resume, or choose another folder with --out`);
  }
  return saved;
}

function mapPaths(
  result: Pick<StageRecord, 'model' | 'tokenizer' | 'dataset'>,
  change: (file: string) => string,
): Pick<StageRecord, 'model' | 'tokenizer' | 'dataset'> {
  return {
    ...(result.model === undefined ? {} : { model: change(result.model) }),
    ...(result.tokenizer === undefined ? {} : { tokenizer: change(result.tokenizer) }),
    ...(result.dataset === undefined ? {} : { dataset: change(result.dataset) }),
  };
}
