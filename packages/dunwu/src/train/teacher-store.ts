import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import {
  cat,
  copyToDevice,
  noGrad,
  openSafetensors,
  scope,
  type Tensor,
  type TensorSource,
  tensor,
  writeSafetensors,
} from '@dunwu/torch';
import { z } from 'zod';
import type { PackedBatch, TokenDocument } from '../data/packing.js';
import type { CausalModel } from '../model/causal-model.js';
import type { TeacherTargets } from '../objective/distillation.js';
import { errorText } from '../util/errors.js';
import { countFlops } from './flops.js';
import type { LoopHost } from './loop.js';
import { packedTensors, packSequences } from './packed.js';
import { type Teacher, targetsOf } from './teacher.js';

/**
 * A teacher's k likeliest tokens on rows, written once and read as often as wanted: the teacher need not be in memory,
 * nor on this machine. A folder of safetensors files, each of a number of rows:
 *
 * - `indices` int32 [N, k], `logprobs` float32 [N, k], likeliest first; `tail` float32 [N], the log-probability of all
 *   other tokens together (absent when k is the whole vocabulary). N places, row after row: those that are learnt from
 * - metadata: `format`, `teacher` (a fingerprint of its weights), `temperature`, `top_k`, `vocabulary`, `rows` (JSON: a
 *   list of [key, number of places]), `shard` and `shards`
 *
 * A row is found by its tokens (a hash of them), so order, packing and epochs do not matter.
 */
const FORMAT = 'dunwu-teacher-outputs-1';

export interface StorePlan {
  readonly temperature: number;
  /** At most the vocabulary. */
  readonly topK: number;
  /** Tokens that the models are compared on. */
  readonly vocabulary: number;
  /** Rows of a file: what a killed run loses at most. */
  readonly rowsPerShard?: number;
  /** Positions computed at one time. */
  readonly time: number;
}

const ROWS_PER_SHARD = 256;

/**
 * Writes what the teacher says of rows. Files that are there already and fit are kept, so an interrupted call can be
 * repeated.
 * @throws Error when a row is longer than `time` + 1 tokens.
 */
export async function writeTeacherStore(
  host: Pick<LoopHost, 'interrupted' | 'progress'>,
  folder: string,
  teacher: CausalModel,
  rows: readonly TokenDocument[],
  plan: StorePlan,
): Promise<{ readonly outcome: 'done' | 'interrupted'; readonly flops: number }> {
  const { rowsPerShard = ROWS_PER_SHARD } = plan;
  mkdirSync(folder, { recursive: true });
  const fingerprint = weightsFingerprint(teacher);
  const distinct = [...new Map(rows.map((row) => [rowKey(row.tokens), row])).entries()];
  const shards = Math.ceil(distinct.length / rowsPerShard);
  const perToken = countFlops(teacher.config);
  const flops = distinct.reduce((sum, [, { tokens }]) => sum + tokens.length * perToken.forward(tokens.length / 2), 0);
  const wanted = new Set(Array.from({ length: shards }, (_, shard) => shardName(shard)));
  for (const name of storedFiles(folder)) if (!wanted.has(name)) rmSync(path.join(folder, name));
  host.progress.start('teacher', shards, { unit: 'files' });
  try {
    for (let shard = 0; shard < shards; shard++) {
      const part = distinct.slice(shard * rowsPerShard, (shard + 1) * rowsPerShard);
      const file = path.join(folder, shardName(shard));
      const metadata = {
        format: FORMAT,
        teacher: fingerprint,
        temperature: String(plan.temperature),
        top_k: String(plan.topK),
        vocabulary: String(plan.vocabulary),
        rows: JSON.stringify(part.map(([key, row]) => [key, placesOf(row).length])),
        shard: String(shard),
        shards: String(shards),
      };
      if (!fits(file, metadata))
        writeShard(
          file,
          teacher,
          part.map(([, row]) => row),
          plan,
          metadata,
        );
      host.progress.update(shard + 1);
      if (await host.interrupted()) return { outcome: 'interrupted', flops };
    }
  } finally {
    host.progress.end();
  }
  return { outcome: 'done', flops };
}

const shardName = (shard: number): string => `teacher-${String(shard + 1).padStart(5, '0')}.safetensors`;

const storedFiles = (folder: string): string[] =>
  existsSync(folder)
    ? readdirSync(folder)
        .filter((name) => /^teacher-\d+\.safetensors$/.test(name))
        .sort()
    : [];

function fits(file: string, metadata: Readonly<Record<string, string>>): boolean {
  if (!existsSync(file)) return false;
  try {
    using source = openSafetensors(file);
    return Object.entries(metadata).every(([key, value]) => source.metadata[key] === value);
  } catch {
    return false;
  }
}

