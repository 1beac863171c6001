import {
  closeSync,
  fstatSync,
  fsyncSync,
  openSync,
  renameSync,
  rmSync,
  type Stats,
  statSync,
  writeSync,
} from 'node:fs';
import path from 'node:path';
import type { DType } from './dtype.js';
import { itemSize } from './dtype.js';
import { fromFile, zeros } from './generated/functions.js';
import { native } from './native.js';
import {
  FORMAT_DTYPES,
  forbiddenName,
  formatHeader,
  headerLength,
  MAX_HEADER_BYTES,
  parseHeader,
  SafetensorsError,
  type SafetensorsHeader,
  shown,
  type TensorEntry,
} from './safetensors-header.js';
import { keep, scope } from './scope.js';
import type { Tensor } from './tensor.js';

/** Reading and writing single safetensors files; for folders see safetensors-checkpoint.ts. */

export interface TensorInfo {
  readonly dtype: DType;
  readonly shape: readonly number[];
  /** Size of the values. */
  readonly bytes: number;
}

/** Named tensors on disk, one file or many: what is there is known at once, values are read when asked for. */
export interface TensorSource extends Disposable {
  /** The file or folder. */
  readonly path: string;
  /** In the order of the file(s). */
  readonly names: readonly string[];
  readonly metadata: Readonly<Record<string, string>>;
  has(name: string): boolean;
  /** @throws SafetensorsError when there is no such tensor. */
  info(name: string): TensorInfo;
  /**
   * The tensor, on the CPU. Its memory is the mapped file where the alignment allows, so pages are read when touched.
   * Writing to it in place does not change the file, but is seen by later calls for the same name: copy or clone it
   * into a parameter. It stays valid after `close()`.
   * @throws SafetensorsError when there is no such tensor, or when the source was closed.
   */
  tensor(name: string): Tensor;
  /**
   * Says that a tensor's values have been read: the pages of the file that hold them no longer count as this process's memory.
   * What was written to the tensor in place is gone; it may be read again, from the file.
   */
  forget(name: string): void;
  /** Gives the mapping back once no tensor looks at it any more. */
  close(): void;
}

/** What writers take. */
export type NamedTensors = ReadonlyMap<string, Tensor> | Readonly<Record<string, Tensor>>;

/**
 * Opens a safetensors file and checks its header; no values are read. The file is mapped, so it must not be truncated
 * while tensors of it are in use; replacing it by a rename (as `writeSafetensors` does) is safe.
 *
 * @throws SafetensorsError naming the file, and the tensor where there is one, for a file that is missing, truncated,
 * or breaks a rule of the format.
 */
export function openSafetensors(file: string): TensorSource {
  return new MappedFile(file);
}

class MappedFile implements TensorSource {
  readonly names: readonly string[];
  readonly metadata: Readonly<Record<string, string>>;
  readonly #entries: SafetensorsHeader['tensors'];
  readonly #dataStart: number;
  #mapping: Tensor | null;

