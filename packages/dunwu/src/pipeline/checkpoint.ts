import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, readFile, rename, rm, stat, statfs, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { errorCode, errorText } from '../util/errors.js';
import { listFiles, namesIn, syncFolder, syncTree } from '../util/fs.js';
import { formatCount } from '../util/progress.js';

/** A checkpoint whose files have been found whole. */
export interface Checkpoint {
  readonly step: number;
  readonly dir: string;
  /** Wall-clock seconds that the stage had taken when it was saved. */
  readonly seconds: number;
}

export interface CheckpointSettings {
  /** Checkpoints to keep; at least 2, so that one may turn out damaged. */
  readonly keep?: number;
  readonly log: (line: string) => void;
  /** Called with the step before a checkpoint becomes valid: what it relies on must be durable first. */
  readonly beforeCommit?: (step: number) => void;
  /** Seconds spent in the stage so far. */
  readonly elapsed?: () => number;
}

interface Manifest {
  readonly format: 1;
  readonly step: number;
  readonly seconds: number;
  readonly files: readonly { readonly path: string; readonly bytes: number; readonly sha256: string }[];
}

const MANIFEST = 'manifest.json';

/**
 * The checkpoints of one stage: `step-000123` folders in `dir`. A folder of that name is complete: it is written under
 * another name, made durable, listed with sizes and hashes in its manifest, and only then renamed.
 */
export class CheckpointStore {
  readonly dir: string;
  readonly #settings: CheckpointSettings;
  readonly #keep: number;
  /** Steps whose folder this process wrote or verified. */
  readonly #good = new Set<number>();

  constructor(dir: string, settings: CheckpointSettings) {
    this.dir = dir;
    this.#settings = settings;
    this.#keep = Math.max(2, settings.keep ?? 2);
  }

  /**
   * Saves the state after `step`. Does nothing when this step is saved already: a stage may save at its interval and
   * again because it is told to stop.
   * @param write fills an empty folder; it need not sync anything
   * @returns the checkpoint's folder
   * @throws Error naming the folder, the reason and the last good checkpoint, which stays valid
   */
  async save(step: number, write: (dir: string) => Promise<void>): Promise<string> {
    if (!Number.isSafeInteger(step) || step < 0)
      throw new Error(`a checkpoint's step is a whole number ≥ 0, got ${step}`);
    const target = path.join(this.dir, folderName(step));
    if (this.#good.has(step)) return target;
    const temporary = path.join(this.dir, `.tmp-${folderName(step)}-${process.pid}`);
    try {
      await this.#removeTemporary();
      await mkdir(temporary, { recursive: true });
      await write(temporary);
      const manifest: Manifest = {
        format: 1,
        step,
        seconds: this.#settings.elapsed?.() ?? 0,
        files: await describeFiles(temporary),
      };
      await writeFile(path.join(temporary, MANIFEST), `${JSON.stringify(manifest, null, 1)}\n`);
      await syncTree(temporary);
      this.#settings.beforeCommit?.(step);
      await rm(target, { recursive: true, force: true }); // a damaged one that we resumed from before
      await rename(temporary, target);
      await syncFolder(this.dir);
    } catch (error) {
      await rm(temporary, { recursive: true, force: true }).catch(() => {}); // the first error is the one to tell
      throw await this.#explain(target, error);
    }
    this.#good.add(step);
    await this.#prune(step);
    return target;
  }

  /**
   * The newest checkpoint that is whole. Damaged ones are named aloud, with the reason, and passed over.
   * @returns null when there is none
   */
  async latest(): Promise<Checkpoint | null> {
    const steps = await this.#steps();
    let damaged = 0;
    for (const step of steps.reverse()) {
      const dir = path.join(this.dir, folderName(step));
      const found = await verify(dir, step);
      if (typeof found !== 'string') {
        if (damaged > 0) this.#settings.log(`Going on from the last good checkpoint: ${dir}`);
        this.#good.add(step);
        return { step, dir, seconds: found.seconds };
      }
      damaged++;
      this.#settings.log(`Checkpoint ${dir} is damaged: ${found}`);
    }
    if (damaged > 0) this.#settings.log(`No good checkpoint is left in ${this.dir}: the stage begins anew`);
    return null;
  }

  /** Steps that have a folder, ascending. */
  async #steps(): Promise<number[]> {
    const names = (await namesIn(this.dir)) ?? [];
    const steps = names.flatMap((name) => {
      const digits = /^step-(\d{6,})$/.exec(name)?.[1];
      return digits === undefined ? [] : [Number(digits)];
    });
    return steps.sort((a, b) => a - b);
  }

