import { statSync } from 'node:fs';
import path from 'node:path';
import type { JsonLine } from './jsonl.js';
import type { ParquetOutline, ParquetReply, ParquetRequest } from './parquet-worker.js';
import { SyncWorker } from './sync-worker.js';

/** What reading may take: a damaged file can ask its reader for rows without end. */
export interface ParquetLimits {
  readonly memoryMb?: number;
  /** For each of the file's parts, in milliseconds, besides a second for every megabyte. */
  readonly ms?: number;
}

/**
 * The rows of a Parquet file, one row group in memory at a time; `number` counts rows from 1. Reads snappy, gzip and
 * brotli (zstd where Node can).
 *
 * The file is read in a thread of its own with limits: a damaged one ends in an error, never in a stuck or dead process.
 * @param columns the top-level columns wanted; those that the file does not have are left out
 * @throws Error naming the file and what is wrong with it.
 */
export function* readParquet(
  file: string,
  columns: readonly string[],
  { memoryMb = 2048, ms = 20_000 }: ParquetLimits = {},
): Generator<JsonLine> {
  const absolute = path.resolve(file);
  const stat = statSync(absolute, { throwIfNoEntry: false });
  if (!stat?.isFile()) throw new Error(`${file}: no such file`);
  if (stat.size === 0) throw new Error(`${file}: not a readable Parquet file: it is empty`);
  const worker = new SyncWorker<ParquetRequest, ParquetReply>('util/parquet-worker', { memoryMb });
  const ask = (request: ParquetRequest, bytes: number): ParquetReply => {
    const reply = worker.call(request, ms + bytes / 1000);
    if (reply.status === 'done') return reply.value;
    const why =
      reply.status === 'failed' ? reply.error : `reading it takes more than ${ms / 1000} s or ${memoryMb} MiB`;
    throw new Error(`${file}: not a readable Parquet file: ${why}`);
  };
  try {
    const { columns: present, groups } = ask({ kind: 'outline', path: absolute }, 0) as ParquetOutline;
    const wanted = columns.filter((name) => present.includes(name));
    if (wanted.length === 0) {
      throw new Error(`${file}: none of the columns ${columns.join(', ')}; it has ${present.slice(0, 20).join(', ')}`);
    }
    let number = 0;
    for (const [group, { rows, bytes }] of groups.entries()) {
      // Sizes are the file's own claim: time for no more than it really holds.
      const size = Math.min(Math.max(0, bytes), statSync(absolute).size);
      const found = ask({ kind: 'group', path: absolute, group, columns: wanted }, size);
      if (!Array.isArray(found) || found.length !== rows) {
        throw new Error(
          `${file}: row group ${group + 1} should have ${rows} rows and has ${(found as unknown[]).length}`,
        );
      }
      for (const value of found) yield { value, number: ++number };
    }
  } finally {
    worker.dispose();
  }
}
