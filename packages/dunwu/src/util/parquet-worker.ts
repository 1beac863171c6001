import * as zlib from 'node:zlib';
import {
  asyncBufferFromFile,
  type Compressors,
  type FileMetaData,
  parquetMetadataAsync,
  parquetReadObjects,
  parquetSchema,
} from 'hyparquet';
import { serveSync } from './sync-worker.js';

/** Reads a file's outline, or the rows of one of its groups. */
export type ParquetRequest =
  | { readonly kind: 'outline'; readonly path: string }
  | { readonly kind: 'group'; readonly path: string; readonly group: number; readonly columns: readonly string[] };

export interface ParquetOutline {
  /** Names at the top level. */
  readonly columns: readonly string[];
  readonly groups: readonly { readonly rows: number; readonly bytes: number }[];
}

export type ParquetReply = ParquetOutline | readonly Readonly<Record<string, unknown>>[];

type ZstdDecompress = (input: Uint8Array, options: { maxOutputLength: number }) => Uint8Array;

const compressors: Compressors = {
  GZIP: (input, length) => zlib.gunzipSync(input, { maxOutputLength: length }),
  BROTLI: (input, length) => zlib.brotliDecompressSync(input, { maxOutputLength: length }),
  ZSTD(input, length) {
    // Node has it from 22.15 on.
    const decompress = (zlib as unknown as { zstdDecompressSync?: ZstdDecompress }).zstdDecompressSync;
    if (decompress === undefined) {
      throw new Error(
        `compressed with ZSTD, which Node ${process.versions.node} cannot read (22.15 and later can): write it with snappy or gzip`,
      );
    }
    return decompress(input, { maxOutputLength: length });
  },
};

let opened: { readonly path: string; readonly metadata: FileMetaData } | undefined;

serveSync<ParquetRequest, ParquetReply>(async (request) => {
  const file = await asyncBufferFromFile(request.path);
  if (request.kind === 'outline') {
    const metadata = await parquetMetadataAsync(file);
    opened = { path: request.path, metadata };
    return {
      columns: parquetSchema(metadata).children.map(({ element }) => element.name),
      groups: metadata.row_groups.map(({ num_rows, columns }) => ({
        rows: Number(num_rows),
        bytes: columns.reduce((sum, { meta_data }) => sum + Number(meta_data?.total_compressed_size ?? 0), 0),
      })),
    };
  }
  const metadata = opened?.path === request.path ? opened.metadata : await parquetMetadataAsync(file);
  const counts = metadata.row_groups.map(({ num_rows }) => Number(num_rows));
  const rowStart = counts.slice(0, request.group).reduce((a, b) => a + b, 0);
  const rowEnd = rowStart + (counts[request.group] ?? 0);
  return parquetReadObjects({ file, metadata, columns: [...request.columns], rowStart, rowEnd, compressors });
});