function writeShard(
  file: string,
  teacher: CausalModel,
  rows: readonly TokenDocument[],
  plan: StorePlan,
  metadata: Readonly<Record<string, string>>,
): void {
  scope(() => {
    // One row at a time would waste most of a small model's time; many at once would hold [places, vocabulary].
    const parts: TeacherTargets[] = [];
    for (let at = 0; at < rows.length; at += ROWS_AT_ONCE) {
      const some = rows.slice(at, at + ROWS_AT_ONCE);
      parts.push(scope(() => teacherOn(teacher, some, plan)));
    }
    const joined = (pick: (part: TeacherTargets) => Tensor | null): Tensor =>
      cat(
        parts.map((part) => pick(part) as Tensor),
        0,
      ).contiguous();
    writeSafetensors(
      file,
      {
        indices: joined(({ indices }) => indices).to('int32'),
        logprobs: joined(({ logprobs }) => logprobs),
        ...(parts.some(({ tail }) => tail === null) ? {} : { tail: joined(({ tail }) => tail) }),
      },
      metadata,
    );
  });
}

const ROWS_AT_ONCE = 16;

/** The teacher on rows packed together, its places back in the rows' order. */
function teacherOn(teacher: CausalModel, rows: readonly TokenDocument[], plan: StorePlan): TeacherTargets {
  const packed = packSequences(
    rows.map(({ tokens }) => ({ tokens, promptLength: 1 })),
    plan.time,
  );
  // `places` has every token but the first of each row, in the rows' order: keep those that are learnt.
  const wanted: number[] = [];
  let at = 0;
  for (const row of rows) {
    for (const place of placesOf(row)) wanted.push(packed.places[at + place - 1] as number);
    at += row.tokens.length - 1;
  }
  const { device } = teacher;
  const on = packedTensors(packed, device);
  const places = tensor(Int32Array.from(wanted), { device }).to('int64');
  return targetsOf(teacher, on, places, plan);
}

/** Places of the tokens that are learnt: those whose prediction has a loss weight. */
function placesOf({ tokens, mask }: TokenDocument): number[] {
  return tokens.flatMap((_, i) => (i > 0 && (mask?.[i] ?? 1) !== 0 ? [i] : []));
}

function rowKey(tokens: ArrayLike<number>): string {
  return createHash('sha256').update(Int32Array.from(tokens)).digest('hex').slice(0, 32);
}

/** Tells models apart: a hash of every tensor's sum and sum of squares, in float64. */
export function weightsFingerprint(model: CausalModel): string {
  const hash = createHash('sha256');
  for (const { name, tensor: weight } of model.parameters()) {
    const [sum, squares] = scope(() =>
      noGrad(() => {
        // On the CPU: other devices add up in another order, and the hash would be another.
        const values = weight.detach().toDevice('cpu', 'float64');
        return [values.sum().item(), values.square().sum().item()];
      }),
    ) as [number, number];
    hash.update(`${name} ${weight.shape.join(',')} ${sum} ${squares}\n`);
  }
  return hash.digest('hex').slice(0, 32);
}

const rowList = z.array(z.tuple([z.string().length(32), z.int().nonnegative()]));

interface Shard {
  readonly source: TensorSource;
  readonly indices: Tensor;
  readonly logprobs: Tensor;
  readonly tail: Tensor | null;
}

/** Stored outputs as a teacher. Files are checked when opened; close it after use. */
export class StoredTeacher implements Teacher {
  readonly #shards: Shard[] = [];
  readonly #rows = new Map<string, { readonly shard: Shard; readonly start: number; readonly count: number }>();
  readonly #folder: string;

  /**
   * @throws Error naming the file: missing or surplus files, other settings than asked for, tensors of other shapes or
   *   types, tokens outside the vocabulary, probabilities that do not sum to 1.
   */
  constructor(folder: string, plan: Pick<StorePlan, 'temperature' | 'topK' | 'vocabulary'>) {
    this.#folder = folder;
    const files = storedFiles(folder);
    if (files.length === 0) throw new Error(`${folder}: no teacher outputs in there`);
    try {
      files.forEach((name, shard) => {
        const file = path.join(folder, name);
        if (name !== shardName(shard)) throw new Error(`${file}: expected ${shardName(shard)} in its place`);
        this.#open(file, plan, { shard: String(shard), shards: String(files.length) });
      });
    } catch (error) {
      this.close();
      throw error;
    }
  }

