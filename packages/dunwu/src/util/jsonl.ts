import { closeSync, fstatSync, ftruncateSync, openSync, readSync, writeSync } from 'node:fs';

const CHUNK = 1 << 16;
const NEWLINE = 0x0a;
const CARRIAGE_RETURN = 0x0d;

/** Longest line accepted unless said otherwise, in bytes: a guard against a file that is not made of lines. */
export const MAX_LINE_BYTES = 16 * 1024 * 1024;

/** Where a reader stands: the byte of the next line and the number of the line before it. */
export interface LinePosition {
  readonly offset: number;
  readonly line: number;
}

export interface Line {
  readonly text: string;
  /** From 1. */
  readonly number: number;
}

/**
 * Reads a UTF-8 text file line by line, holding one chunk and one line in memory. A byte order mark, CRLF and a missing
 * last newline are taken as they come; `position` can be stored and given back to go on from there.
 *
 * `next` throws, naming file:line, on a line longer than `maxLineBytes` and on bytes that are not UTF-8.
 * The constructor throws when the file cannot be opened, is a folder, or is shorter than the position.
 */
export class LineReader {
  readonly path: string;
  readonly #fd: number;
  readonly #maxLineBytes: number;
  readonly #decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  #buffer = Buffer.alloc(0);
  #bufferStart: number;
  #line: number;
  #closed = false;

  constructor(path: string, from: LinePosition = { offset: 0, line: 0 }, maxLineBytes = MAX_LINE_BYTES) {
    this.path = path;
    this.#maxLineBytes = maxLineBytes;
    this.#bufferStart = from.offset;
    this.#line = from.line;
    this.#fd = open(path, 'r');
    const stat = fstatSync(this.#fd);
    if (stat.isDirectory()) {
      this.close();
      throw new Error(`${path}: expected a file, this is a folder`);
    }
    if (from.offset > stat.size) {
      this.close();
      throw new Error(`${path}: cannot go on from byte ${from.offset}, the file has ${stat.size}: it was changed`);
    }
  }

  get position(): LinePosition {
    return { offset: this.#bufferStart, line: this.#line };
  }

  next(): Line | undefined {
    if (this.#closed) return undefined;
    let end = this.#buffer.indexOf(NEWLINE);
    while (end < 0) {
      const scanned = this.#buffer.length;
      if (scanned > this.#maxLineBytes) this.#fail(`longer than ${this.#maxLineBytes} bytes; is this a file of lines?`);
      const chunk = Buffer.allocUnsafe(CHUNK);
      const count = readSync(this.#fd, chunk, 0, CHUNK, this.#bufferStart + scanned);
      if (count === 0) break;
      this.#buffer = Buffer.concat([this.#buffer, chunk.subarray(0, count)]);
      end = this.#buffer.indexOf(NEWLINE, scanned);
    }
    if (end < 0 && this.#buffer.length === 0) {
      this.close();
      return undefined;
    }
    const used = end < 0 ? this.#buffer.length : end + 1;
    let bytes = this.#buffer.subarray(0, end < 0 ? used : end);
    if (bytes.length > this.#maxLineBytes) {
      this.#fail(`longer than ${this.#maxLineBytes} bytes; is this a file of lines?`);
    }
    if (bytes.at(-1) === CARRIAGE_RETURN) bytes = bytes.subarray(0, -1);
    if (this.#bufferStart === 0) {
      if ((bytes[0] === 0xff && bytes[1] === 0xfe) || (bytes[0] === 0xfe && bytes[1] === 0xff)) {
        this.#fail('the file is in UTF-16; save it as UTF-8');
      }
      if (bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) bytes = bytes.subarray(3);
    }
    let text = '';
    try {
      text = this.#decoder.decode(bytes);
    } catch {
      this.#fail('not valid UTF-8; save the file as UTF-8');
    }
    this.#buffer = this.#buffer.subarray(used);
    this.#bufferStart += used;
    this.#line += 1;
    return { text, number: this.#line };
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    closeSync(this.#fd);
  }

  #fail(what: string): never {
    this.close();
    throw new Error(`${this.path}:${this.#line + 1}: ${what}`);
  }
}

/** All lines of a file, streamed. */
export function* readLines(path: string, maxLineBytes?: number): Generator<Line> {
  const reader = new LineReader(path, undefined, maxLineBytes);
  try {
    for (let line = reader.next(); line !== undefined; line = reader.next()) yield line;
  } finally {
    reader.close();
  }
}

export interface JsonLine {
  readonly value: unknown;
  /** From 1. */
  readonly number: number;
}

/** The value of one line. Throws `file:line: not valid JSON…`. */
export function parseJsonLine(path: string, line: Line): unknown {
  try {
    return JSON.parse(line.text);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(`${path}:${line.number}: not valid JSON (${reason}); expected one JSON object a line`);
  }
}

/** The values of a JSONL file, streamed; blank lines are skipped. Errors name file:line. */
export function* readJsonl(path: string, maxLineBytes?: number): Generator<JsonLine> {
  for (const line of readLines(path, maxLineBytes)) {
    if (line.text.trim() !== '') yield { value: parseJsonLine(path, line), number: line.number };
  }
}

/**
 * Appends values to a JSONL file, one write a value. A last line that a killed process left half-written (no newline and
 * not valid JSON) is cut off on opening: `repaired` tells. A last line that only lacks its newline is kept.
 */
export class JsonlWriter {
  readonly path: string;
  readonly repaired: boolean;
  readonly #fd: number;
  #closed = false;

  constructor(path: string) {
    this.path = path;
    this.#fd = open(path, 'a+');
    this.repaired = this.#endWithNewline();
  }

  /** Throws on values that JSON has no form for (undefined, functions). */
  append(value: unknown): void {
    const text = JSON.stringify(value);
    if (text === undefined) throw new Error(`${this.path}: cannot write ${typeof value} as JSON`);
    writeAll(this.#fd, Buffer.from(`${text}\n`));
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    closeSync(this.#fd);
  }

  #endWithNewline(): boolean {
    const { size } = fstatSync(this.#fd);
    let tail = Buffer.alloc(0);
    let start = size;
    while (start > 0 && tail.indexOf(NEWLINE) < 0) {
      const count = Math.min(CHUNK, start);
      const chunk = Buffer.alloc(count);
      readSync(this.#fd, chunk, 0, count, start - count);
      start -= count;
      tail = Buffer.concat([chunk, tail]);
    }
    const lastLine = tail.subarray(tail.lastIndexOf(NEWLINE) + 1);
    if (lastLine.length === 0) return false;
    try {
      JSON.parse(lastLine.toString('utf8'));
    } catch {
      ftruncateSync(this.#fd, size - lastLine.length);
      return true;
    }
    writeAll(this.#fd, Buffer.from('\n'));
    return false;
  }
}

function writeAll(fd: number, bytes: Buffer): void {
  for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done);
}

function open(path: string, flags: string): number {
  try {
    return openSync(path, flags);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : String(error);
    const reason = code === 'ENOENT' ? 'no such file' : code === 'EACCES' ? 'no permission' : code;
    throw new Error(`${path}: cannot open: ${reason}`);
  }
}
