import { existsSync, readdirSync, readFileSync, realpathSync, rmSync, statSync } from 'node:fs';
import path from 'node:path';
import { itemSize } from './dtype.js';
import {
  entriesOf,
  examples,
  inFileOrder,
  type NamedTensors,
  openSafetensors,
  syncFolder,
  type TensorInfo,
  type TensorSource,
  writeAtomically,
  writeSafetensors,
} from './safetensors.js';
import { MAX_HEADER_BYTES, parseJsonObject, SafetensorsError, shown } from './safetensors-header.js';
import type { Tensor } from './tensor.js';

/** Checkpoint folders in Hugging Face's layout: one model.safetensors, or shards with an index. */

export const SINGLE_FILE = 'model.safetensors';
export const INDEX_FILE = 'model.safetensors.index.json';

/**
 * Opens a folder's `model.safetensors`, or the shards named by its `model.safetensors.index.json`; the single file
 * wins where both are there, as in transformers. Shards are plain names of files in the folder. A symbolic link that
 * leaves the folder is refused, except into the blobs of the same repository in a Hugging Face cache. Index and shards
 * must agree tensor by tensor.
 *
 * @throws SafetensorsError naming the file, and the tensor where there is one.
 */
export function openCheckpoint(folder: string): TensorSource {
  if (existsSync(path.join(folder, SINGLE_FILE))) return openSafetensors(inside(folder, SINGLE_FILE, folder));
  if (existsSync(path.join(folder, INDEX_FILE))) return new Sharded(folder);
  throw new SafetensorsError(folder, null, `there is neither ${SINGLE_FILE} nor ${INDEX_FILE} in this folder`);
}

class Sharded implements TensorSource {
  readonly names: readonly string[];
  readonly metadata: Readonly<Record<string, string>>;
  readonly #shards = new Map<string, TensorSource>();
  readonly #places: ReadonlyMap<string, string>;