  constructor(readonly path: string) {
    const mapping = mapFile(path);
    try {
      const size = mapping.numel;
      const bytes = (start: number, length: number): Uint8Array =>
        scope(() => mapping.narrow(0, start, length).bytes());
      const length = headerLength(path, bytes(0, 8), size);
      this.#dataStart = 8 + length;
      const { tensors, metadata } = parseHeader(path, bytes(8, length), size - this.#dataStart);
      this.#entries = tensors;
      this.metadata = metadata;
      this.names = Object.freeze([...tensors.keys()]);
      this.#mapping = mapping;
    } catch (error) {
      mapping.dispose();
      throw error;
    }
  }

  has(name: string): boolean {
    return this.#entries.has(name);
  }

  info(name: string): TensorInfo {
    const { dtype, shape, begin, end } = this.#entry(name);
    return { dtype, shape, bytes: end - begin };
  }

  tensor(name: string): Tensor {
    const mapping = this.#mapping;
    if (mapping === null) throw new SafetensorsError(this.path, name, 'the file was closed');
    const { dtype, shape, begin, end } = this.#entry(name);
    return scope(() => {
      if (begin === end) return zeros(shape, { dtype });
      const start = this.#dataStart + begin;
      const bytes = mapping.narrow(0, start, end - begin);
      // Kernels may do anything with a bool that is neither 0 nor 1, and a file may hold such bytes.
      if (dtype === 'bool') return bytes.ne(0).view(shape);
      const aligned = start % itemSize[dtype] === 0 ? bytes : bytes.clone();
      return aligned.viewDtype(dtype).view(shape);
    });
  }

  forget(name: string): void {
    const mapping = this.#mapping;
    if (mapping === null) return;
    const { begin, end } = this.#entry(name);
    scope(() => native.forgetPages(mapping.narrow(0, this.#dataStart + begin, end - begin)));
  }

  close(): void {
    this.#mapping?.dispose();
    this.#mapping = null;
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #entry(name: string): TensorEntry {
    const entry = this.#entries.get(name);
    if (entry !== undefined) return entry;
    throw new SafetensorsError(
      this.path,
      name,
      `there is no such tensor; the file has ${this.#entries.size}${examples(this.names)}`,
    );
  }
}

/** `: a, b, …`, for errors about a missing name. */
export function examples(names: readonly string[]): string {
  if (names.length === 0) return '';
  return `: ${names.slice(0, 4).map(shown).join(', ')}${names.length > 4 ? ', …' : ''}`;
}

/** The whole file as uint8, mapped privately: what is written to the memory does not reach the file. */
function mapFile(file: string): Tensor {
  let descriptor: number;
  try {
    descriptor = openSync(file, 'r');
  } catch (cause) {
    throw new SafetensorsError(file, null, `cannot be opened: ${(cause as Error).message}`, { cause });
  }
  try {
    const before = fstatSync(descriptor);
    if (!before.isFile()) throw new SafetensorsError(file, null, 'is not a regular file');
    if (before.size < 8) headerLength(file, new Uint8Array(), before.size);
    let mapped: Tensor;
    try {
      mapped = fromFile(path.resolve(file), false, before.size, { dtype: 'uint8' });
    } catch (cause) {
      throw new SafetensorsError(file, null, `cannot be mapped: ${(cause as Error).message}`, { cause });
    }
    // The mapping was made by name: make sure that the name still means the file that was measured.
    const now: Stats = statSync(file);
    if (now.ino !== before.ino || now.dev !== before.dev || now.size !== before.size) {
      mapped.dispose();
      throw new SafetensorsError(file, null, 'changed while it was being opened; try again');
    }
    const mapping = keep(mapped);
    mapped.dispose();
    return mapping;
  } finally {
    closeSync(descriptor);
  }
}

const WRITE_CHUNK = 64 << 20;

/**
 * Writes tensors to one safetensors file, byte for byte as the reference library does, tensor by tensor (at most 64 MB
 * are copied at a time). A reader, or a power cut, sees the old file or the whole new one: the data goes to a temporary
 * file in the same folder, which is synced and renamed; on failure it is removed. The folder must exist.
 *
 * @throws SafetensorsError when a name cannot be stored or a tensor was freed, before anything is written.
 */
export function writeSafetensors(
  file: string,
  tensors: NamedTensors,
  metadata: Readonly<Record<string, string>> = {},
): void {
  const sorted = inFileOrder(file, entriesOf(tensors), metadata);
  const entries = new Map<string, TensorEntry>();
  let offset = 0;
  for (const [name, tensor] of sorted) {
    const begin = offset;
    const { dtype } = tensor;
    offset += tensor.numel * itemSize[dtype];
    entries.set(name, { dtype, shape: tensor.shape, begin, end: offset });
  }
  const header = formatHeader(entries, metadata);
  if (header.length - 8 > MAX_HEADER_BYTES) {
    throw new SafetensorsError(
      file,
      null,
      `the header would have ${header.length - 8} bytes; the limit is ${MAX_HEADER_BYTES}`,
    );
  }
  writeAtomically(file, (write) => {
    write(header);
    for (const [, tensor] of sorted) scope(() => writeValues(tensor, write));
  });
}

/** Name and tensor pairs of a map or a plain object. */
export function entriesOf(tensors: NamedTensors): [string, Tensor][] {
  return tensors instanceof Map ? [...tensors.entries()] : Object.entries(tensors as Readonly<Record<string, Tensor>>);
}

/**
 * As the reference sorts: largest dtype first (so that every tensor is aligned), then by the name's UTF-8 bytes.
 * @throws SafetensorsError for names, metadata and tensors that cannot be stored.
 */
export function inFileOrder(
  file: string,
  tensors: readonly [string, Tensor][],
  metadata: Readonly<Record<string, string>>,
): [string, Tensor][] {
  for (const [key, value] of Object.entries(metadata)) {
    const forbidden = forbiddenName(key);
    if (forbidden !== null) throw new SafetensorsError(file, null, `metadata key ${shown(key)}: ${forbidden}`);
    if (typeof value !== 'string') throw new SafetensorsError(file, null, `metadata key ${shown(key)}: not a string`);
  }
  const rank = new Map(FORMAT_DTYPES.map(([, dtype], place) => [dtype, place]));
  const keyed = tensors.map(([name, tensor]) => {
    const forbidden = forbiddenName(name);
    if (forbidden !== null) throw new SafetensorsError(file, name, forbidden);
    if (!tensor.alive) throw new SafetensorsError(file, name, 'the tensor was freed before it could be written');
    const place = rank.get(tensor.dtype);
    if (place === undefined) throw new SafetensorsError(file, name, `dtype ${tensor.dtype} cannot be stored`);
    return { name, tensor, place, utf8: Buffer.from(name) };
  });
  keyed.sort((a, b) => b.place - a.place || Buffer.compare(a.utf8, b.utf8));
  return keyed.map(({ name, tensor }) => [name, tensor]);
}

function writeValues(tensor: Tensor, write: (bytes: Uint8Array) => void): void {
  if (tensor.numel === 0) return;
  const flat = tensor.detach().contiguous().view([-1]);
  const step = WRITE_CHUNK / itemSize[tensor.dtype];
  for (let at = 0; at < flat.numel; at += step) {
    const part = flat.narrow(0, at, Math.min(step, flat.numel - at));
    write(part.bytes());
    part.dispose();
  }
}

let temporaries = 0;

/** Calls `body` with a function that appends to a new file, which takes its name only when all of it is on disk. */
export function writeAtomically(file: string, body: (write: (bytes: Uint8Array) => void) => void): void {
  const folder = path.dirname(path.resolve(file));
  const temporary = path.join(folder, `.${path.basename(file)}.tmp-${process.pid}-${temporaries++}`);
  let descriptor: number | null = openSync(temporary, 'wx');
  try {
    const target = descriptor;
    body((bytes) => {
      // One write may take fewer bytes than offered.
      for (let at = 0; at < bytes.length; ) at += writeSync(target, bytes, at, bytes.length - at);
    });
    fsyncSync(descriptor);
    closeSync(descriptor);
    descriptor = null;
    renameSync(temporary, file);
  } catch (error) {
    if (descriptor !== null) closeSync(descriptor);
    rmSync(temporary, { force: true });
    throw error;
  }
  syncFolder(folder);
}

const CANNOT_SYNC = new Set(['EINVAL', 'EISDIR', 'EPERM', 'ENOTSUP']);

/** Makes the folder's names durable; does nothing on file systems that cannot. */
export function syncFolder(folder: string): void {
  const descriptor = openSync(folder, 'r');
  try {
    fsyncSync(descriptor);
  } catch (error) {
    if (!CANNOT_SYNC.has((error as NodeJS.ErrnoException).code ?? '')) throw error;
  } finally {
    closeSync(descriptor);
  }
}
