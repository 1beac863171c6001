import { resolve } from 'node:path';
import { z } from 'zod';
import { type Line, LineReader, parseJsonLine } from '../util/jsonl.js';
import type { Document, DocumentSource, TextDocument } from './document.js';

const paths = z.union([z.string().min(1), z.array(z.string().min(1)).min(1)]);
/** Times to go through the files; left out: without end. */
const epochs = z.int().min(1).optional();

/** Plain text files. Unknown keys are errors. */
export const textSourceSchema = z.strictObject({
  type: z.literal('text'),
  path: paths,
  /** What one document is: a line, or the lines up to a blank one. */
  unit: z.enum(['line', 'paragraph']).default('paragraph'),
  /** A paragraph longer than this (in UTF-16 code units) is cut at the end of a line. */
  max_chars: z.int().min(1).default(20_000),
  epochs,
});

/** JSONL files: one of `{text}`, `{question, answer}`, `{question, response}`, `{messages}` a line. Unknown keys are errors. */
export const jsonlSourceSchema = z.strictObject({ type: z.literal('jsonl'), path: paths, epochs });

/**
 * Documents from plain text files, streamed: nothing but one document is held in memory. Lines keep their text; the
 * newline between a paragraph's lines is kept, the blank line after it is not.
 * @param base folder that relative paths start from.
 * @throws (from `next`) Error naming file:line.
 */
export function createTextSource(input: z.input<typeof textSourceSchema>, base?: string): DocumentSource<TextDocument> {
  const config = textSourceSchema.parse(input);
  const read = (reader: LineReader): TextDocument | undefined => {
    const lines: string[] = [];
    let length = 0;
    for (let line = reader.next(); line !== undefined; line = reader.next()) {
      const blank = line.text.trim() === '';
      if (!blank) {
        lines.push(line.text);
        length += line.text.length + 1;
      }
      if (lines.length > 0 && (blank || config.unit === 'line' || length > config.max_chars)) break;
    }
    return lines.length > 0 ? { text: lines.join('\n') } : undefined;
  };
  return new FileSource(config.path, base, config.epochs, read);
}

/**
 * Documents from JSONL files, streamed.
 * @param base folder that relative paths start from.
 * @throws (from `next`) Error naming file:line, what is there and what was expected.
 */
export function createJsonlSource(input: z.input<typeof jsonlSourceSchema>, base?: string): DocumentSource {
  const config = jsonlSourceSchema.parse(input);
  const read = (reader: LineReader): Document | undefined => {
    for (let line = reader.next(); line !== undefined; line = reader.next()) {
      if (line.text.trim() !== '') return toDocument(reader.path, line);
    }
    return undefined;
  };
  return new FileSource(config.path, base, config.epochs, read);
}

const messagesSchema = z.array(z.object({ role: z.enum(['system', 'user', 'assistant']), content: z.string() })).min(1);

function toDocument(path: string, line: Line): Document {
  const value = parseJsonLine(path, line);
  const fail = (what: string): never => {
    throw new Error(
      `${path}:${line.number}: ${what}; expected {"text"}, {"question", "answer"}, {"question", "response"} or {"messages"}`,
    );
  };
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return fail('not a JSON object');
  const row = value as Record<string, unknown>;
  const text = (key: string): string => {
    const found = row[key];
    return typeof found === 'string' && found !== '' ? found : fail(`"${key}" must be a text that is not empty`);
  };
  if ('text' in row) return { text: text('text') };
  if ('messages' in row) {
    const messages = messagesSchema.safeParse(row.messages);
    if (!messages.success) return fail('"messages" must be a list of {"role": system, user or assistant, "content"}');
    // Training on a question that nobody answers would teach to ask on.
    if (messages.data.at(-1)?.role !== 'assistant') return fail('"messages" must end with an assistant turn');
    return { messages: messages.data };
  }
  if ('question' in row && 'response' in row) return { question: text('question'), response: text('response') };
  if ('question' in row && 'answer' in row) return { question: text('question'), response: text('answer') };
  return fail(`found the keys ${Object.keys(row).join(', ') || '(none)'}`);
}

const stateSchema = z.strictObject({
  epoch: z.int().min(0),
  file: z.int().min(0),
  offset: z.int().min(0),
  line: z.int().min(0),
});

/** Goes through files in their order, `epochs` times or without end; the state is the place in the files. */
class FileSource<D extends Document> implements DocumentSource<D> {
  readonly #paths: readonly string[];
  readonly #epochs: number;
  readonly #read: (reader: LineReader) => D | undefined;
  #reader: LineReader | undefined;
  #epoch = 0;
  #file = 0;
  #found = false;

  constructor(
    path: string | readonly string[],
    base: string | undefined,
    epochs: number | undefined,
    read: (reader: LineReader) => D | undefined,
  ) {
    this.#paths = (typeof path === 'string' ? [path] : path).map((one) => resolve(base ?? process.cwd(), one));
    this.#epochs = epochs ?? Number.POSITIVE_INFINITY;
    this.#read = read;
  }

  next(): D | undefined {
    while (this.#epoch < this.#epochs) {
      this.#reader ??= new LineReader(this.#paths[this.#file] as string);
      const document = this.#read(this.#reader);
      if (document !== undefined) {
        this.#found = true;
        return document;
      }
      this.close();
      this.#file += 1;
      if (this.#file === this.#paths.length) {
        if (!this.#found) throw new Error(`${this.#paths.join(', ')}: no documents in there`);
        this.#file = 0;
        this.#epoch += 1;
        this.#found = false;
      }
    }
    return undefined;
  }

  get state(): z.output<typeof stateSchema> {
    const { offset, line } = this.#reader?.position ?? { offset: 0, line: 0 };
    return { epoch: this.#epoch, file: this.#file, offset, line };
  }

  restore(state: unknown): void {
    const { epoch, file, offset, line } = stateSchema.parse(state);
    const path = this.#paths[file];
    if (path === undefined) {
      throw new Error(`the stored place is in file ${file + 1}, there are ${this.#paths.length}: the list was changed`);
    }
    this.close();
    this.#epoch = epoch;
    this.#file = file;
    this.#found = file > 0 || offset > 0;
    if (offset > 0) this.#reader = new LineReader(path, { offset, line });
  }

  close(): void {
    this.#reader?.close();
    this.#reader = undefined;
  }
}