  constructor(readonly path: string) {
    const index = inside(path, INDEX_FILE, path);
    this.#places = readIndex(index);
    try {
      for (const shard of new Set(this.#places.values())) {
        this.#shards.set(shard, openSafetensors(inside(path, shard, index)));
      }
      for (const [name, shard] of this.#places) {
        if (this.#shards.get(shard)?.has(name)) continue;
        throw new SafetensorsError(index, name, `the index places it in ${shown(shard)}, which does not have it`);
      }
      for (const [shard, source] of this.#shards) {
        for (const name of source.names) {
          const place = this.#places.get(name);
          if (place === shard) continue;
          const says = place === undefined ? 'the index does not list it' : `the index places it in ${shown(place)}`;
          throw new SafetensorsError(source.path, name, says);
        }
      }
    } catch (error) {
      this.close();
      throw error;
    }
    const shards = [...this.#shards.values()];
    this.names = Object.freeze(shards.flatMap((source) => source.names));
    this.metadata = shards[0]?.metadata ?? {};
  }

  has(name: string): boolean {
    return this.#places.has(name);
  }

  info(name: string): TensorInfo {
    return this.#source(name).info(name);
  }

  tensor(name: string): Tensor {
    return this.#source(name).tensor(name);
  }

  forget(name: string): void {
    this.#source(name).forget(name);
  }

  close(): void {
    for (const shard of this.#shards.values()) shard.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #source(name: string): TensorSource {
    const source = this.#shards.get(this.#places.get(name) ?? '');
    if (source !== undefined) return source;
    throw new SafetensorsError(
      this.path,
      name,
      `there is no such tensor; the checkpoint has ${this.names.length}${examples(this.names)}`,
    );
  }
}

/** Which shard holds which tensor. */
function readIndex(index: string): Map<string, string> {
  if (statSync(index).size > MAX_HEADER_BYTES) throw new SafetensorsError(index, null, 'is too large for an index');
  const { weight_map: map } = parseJsonObject(index, readFileSync(index), 'the index');
  if (typeof map !== 'object' || map === null || Array.isArray(map)) {
    throw new SafetensorsError(index, null, 'weight_map is not an object of tensor names and file names');
  }
  const places = new Map<string, string>();
  for (const [name, shard] of Object.entries(map as Record<string, unknown>)) {
    if (typeof shard !== 'string') throw new SafetensorsError(index, name, 'its shard is not a string');
    // No separator of any system, no drive, no '..': the name of a file in this folder and nothing else.
    if (!/^[^/\\:\0]+\.safetensors$/.test(shard)) {
      throw new SafetensorsError(
        index,
        name,
        `its shard ${shown(shard)} is not the plain name of a .safetensors file in the folder`,
      );
    }
    places.set(name, shard);
  }
  if (places.size === 0) throw new SafetensorsError(index, null, 'weight_map is empty');
  return places;
}

/** The path of a file in the folder, after following links, which may not lead out of it. */
function inside(folder: string, name: string, mentioned: string): string {
  const file = path.join(folder, name);
  let real: string;
  let home: string;
  try {
    real = realpathSync(file);
    home = realpathSync(folder);
  } catch (cause) {
    throw new SafetensorsError(mentioned, null, `${shown(name)} cannot be opened: ${(cause as Error).message}`, {
      cause,
    });
  }
  const within = (parent: string): boolean => real.startsWith(parent + path.sep);
  // Hugging Face's cache: <repository>/snapshots/<revision>/<file> links to <repository>/blobs/<hash>.
  const snapshots = path.dirname(home);
  const cached = path.basename(snapshots) === 'snapshots' && within(path.join(path.dirname(snapshots), 'blobs'));
  if (within(home) || cached) return file;
  throw new SafetensorsError(
    mentioned,
    null,
    `${shown(name)} is a link that leaves the folder, to ${real}; copy the file there instead`,
  );
}

export interface CheckpointOptions {
  /** Most bytes of values in one file; a tensor larger than that gets a file of its own. Default 5 GB. */
  readonly maxShardSize?: number;
  readonly metadata?: Readonly<Record<string, string>>;
}

/**
 * Writes tensors into an existing folder: `model.safetensors` when they fit one file, else
 * `model-00001-of-0000N.safetensors` … filled in the order given, and then the index. Each file is atomic. A sharded
 * checkpoint that was there is given up first and leftovers of another number of shards are removed, so that old and
 * new shards are never read together; to keep the old one until the new one is whole, write to a new folder.
 *
 * @returns the names of the files written.
 */
export function writeCheckpoint(folder: string, tensors: NamedTensors, options: CheckpointOptions = {}): string[] {
  const { maxShardSize = 5e9, metadata = { format: 'pt' } } = options;
  if (!(maxShardSize >= 1))
    throw new Error(`writeCheckpoint: maxShardSize must be at least 1 byte, got ${maxShardSize}`);
  const named = entriesOf(tensors);
  inFileOrder(folder, named, metadata); // refuses what cannot be stored before the old checkpoint is touched
  const shards: [string, Tensor][][] = [[]];
  let total = 0;
  let room = maxShardSize;
  for (const [name, tensor] of named) {
    const bytes = tensor.numel * itemSize[tensor.dtype];
    if (bytes > room && shards.at(-1)?.length !== 0) {
      shards.push([]);
      room = maxShardSize;
    }
    shards.at(-1)?.push([name, tensor]);
    room -= bytes;
    total += bytes;
  }
  rmSync(path.join(folder, INDEX_FILE), { force: true });
  syncFolder(folder);
  const written: string[] = [];
  const places: [string, string][] = [];
  const five = (n: number): string => String(n).padStart(5, '0');
  for (const [place, shard] of shards.entries()) {
    const name = shards.length === 1 ? SINGLE_FILE : `model-${five(place + 1)}-of-${five(shards.length)}.safetensors`;
    writeSafetensors(path.join(folder, name), new Map(shard), metadata);
    written.push(name);
    for (const [tensor] of shard) places.push([tensor, name]);
  }
  if (shards.length > 1) {
    const weight_map = Object.fromEntries(places.sort(([a], [b]) => (a < b ? -1 : 1)));
    const index = JSON.stringify({ metadata: { total_size: total }, weight_map }, null, 2);
    writeAtomically(path.join(folder, INDEX_FILE), (write) => write(Buffer.from(`${index}\n`)));
    written.push(INDEX_FILE);
  }
  for (const name of readdirSync(folder)) {
    const ours = name === SINGLE_FILE || /^model-\d{5}-of-\d{5}\.safetensors$/.test(name);
    if (ours && !written.includes(name)) rmSync(path.join(folder, name));
  }
  return written;
}
