import { readFileSync, statSync } from 'node:fs';
import { extname } from 'node:path';
import { errorText } from './errors.js';
import { readJsonl } from './jsonl.js';
import { readParquet } from './parquet.js';

/** One object of a file of objects, and where it stands, for errors: `file.jsonl:3`, `file.json:entry 3`. */
export interface FileRow {
  readonly value: unknown;
  /** From 1. */
  readonly number: number;
  readonly where: string;
}

/** Largest JSON file that is read: it is held in memory as a whole, unlike lines and row groups. */
const MAX_JSON_BYTES = 512 * 2 ** 20;

/**
 * The objects of a file, by its ending: `.parquet`, `.json` (a list of objects), anything else as JSON lines.
 * @param columns those that are read of a Parquet file; the other formats give all keys
 * @throws Error naming the file, and the place in it, when it cannot be read.
 */
export function* readRows(path: string, columns: readonly string[]): Generator<FileRow> {
  const ending = extname(path).toLowerCase();
  if (ending === '.json') {
    for (const [i, value] of readJsonList(path).entries()) {
      yield { value, number: i + 1, where: `${path}:entry ${i + 1}` };
    }
    return;
  }
  const parquet = ending === '.parquet';
  for (const { value, number } of parquet ? readParquet(path, columns) : readJsonl(path)) {
    yield { value: parquet ? present(value) : value, number, where: `${path}:${parquet ? 'row ' : ''}${number}` };
  }
}

/** Without the columns that are empty in a row: Parquet has them in every one. */
function present(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).filter(([, one]) => one !== null && one !== undefined));
}

function readJsonList(path: string): unknown[] {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (!stat?.isFile()) throw new Error(`${path}: no such file`);
  if (stat.size > MAX_JSON_BYTES) {
    throw new Error(`${path}: ${stat.size} bytes are too many for one JSON list: write JSON lines (.jsonl) or Parquet`);
  }
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(path, 'utf8').replace(/^\uFEFF/, ''));
  } catch (error) {
    throw new Error(`${path}: not valid JSON: ${errorText(error)}; JSON lines have the ending .jsonl`);
  }
  if (Array.isArray(value)) return value;
  throw new Error(`${path}: expected a list of objects, [{…}, …]; JSON lines have the ending .jsonl`);
}