  #open(
    file: string,
    plan: Pick<StorePlan, 'temperature' | 'topK' | 'vocabulary'>,
    place: Record<string, string>,
  ): void {
    const fail = (what: string): never => {
      throw new Error(`${file}: not usable as teacher outputs: ${what}`);
    };
    const source = openSafetensors(file);
    const { metadata } = source;
    const expected = {
      format: FORMAT,
      temperature: String(plan.temperature),
      top_k: String(plan.topK),
      vocabulary: String(plan.vocabulary),
      ...place,
    };
    const wrong = Object.entries(expected).find(([key, value]) => metadata[key] !== value);
    if (wrong !== undefined) {
      source.close();
      fail(`${wrong[0]} is ${JSON.stringify(metadata[wrong[0]])}, ${JSON.stringify(wrong[1])} is wanted`);
    }
    const take = (name: string, dtype: string, shape: readonly number[]): Tensor => {
      if (!source.has(name)) return fail(`${name} is missing`);
      const info = source.info(name);
      if (info.dtype !== dtype || String(info.shape) !== String(shape)) {
        return fail(`${name} is ${info.dtype} [${info.shape}], expected ${dtype} [${shape}]`);
      }
      return source.tensor(name);
    };
    try {
      const rows = rowsOf(metadata.rows, fail);
      const count = rows.reduce((sum, [, places]) => sum + places, 0);
      const wide = [count, plan.topK];
      const shard: Shard = {
        source,
        indices: take('indices', 'int32', wide),
        logprobs: take('logprobs', 'float32', wide),
        tail: plan.topK >= plan.vocabulary ? null : take('tail', 'float32', [count]),
      };
      this.#shards.push(shard);
      if (count > 0) checkValues(shard, plan.vocabulary, fail);
      let start = 0;
      for (const [key, places] of rows) {
        this.#rows.set(key, { shard, start, count: places });
        start += places;
      }
    } catch (error) {
      source.close();
      throw error;
    }
  }

  targets(batch: PackedBatch, _rows: unknown, places: Tensor): TeacherTargets {
    return scope(() => {
      const found = documentsOf(batch).map(({ tokens, counted, row }) => {
        const stored = this.#rows.get(rowKey(tokens));
        if (stored === undefined) {
          throw new Error(
            `${this.#folder}: nothing stored for a row of ${tokens.length} tokens (row ${row + 1} of a batch): the data have changed`,
          );
        }
        if (stored.count !== counted) {
          throw new Error(
            `${this.#folder}: ${stored.count} places stored for a row that has ${counted} to learn from: the mask has changed`,
          );
        }
        return stored;
      });
      const joined = (pick: (shard: Shard) => Tensor): Tensor => {
        const parts = found.map(({ shard, start, count }) => pick(shard).narrow(0, start, count));
        return copyToDevice(cat(parts, 0).clone(), places.device);
      };
      const indices = joined((shard) => shard.indices).to('int64');
      if (indices.size(0) !== places.size(0)) {
        throw new Error(`stored teacher: ${indices.size(0)} places for ${places.size(0)} asked for`);
      }
      return {
        indices,
        logprobs: joined((shard) => shard.logprobs),
        tail: this.#shards[0]?.tail === null ? null : joined((shard) => shard.tail as Tensor),
      };
    });
  }

  /** Reading costs none; writing was counted then. */
  flops(): number {
    return 0;
  }

  close(): void {
    for (const { source, indices, logprobs, tail } of this.#shards) {
      for (const each of [indices, logprobs, tail]) each?.dispose();
      source.close();
    }
    this.#shards.length = 0;
    this.#rows.clear();
  }
}

function rowsOf(text: string | undefined, fail: (what: string) => never): z.output<typeof rowList> {
  try {
    return rowList.parse(JSON.parse(text ?? ''));
  } catch (error) {
    return fail(`its list of rows: ${errorText(error)}`);
  }
}

function checkValues({ indices, logprobs, tail }: Shard, vocabulary: number, fail: (what: string) => never): void {
  scope(() => {
    const [low, high] = [indices.amin().item(), indices.amax().item()];
    if (low < 0 || high >= vocabulary) fail(`indices from ${low} to ${high} in a vocabulary of ${vocabulary}`);
    const mass = logprobs.exp().sum(-1);
    const off = (tail === null ? mass : mass.add(tail.exp())).sub(1).abs().amax().item();
    // The comparison is false for NaN.
    if (!(off < 1e-3) || !(logprobs.amax().item() <= 1e-6)) fail(`probabilities that do not sum to 1 (off by ${off})`);
  });
}

/** The whole documents of a batch, in the order of its places. */
function documentsOf(batch: PackedBatch): { tokens: Int32Array; counted: number; row: number }[] {
  const width = batch.time + 1;
  const documents: { tokens: Int32Array; counted: number; row: number }[] = [];
  for (let row = 0; row < batch.batch; row++) {
    for (let at = 0; at < width; ) {
      const segment = batch.segments[row * width + at] as number;
      if (segment < 0) break;
      let end = at;
      while (end < width && batch.segments[row * width + end] === segment) end += 1;
      const weights = batch.lossMask.subarray(row * batch.time + at, row * batch.time + end - 1);
      documents.push({
        tokens: batch.tokens.slice(row * width + at, row * width + end),
        counted: weights.reduce((count, weight) => count + (weight === 0 ? 0 : 1), 0),
        row,
      });
      at = end;
    }
  }
  return documents;
}
