import { type DType, itemSize } from './dtype.js';

/**
 * The header of a safetensors file: eight bytes with its length, then JSON that says where each tensor's bytes are.
 * Format: https://github.com/huggingface/safetensors ("Format"). The rules checked here are the reference's own, plus
 * names that could reach an object's prototype. A file comes from anywhere: nothing in it is believed.
 */

/** Where one tensor is: its type, its shape and its bytes, counted from the end of the header. */
export interface TensorEntry {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly begin: number;
  readonly end: number;
}

export interface SafetensorsHeader {
  /** In the order of their bytes in the file. */
  readonly tensors: ReadonlyMap<string, TensorEntry>;
  readonly metadata: Readonly<Record<string, string>>;
}

/** A safetensors file, an index or a checkpoint folder that cannot be trusted or read; names the file and the tensor. */
export class SafetensorsError extends Error {
  override name = 'SafetensorsError';
  constructor(
    readonly file: string,
    readonly tensor: string | null,
    problem: string,
    options?: ErrorOptions,
  ) {
    super(`${file}: ${tensor === null ? '' : `tensor ${shown(tensor)}: `}${problem}`, options);
  }
}

/** The reference refuses longer headers too: nobody has a hundred megabytes of tensor names. */
export const MAX_HEADER_BYTES = 100_000_000;
/** libtorch's element-wise kernels take no more. */
const MAX_DIMENSIONS = 64;
const DAMAGED = 'the file is damaged or was not written to the end; fetch or write it again';

/** Names in the file, in the reference's order of declaration: its writer sorts by it, largest alignment first. */
export const FORMAT_DTYPES: readonly (readonly [string, DType])[] = [
  ['BOOL', 'bool'],
  ['U8', 'uint8'],
  ['I8', 'int8'],
  ['I16', 'int16'],
  ['U16', 'uint16'],
  ['F16', 'float16'],
  ['BF16', 'bfloat16'],
  ['I32', 'int32'],
  ['U32', 'uint32'],
  ['F32', 'float32'],
  ['F64', 'float64'],
  ['I64', 'int64'],
  ['U64', 'uint64'],
];
const DTYPE_OF = new Map(FORMAT_DTYPES);
/** As keys of a plain object these would reach, or shadow, what every object inherits. */
const FORBIDDEN_NAMES = new Set(['__proto__', 'constructor', 'prototype']);

/** A name as an error may show it: quoted, without control characters, not a megabyte long. */
export function shown(name: string): string {
  return JSON.stringify(name.length > 200 ? `${name.slice(0, 200)}…` : name);
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

/** Why a tensor or a metadata key may not have this name, or null. */
export function forbiddenName(name: string): string | null {
  if (FORBIDDEN_NAMES.has(name)) return 'this name is reserved by JavaScript objects and is refused';
  if (name === '__metadata__') return 'this name is reserved for the metadata';
  return null;
}

/**
 * The length of the header, from a file's first eight bytes.
 * @throws SafetensorsError when the file is too short for it, or when it is beyond the format's limit.
 */
export function headerLength(file: string, firstBytes: Uint8Array, fileSize: number): number {
  if (fileSize < 8 || firstBytes.length < 8) {
    throw new SafetensorsError(file, null, `${fileSize} bytes are too few for a safetensors file; ${DAMAGED}`);
  }
  const length = new DataView(firstBytes.buffer, firstBytes.byteOffset, 8).getBigUint64(0, true);
  if (length > BigInt(MAX_HEADER_BYTES)) {
    throw new SafetensorsError(
      file,
      null,
      `the header claims ${length} bytes, more than the limit of ${MAX_HEADER_BYTES}; is this a safetensors file?`,
    );
  }
  if (length > BigInt(fileSize - 8)) {
    throw new SafetensorsError(
      file,
      null,
      `the header claims ${length} bytes, but the file has only ${fileSize - 8} after the length; ${DAMAGED}`,
    );
  }
  return Number(length);
}

/**
 * Reads and checks a header.
 * @param dataLength bytes in the file after the header: the tensors must cover them without gap or overlap.
 * @throws SafetensorsError for anything the format does not allow, naming the file and the tensor.
 */
export function parseHeader(file: string, header: Uint8Array, dataLength: number): SafetensorsHeader {
  if (header[0] !== 0x7b) throw new SafetensorsError(file, null, "the header does not begin with '{'");
  const raw = parseJsonObject(file, header, 'the header');
  const tensors: [string, TensorEntry][] = [];
  let metadata: Readonly<Record<string, string>> = Object.freeze(Object.create(null) as Record<string, string>);
  for (const [name, value] of Object.entries(raw)) {
    if (name === '__metadata__') metadata = parseMetadata(file, value);
    else tensors.push([name, parseEntry(file, name, value)]);
  }
  tensors.sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end);
  let covered = 0;
  let before: string | null = null;
  for (const [name, { begin, end }] of tensors) {
    const after = before === null ? 'the start of the data' : `the end of tensor ${shown(before)}`;
    if (begin < covered) {
      throw new SafetensorsError(file, name, `its bytes [${begin}, ${end}) overlap ${after} at ${covered}`);
    }
    if (begin > covered) {
      throw new SafetensorsError(
        file,
        name,
        `its bytes begin at ${begin}, which leaves a gap after ${after} at ${covered}`,
      );
    }
    if (end > dataLength) {
      throw new SafetensorsError(
        file,
        name,
        `its bytes [${begin}, ${end}) reach beyond the file's data, ${dataLength} bytes; ${DAMAGED}`,
      );
    }
    covered = end;
    before = name;
  }
  if (covered !== dataLength) {
    throw new SafetensorsError(
      file,
      before,
      `after the last tensor's end at ${covered} the file has ${dataLength - covered} more bytes`,
    );
  }
  return { tensors: new Map(tensors), metadata };
}

