import { createHash, randomUUID } from 'node:crypto';
import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { errorCode } from '../../util/errors.js';
import { type Holder, isAlive, thisProcess } from '../lock.js';

/** Who looks at a candidate now. */
export interface Lease {
  readonly id: string;
  readonly who: string;
  /** Milliseconds since 1970; from then on anybody may take it over. */
  readonly until: number;
  /** Tells this lease from any other. */
  readonly token: string;
}

type LeaseFile = Lease & { readonly holder: Holder };

/**
 * Keeps two people from looking at one candidate at the same time: one small file for each, made in one step, that runs
 * out after a while or with the process that made it. A courtesy only: decisions are safe without it.
 */
export class Leases {
  readonly #dir: string;
  readonly #now: () => number;

  constructor(dir: string, now: () => number = Date.now) {
    this.#dir = dir;
    this.#now = now;
    mkdirSync(dir, { recursive: true });
  }

  /** @returns null when somebody else has it */
  take(id: string, who: string, milliseconds: number): Lease | null {
    const file = this.#file(id);
    const lease: Lease = { id, who, until: this.#now() + milliseconds, token: randomUUID() };
    const own = `${file}.${lease.token}`;
    writeFileSync(own, JSON.stringify({ ...lease, holder: thisProcess() } satisfies LeaseFile));
    try {
      for (let attempt = 0; attempt < 3; attempt++) {
        try {
          linkSync(own, file); // with its content, in one step
          return lease;
        } catch (error) {
          if (errorCode(error) !== 'EEXIST') throw error;
        }
        const found = read(file);
        if (found === null) continue; // let go in between
        const held = parse(found);
        if (held !== null && held.until > this.#now() && isAlive(held.holder)) return null;
        takeAway(file, found, lease.token);
      }
      return null;
    } finally {
      rmSync(own, { force: true });
    }
  }

  /** Who has it now, or null. */
  holder(id: string): Lease | null {
    const held = parse(read(this.#file(id)) ?? '');
    return held !== null && held.until > this.#now() && isAlive(held.holder) ? held : null;
  }

  /** Lets go, unless somebody took it over. */
  release(lease: Lease): void {
    const file = this.#file(lease.id);
    if (parse(read(file) ?? '')?.token === lease.token) rmSync(file, { force: true });
  }

  #file(id: string): string {
    return path.join(this.#dir, `${createHash('sha256').update(id).digest('hex').slice(0, 32)}.json`);
  }
}

/** Moves a lease that ran out aside; puts it back when it turns out to be a fresh one that was just made. */
function takeAway(file: string, stale: string, token: string): void {
  const aside = `${file}.stale.${token}`;
  try {
    renameSync(file, aside);
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return;
    throw error;
  }
  try {
    if (read(aside) !== stale) linkSync(aside, file);
  } catch (error) {
    if (errorCode(error) !== 'EEXIST') throw error;
  } finally {
    rmSync(aside, { force: true });
  }
}

function read(file: string): string | null {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return null;
    throw error;
  }
}

function parse(text: string): LeaseFile | null {
  try {
    const value = JSON.parse(text) as Partial<LeaseFile> | null;
    const { id, who, until, token, holder } = value ?? {};
    if (typeof id !== 'string' || typeof who !== 'string' || typeof until !== 'number' || typeof token !== 'string') {
      return null;
    }
    if (typeof holder?.pid !== 'number' || typeof holder.host !== 'string') return null;
    return { id, who, until, token, holder: { ...holder, started: String(holder.started) } };
  } catch {
    return null; // torn by a power cut: nobody's
  }
}
