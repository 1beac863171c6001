import { closeSync, linkSync, openSync, readFileSync, renameSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { errorCode, UsageError } from '../util/errors.js';

/** A process on a machine. */
export interface Holder {
  readonly pid: number;
  readonly host: string;
  /** Tells this process from a later one with the same pid; empty where the system does not say. */
  readonly started: string;
}

export const LOCK_NAME = 'run.lock';

/**
 * A file that says which process works in a folder. A lock left by a killed process is found to be stale (no such
 * process, or another one with its number) and taken over.
 */
export class FolderLock {
  readonly #file: string;
  readonly #text: string;

  private constructor(file: string, text: string) {
    this.#file = file;
    this.#text = text;
  }

  /** @throws UsageError naming the process that holds the folder */
  static acquire(dir: string): FolderLock {
    const file = path.join(dir, LOCK_NAME);
    const lock = new FolderLock(file, `${JSON.stringify(thisProcess())}\n`);
    for (let attempt = 0; attempt < 5; attempt++) {
      if (lock.#create()) return lock;
      const found = read(file);
      if (found === undefined) continue; // gone in between
      const holder = parse(found);
      if (holder !== undefined && isAlive(holder)) throw busy(dir, file, holder);
      lock.#takeAway(found);
    }
    throw new UsageError(`another process is starting in ${dir} at this moment; try again`);
  }

  /** Lets go, unless the lock has become someone else's. */
  release(): void {
    if (read(this.#file) === this.#text) rmSync(this.#file, { force: true });
  }

  /** Creates the lock with its content in one step (a hard link), so that no one reads a half-written one. */
  #create(): boolean {
    const own = `${this.#file}.${process.pid}`;
    writeFileSync(own, this.#text);
    try {
      linkSync(own, this.#file);
      return true;
    } catch (error) {
      const code = errorCode(error);
      if (code === 'EEXIST') return false;
      if (code !== 'EPERM' && code !== 'ENOTSUP' && code !== 'ENOSYS' && code !== 'EMLINK') throw error;
      return this.#createWithoutLinks();
    } finally {
      rmSync(own, { force: true });
    }
  }

  #createWithoutLinks(): boolean {
    try {
      const fd = openSync(this.#file, 'wx');
      writeSync(fd, this.#text);
      closeSync(fd);
      return true;
    } catch (error) {
      if (errorCode(error) === 'EEXIST') return false;
      throw error;
    }
  }

  /** Moves a stale lock aside; puts it back when it turns out to be a fresh one that another process just made. */
  #takeAway(stale: string): void {
    const aside = `${this.#file}.stale.${process.pid}`;
    try {
      renameSync(this.#file, aside);
    } catch (error) {
      if (errorCode(error) === 'ENOENT') return;
      throw error;
    }
    try {
      if (read(aside) !== stale) linkSync(aside, this.#file);
    } finally {
      rmSync(aside, { force: true });
    }
  }
}

function busy(dir: string, file: string, holder: Holder): UsageError {
  const elsewhere = holder.host === os.hostname() ? '' : ` on ${holder.host}`;
  const hint = elsewhere === '' ? 'Wait for it, stop it, or choose another --out' : `If it is gone, remove ${file}`;
  return new UsageError(`process ${holder.pid}${elsewhere} is working in ${dir}. ${hint}`);
}

function read(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

function parse(text: string): Holder | undefined {
  try {
    const value = JSON.parse(text) as Partial<Holder> | null;
    if (typeof value?.pid !== 'number' || typeof value.host !== 'string') return undefined;
    return { pid: value.pid, host: value.host, started: String(value.started ?? '') };
  } catch {
    return undefined; // torn by a power cut: nobody's
  }
}

export function thisProcess(): Holder {
  return { pid: process.pid, host: os.hostname(), started: startOf(process.pid) };
}

/** Whether a process is still there; true for those of other machines, which cannot be asked. */
export function isAlive(holder: Holder): boolean {
  if (holder.host !== os.hostname()) return true;
  try {
    process.kill(holder.pid, 0);
  } catch (error) {
    if (errorCode(error) === 'ESRCH') return false;
  }
  const started = startOf(holder.pid);
  return holder.started === '' || started === '' || started === holder.started;
}

/** Boot and start time of a process on Linux; elsewhere empty. */
function startOf(pid: number): string {
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /s, '')
      .split(' ');
    return `${boot}/${fields[19] ?? ''}`; // field 22 of proc(5), counted after "pid (name) "
  } catch {
    return '';
  }
}
