import { randomUUID } from 'node:crypto';
import { closeSync, fdatasyncSync, fstatSync, openSync, readSync, writeSync } from 'node:fs';
import { z } from 'zod';
import { errorCode } from '../../util/errors.js';

const decisionSchema = z.strictObject({
  /** Of this decision, and of no other. */
  uid: z.string().min(1).max(100),
  /** The candidate. */
  id: z.string().min(1),
  decision: z.enum(['accept', 'reject', 'edit', 'undo']),
  /** Of an edit: the text that takes the response's place. */
  text: z.string().max(100_000).optional(),
  reason: z.string().max(10_000).optional(),
  who: z.string().min(1).max(200),
  /** ISO 8601. */
  when: z.string().max(40),
  /** The uid of the newest decision on this candidate that its author had seen; null for none. */
  after: z.string().max(100).nullable(),
});

/** One line of `decisions.jsonl`. */
export type Decision = z.output<typeof decisionSchema>;

/** Where a candidate stands. */
export interface Standing {
  /** What holds: the last decision that counts; null while there is none, or it was taken back. */
  readonly current: Decision | null;
  /** Decisions made without knowledge of each other that say different things. Empty when there is no conflict. */
  readonly conflict: readonly Decision[];
  /** Every decision on it, as they stand in the file. */
  readonly history: readonly Decision[];
}

export const UNDECIDED: Standing = { current: null, conflict: [], history: [] };

/**
 * The next standing. A decision whose author had seen the newest one replaces it and settles any conflict. One whose
 * author had not is a conflict, unless it says the same or nothing stands that it could contradict; a late `undo` takes
 * nothing back, since what it meant is gone already.
 */
export function follow(standing: Standing, next: Decision): Standing {
  const history = [...standing.history, next];
  if (next.after === (standing.history.at(-1)?.uid ?? null)) {
    return { current: next.decision === 'undo' ? null : next, conflict: [], history };
  }
  const { current, conflict } = standing;
  if (next.decision === 'undo') return { current, conflict, history };
  const others = conflict.length > 0 ? conflict : current === null ? [] : [current];
  if (others.every((other) => other.decision === next.decision && other.text === next.text)) {
    return { current: next, conflict, history };
  }
  return { current: next, conflict: [...others, next], history };
}

/** A line that is no decision. */
export interface DamagedLine {
  readonly line: number;
  readonly why: string;
}

/**
 * `decisions.jsonl`: only ever appended to, by any number of processes at once. Each decision is one write at the end of
 * the file (O_APPEND), so none can overwrite another; a line that was torn by a power cut spoils itself alone.
 */
export class DecisionLog {
  readonly path: string;
  readonly #limit: number;
  readonly #fd: number;
  #offset = 0;
  #line = 0;
  #rest = Buffer.alloc(0);
  #standings = new Map<string, Standing>();
  #seen = new Set<string>();
  #damaged: DamagedLine[] = [];
  #newest: Decision[] = [];

  /** @param limit bytes of the file that count; decisions behind are there, and are not read */
  constructor(path: string, limit = Number.POSITIVE_INFINITY) {
    this.path = path;
    this.#limit = limit;
    this.#fd = openSync(path, 'a+');
    this.refresh();
  }