function parseMetadata(file: string, value: unknown): Readonly<Record<string, string>> {
  if (!isObject(value)) throw new SafetensorsError(file, null, '__metadata__ is not an object of strings');
  const metadata = Object.create(null) as Record<string, string>;
  for (const [key, text] of Object.entries(value)) {
    const forbidden = forbiddenName(key);
    if (forbidden !== null) throw new SafetensorsError(file, null, `__metadata__ key ${shown(key)}: ${forbidden}`);
    if (typeof text !== 'string') {
      throw new SafetensorsError(file, null, `__metadata__ key ${shown(key)}: the value is not a string`);
    }
    metadata[key] = text;
  }
  return Object.freeze(metadata);
}

function parseEntry(file: string, name: string, value: unknown): TensorEntry {
  const refuse = (problem: string): never => {
    throw new SafetensorsError(file, name, problem);
  };
  const forbidden = forbiddenName(name);
  if (forbidden !== null) refuse(forbidden);
  if (!isObject(value)) return refuse('its entry is not an object with dtype, shape and data_offsets');
  const dtype = typeof value.dtype === 'string' ? DTYPE_OF.get(value.dtype) : undefined;
  if (dtype === undefined) {
    const known = FORMAT_DTYPES.map(([format]) => format).join(', ');
    return refuse(`dtype ${shown(String(JSON.stringify(value.dtype)))} is not supported; supported: ${known}`);
  }
  const { shape, data_offsets: offsets } = value;
  if (!Array.isArray(shape) || !shape.every(isCount)) {
    return refuse('shape must be an array of integers from 0 to 2^53 - 1');
  }
  if (shape.length > MAX_DIMENSIONS) refuse(`${shape.length} dimensions are more than the limit of ${MAX_DIMENSIONS}`);
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isCount)) {
    return refuse('data_offsets must be two integers from 0 to 2^53 - 1');
  }
  const [begin, end] = offsets as [number, number];
  if (end < begin) refuse(`data_offsets [${begin}, ${end}] end before they begin`);
  // The product of the sizes that are not 0 bounds the strides too, which a size of 0 elsewhere would hide.
  let extent = itemSize[dtype];
  for (const size of shape as number[]) extent *= Math.max(size, 1);
  if (!Number.isSafeInteger(extent)) refuse(`shape [${shape.join(', ')}] is too large`);
  const bytes = (shape as number[]).includes(0) ? 0 : extent;
  if (bytes !== end - begin) {
    refuse(
      `shape [${shape.join(', ')}] of ${dtype} needs ${bytes} bytes, data_offsets [${begin}, ${end}] give ${end - begin}`,
    );
  }
  return { dtype, shape: Object.freeze([...(shape as number[])]), begin, end };
}

/**
 * The object in a JSON text, UTF-8, in which no object has a key twice: JSON.parse would silently take the last.
 * @throws SafetensorsError otherwise.
 */
export function parseJsonObject(file: string, bytes: Uint8Array, what: string): Record<string, unknown> {
  let text: string;
  let value: unknown;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    value = JSON.parse(text);
  } catch (cause) {
    throw new SafetensorsError(file, null, `${what} is not valid JSON (${(cause as Error).message}); ${DAMAGED}`, {
      cause,
    });
  }
  if (!isObject(value)) throw new SafetensorsError(file, null, `${what} is not a JSON object`);
  const duplicate = duplicateKey(text);
  if (duplicate !== null) throw new SafetensorsError(file, duplicate, `${what} has this key twice`);
  return value;
}

/** The first key that an object of this valid JSON text has twice, or null. */
function duplicateKey(text: string): string | null {
  const open: Set<string>[] = [];
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === 0x7b) open.push(new Set());
    else if (code === 0x7d) open.pop();
    else if (code === 0x22) {
      const start = at++;
      while (text.charCodeAt(at) !== 0x22) at += text.charCodeAt(at) === 0x5c ? 2 : 1;
      let next = at + 1;
      while (text.charCodeAt(next) <= 0x20) next++;
      if (text.charCodeAt(next) !== 0x3a) continue; // a value: only keys are followed by a colon
      const key = JSON.parse(text.slice(start, at + 1)) as string; // "\u0061" and "a" are the same key
      const keys = open.at(-1);
      if (keys?.has(key)) return key;
      keys?.add(key);
    }
  }
  return null;
}

/** The header as the reference writes it: metadata first, entries in the order given, spaces up to a multiple of 8. */
export function formatHeader(
  tensors: ReadonlyMap<string, TensorEntry>,
  metadata: Readonly<Record<string, string>>,
): Uint8Array {
  const format = new Map(FORMAT_DTYPES.map(([name, dtype]) => [dtype, name]));
  const parts: string[] = [];
  const keys = Object.keys(metadata).sort();
  if (keys.length > 0) {
    const pairs = keys.map((key) => `${JSON.stringify(key)}:${JSON.stringify(metadata[key])}`);
    parts.push(`"__metadata__":{${pairs.join(',')}}`);
  }
  for (const [name, { dtype, shape, begin, end }] of tensors) {
    const entry = `{"dtype":"${format.get(dtype)}","shape":[${shape.join(',')}],"data_offsets":[${begin},${end}]}`;
    parts.push(`${JSON.stringify(name)}:${entry}`);
  }
  const json = Buffer.from(`{${parts.join(',')}}`);
  const padded = Buffer.alloc(8 + Math.ceil(json.length / 8) * 8, ' ');
  padded.writeBigUInt64LE(BigInt(padded.length - 8));
  json.copy(padded, 8);
  return padded;
}