  async #prune(current: number): Promise<void> {
    const steps = await this.#steps();
    // Steps beyond the current one are of a past that was given up (we fell back behind them).
    const old = steps.filter((step) => step <= current).slice(0, -this.#keep);
    for (const step of [...old, ...steps.filter((step) => step > current)]) {
      await rm(path.join(this.dir, folderName(step)), { recursive: true, force: true });
      this.#good.delete(step);
    }
  }

  async #removeTemporary(): Promise<void> {
    for (const name of (await namesIn(this.dir)) ?? []) {
      if (name.startsWith('.tmp-')) await rm(path.join(this.dir, name), { recursive: true, force: true });
    }
  }

  async #explain(target: string, error: unknown): Promise<Error> {
    const full = errorCode(error) === 'ENOSPC' || /ENOSPC|no space left/i.test(errorText(error));
    const free = await freeBytes(this.dir);
    const room = free === undefined ? '' : ` (${formatCount(free)}B free)`;
    const why = full ? `no space left on the device${room}` : errorText(error);
    const good = Math.max(-1, ...this.#good);
    const last =
      good < 0 ? 'None was saved before it.' : `The last good one is ${path.join(this.dir, folderName(good))}.`;
    const todo = full ? ' Free some space and go on with --resume.' : '';
    return new Error(`cannot save the checkpoint ${target}: ${why}. ${last}${todo}`, { cause: error });
  }
}

function folderName(step: number): string {
  return `step-${String(step).padStart(6, '0')}`;
}

async function describeFiles(dir: string): Promise<Manifest['files']> {
  const files: { path: string; bytes: number; sha256: string }[] = [];
  for (const file of await listFiles(dir)) {
    if (file === MANIFEST) throw new Error(`${MANIFEST} is the run's own file: a stage must not write it`);
    const full = path.join(dir, file);
    files.push({ path: file, bytes: (await stat(full)).size, sha256: await sha256(full) });
  }
  return files;
}

/** The manifest, or what is wrong with the folder. */
async function verify(dir: string, step: number): Promise<Manifest | string> {
  let manifest: Manifest;
  try {
    manifest = parseManifest(await readFile(path.join(dir, MANIFEST), 'utf8'));
  } catch (error) {
    return errorCode(error) === 'ENOENT'
      ? `${MANIFEST} is missing`
      : `${MANIFEST} cannot be read (${errorText(error)})`;
  }
  if (manifest.step !== step) return `${MANIFEST} is of step ${manifest.step}`;
  for (const file of manifest.files) {
    const full = path.join(dir, file.path);
    try {
      const { size } = await stat(full);
      if (size !== file.bytes) return `${file.path} has ${size} bytes instead of ${file.bytes}`;
      if ((await sha256(full)) !== file.sha256) return `${file.path} has changed (sha256 differs)`;
    } catch (error) {
      return errorCode(error) === 'ENOENT' ? `${file.path} is missing` : `${file.path}: ${errorText(error)}`;
    }
  }
  return manifest;
}

function parseManifest(text: string): Manifest {
  const value: unknown = JSON.parse(text);
  if (typeof value === 'object' && value !== null && 'format' in value && value.format === 1) {
    const manifest = value as Manifest;
    const inside = (file: string) => !path.isAbsolute(file) && !file.split(/[\\/]/).includes('..');
    if (Array.isArray(manifest.files) && manifest.files.every((file) => inside(file.path))) return manifest;
  }
  throw new Error('not a manifest that this version knows');
}

async function sha256(file: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const block of createReadStream(file, { highWaterMark: 1 << 20 })) hash.update(block as Buffer);
  return hash.digest('hex');
}

async function freeBytes(dir: string): Promise<number | undefined> {
  try {
    const { bavail, bsize } = await statfs(dir);
    return bavail * bsize;
  } catch {
    return undefined; // only a detail of a message
  }
}