  /** Reads what others have added. A last line without its end is left for the next time: it may be in the writing. */
  refresh(): void {
    const size = Math.min(fstatSync(this.#fd).size, this.#limit);
    if (size < this.#offset) this.#restart(); // the file was put back to an earlier state
    const block = Buffer.alloc(1 << 16);
    while (this.#offset < size) {
      const read = readSync(this.#fd, block, 0, Math.min(block.length, size - this.#offset), this.#offset);
      if (read === 0) break;
      this.#offset += read;
      this.#rest = Buffer.concat([this.#rest, block.subarray(0, read)]);
      let start = 0;
      for (let end = this.#rest.indexOf(0x0a); end >= 0; end = this.#rest.indexOf(0x0a, start)) {
        this.#line++;
        this.#take(this.#rest.toString('utf8', start, end));
        start = end + 1;
      }
      this.#rest = Buffer.from(this.#rest.subarray(start));
    }
  }

  standing(id: string): Standing {
    return this.#standings.get(id) ?? UNDECIDED;
  }

  /** Every decision there is, candidates that are no longer in the queue included. */
  get all(): readonly Decision[] {
    return this.#newest;
  }

  /** Lines that were passed over. */
  get damaged(): readonly DamagedLine[] {
    return this.#damaged;
  }

  /** The bytes that whole lines take: what a `limit` would have to be for these decisions to count and no later ones. */
  get bytes(): number {
    return this.#offset - this.#rest.length;
  }

  /**
   * Appends decisions in one write, on disk when it returns, and reads on.
   * @throws Error when the disk is full or the file cannot be written; what was there before stays
   */
  append(decisions: readonly Omit<Decision, 'uid'>[]): Decision[] {
    const made = decisions.map((decision) => decisionSchema.parse({ uid: randomUUID(), ...decision }));
    if (made.length === 0) return made;
    const lines = made.map((decision) => `${JSON.stringify(decision)}\n`).join('');
    const bytes = Buffer.from(this.#endsTorn() ? `\n${lines}` : lines);
    try {
      const written = writeSync(this.#fd, bytes);
      // The rest may stand behind another process's lines: then its own line is damaged, and told.
      if (written < bytes.length) throw new Error(`only ${written} of ${bytes.length} bytes could be written`);
      fdatasyncSync(this.#fd);
    } catch (error) {
      const full = errorCode(error) === 'ENOSPC' ? ': no space left on the device' : '';
      throw new Error(`${this.path}: the decision could not be saved${full}. Decide again when it can`, {
        cause: error,
      });
    }
    this.refresh();
    return made;
  }

  close(): void {
    closeSync(this.#fd);
  }

  /** Whether the file ends in a line that has no end, which the next one must not be glued to. */
  #endsTorn(): boolean {
    const { size } = fstatSync(this.#fd);
    if (size === 0) return false;
    const last = Buffer.alloc(1);
    readSync(this.#fd, last, 0, 1, size - 1);
    return last[0] !== 0x0a;
  }

  #take(text: string): void {
    if (text.trim() === '') return;
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch {
      this.#damaged.push({ line: this.#line, why: 'is torn: no whole JSON object' });
      return;
    }
    const parsed = decisionSchema.safeParse(value);
    if (!parsed.success) {
      const issue = parsed.error.issues[0];
      this.#damaged.push({ line: this.#line, why: `${issue?.path.join('.') ?? ''}: ${issue?.message ?? ''}` });
      return;
    }
    const fault = decisionFault(parsed.data);
    if (fault !== null) {
      this.#damaged.push({ line: this.#line, why: fault });
      return;
    }
    if (this.#seen.has(parsed.data.uid)) return; // files of two machines put together may hold a line twice
    this.#seen.add(parsed.data.uid);
    this.#newest.push(parsed.data);
    this.#standings.set(parsed.data.id, follow(this.standing(parsed.data.id), parsed.data));
  }

  #restart(): void {
    this.#offset = 0;
    this.#line = 0;
    this.#rest = Buffer.alloc(0);
    this.#standings = new Map();
    this.#seen = new Set();
    this.#damaged = [];
    this.#newest = [];
  }
}

/** What is wrong with a decision that has the right keys, or null. */
export function decisionFault({
  decision,
  text,
  reason,
}: Pick<Decision, 'decision' | 'text' | 'reason'>): string | null {
  const blank = (value: string | undefined) => value === undefined || value.trim() === '';
  if (decision === 'edit' && blank(text)) return 'an edit needs the new text';
  if (decision !== 'edit' && text !== undefined) return `${decision} takes no text`;
  if ((decision === 'edit' || decision === 'reject') && blank(reason)) return `${decision} needs a reason`;
  return null;
}
