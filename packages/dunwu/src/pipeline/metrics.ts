import { closeSync, fdatasyncSync, fstatSync, ftruncateSync, openSync, readSync, writeSync } from 'node:fs';
import { errorCode } from '../util/errors.js';

/** NaN and the infinities are written as the texts "NaN", "Infinity" and "-Infinity", which JSON has no numbers for. */
export type MetricValue = number | string | boolean | null | readonly MetricValue[];

/**
 * A file of one JSON object a line, only ever appended to. A line is in the operating system's hands when `append`
 * returns, so a killed process loses nothing; `sync` makes it safe from a power cut too.
 * Opening drops a last line that was torn in the writing.
 */
export class JsonLines {
  readonly path: string;
  readonly #fd: number;
  #open = true;

  constructor(path: string) {
    this.path = path;
    this.#fd = openSync(path, 'a+');
    const size = fstatSync(this.#fd).size;
    const end = this.#endOfLastLine(size);
    if (end < size) ftruncateSync(this.#fd, end);
  }

  /** Appends rows as one write, so that they appear together or, after a kill, as whole lines from the first on. */
  append(...rows: readonly object[]): void {
    if (rows.length === 0) return;
    const bytes = Buffer.from(rows.map((row) => `${JSON.stringify(row, definedNumbers)}\n`).join(''));
    let done = 0;
    try {
      while (done < bytes.length) done += writeSync(this.#fd, bytes, done);
    } catch (error) {
      if (errorCode(error) === 'ENOSPC')
        throw new Error(`no space left on the device to write ${this.path}`, { cause: error });
      throw new Error(`cannot write ${this.path}: ${String(error)}`, { cause: error });
    }
  }

  sync(): void {
    fdatasyncSync(this.#fd);
  }

  /**
   * Cuts the file before the first line that `keep` refuses or that is no JSON object. Right only when everything
   * after such a line is to go too, as it is in a file ordered by time.
   * @returns number of bytes dropped
   */
  truncateWhere(keep: (row: Readonly<Record<string, unknown>>) => boolean): number {
    const size = fstatSync(this.#fd).size;
    let end = 0;
    for (const { text, next } of this.#lines(size)) {
      const row = parseRow(text);
      if (row === undefined || !keep(row)) break;
      end = next;
    }
    if (end < size) ftruncateSync(this.#fd, end);
    return size - end;
  }

  close(): void {
    if (this.#open) closeSync(this.#fd);
    this.#open = false;
  }

  /** Offset after the last newline. Reads from the back: the file may be large. */
  #endOfLastLine(size: number): number {
    const block = Buffer.alloc(1 << 16);
    for (let end = size; end > 0; ) {
      const start = Math.max(0, end - block.length);
      const read = readSync(this.#fd, block, 0, end - start, start);
      const newline = block.subarray(0, read).lastIndexOf(0x0a);
      if (newline >= 0) return start + newline + 1;
      end = start;
    }
    return 0;
  }

  *#lines(size: number): Generator<{ text: string; next: number }> {
    const block = Buffer.alloc(1 << 20);
    let rest = Buffer.alloc(0);
    let offset = 0; // of `rest` in the file
    for (let at = 0; at < size; ) {
      const read = readSync(this.#fd, block, 0, block.length, at);
      if (read === 0) return;
      at += read;
      rest = Buffer.concat([rest, block.subarray(0, read)]);
      let start = 0;
      for (let newline = rest.indexOf(0x0a); newline >= 0; newline = rest.indexOf(0x0a, start)) {
        yield { text: rest.toString('utf8', start, newline), next: offset + newline + 1 };
        start = newline + 1;
      }
      offset += start;
      rest = Buffer.from(rest.subarray(start));
    }
  }
}

function parseRow(text: string): Record<string, unknown> | undefined {
  try {
    const row: unknown = JSON.parse(text);
    return typeof row === 'object' && row !== null ? (row as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

function definedNumbers(_key: string, value: unknown): unknown {
  return typeof value === 'number' && !Number.isFinite(value) ? String(value) : value;
}

/** A metric read back: the texts that stand for NaN and the infinities become numbers again. */
export function metricNumber(value: unknown): number | undefined {
  if (typeof value === 'number') return value;
  return value === 'NaN' || value === 'Infinity' || value === '-Infinity' ? Number(value) : undefined;
}

/**
 * The lines of one stage, kept in order: a step never goes back, and a step whose checkpoint is saved is closed.
 * Resuming relies on both, so breaking them is an error here and not wrong numbers later.
 */
export class StageLines {
  readonly #file: JsonLines;
  readonly #stage: string;
  readonly #withStage: boolean;
  #step: number;
  #closed: number;

  /** @param from the step of the checkpoint that the stage goes on from, −1 when it begins anew */
  constructor(file: JsonLines, stage: string, from: number, withStage: boolean) {
    this.#file = file;
    this.#stage = stage;
    this.#withStage = withStage;
    this.#step = from;
    this.#closed = from;
  }

  append(step: number, rows: readonly Readonly<Record<string, unknown>>[]): void {
    const where = `stage ${this.#stage}, ${this.#file.path}`;
    if (!Number.isSafeInteger(step) || step < 0) throw new Error(`${where}: a step is a whole number ≥ 0, got ${step}`);
    if (step < this.#step) throw new Error(`${where}: step ${step} after step ${this.#step}: steps must not go back`);
    if (step <= this.#closed) {
      throw new Error(`${where}: step ${step} is closed, its checkpoint is saved: write before saving`);
    }
    for (const row of rows) {
      if ('stage' in row || 'step' in row) throw new Error(`${where}: \`stage\` and \`step\` are written by the run`);
    }
    this.#step = step;
    const head = this.#withStage ? { stage: this.#stage, step } : { step };
    this.#file.append(...rows.map((row) => ({ ...head, ...row })));
  }

  /** From now on only steps after this one may be written. */
  closeStep(step: number): void {
    this.#closed = Math.max(this.#closed, step);
  }

  sync(): void {
    this.#file.sync();
  }
}
