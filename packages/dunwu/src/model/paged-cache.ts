import { type Device, itemSize, keep, noGrad, op, scope, type Tensor, tensor, zeros } from '@dunwu/torch';
import { isOutOfMemory } from '../util/errors.js';
import { isDeepseek, type ModelConfig } from './config.js';

/** Tokens of a page (kPageTokens in native/kernels/paged_attention.h). */
export const PAGE_TOKENS = 16;

/** What the cache holds numbers as. */
export type CacheType = 'float32' | 'bfloat16';

/** Vectors of the decoder read whole blocks of so many numbers. */
const BLOCK = 16;

/** Numbers of one token and layer as they lie in a page: each latent, or each head's key and value, padded to whole blocks. */
function entryWidth(config: ModelConfig): number {
  const pad = (width: number): number => Math.ceil(width / BLOCK) * BLOCK;
  if (isDeepseek(config)) return pad(config.kv_lora_rank + config.qk_rope_head_dim);
  return 2 * config.num_key_value_heads * pad(config.head_dim);
}

/** Bytes of one token in the cache, all layers. */
export function tokenBytes(config: ModelConfig, dtype: CacheType): number {
  return config.num_hidden_layers * entryWidth(config) * itemSize[dtype];
}

/** Pages that `tokens` tokens need. */
export function pagesFor(tokens: number): number {
  return Math.ceil(tokens / PAGE_TOKENS);
}

/**
 * What decoding remembers of the tokens before, in pages of {@link PAGE_TOKENS} tokens (vLLM, arXiv 2309.06180, §4): sequences
 * take pages as they grow and give them back as they end, and those that begin alike share the pages of their beginning. All of them are
 * there from the beginning, where recorded steps find them; on the CPU the system gives a page its memory when it is first written.
 */
export class PagedCache {
  readonly maxPages: number;
  /** One tensor a layer, [pages, PAGE_TOKENS, numbers of an entry]; how a page is laid out is the decoder's matter. */
  readonly layers: readonly Tensor[];
  readonly #device: Device;
  /** Of all layers, in one piece: large enough that the heap does not hold it. The last one that was freed is there for the next. */
  readonly #memory: Tensor;
  /** How many sequences use each page. */
  readonly #users: number[] = [];
  /** Pages that were given back; those from `#users.length` on were never taken. */
  readonly #free: number[] = [];

  /**
   * @param dtype that of the decoder, as is `device`
   * @throws Error when the device has no memory for it
   */
  constructor(config: ModelConfig, maxPages: number, dtype: CacheType = 'float32', device: Device = 'cpu') {
    this.maxPages = maxPages;
    this.#device = device;
    const shape = [config.num_hidden_layers, maxPages, PAGE_TOKENS, entryWidth(config)];
    this.#memory = memory(shape, dtype, device);
    this.layers = Array.from({ length: config.num_hidden_layers }, (_, i) =>
      scope(() => keep(this.#memory.select(0, i))),
    );
  }

  /** Pages that sequences have. */
  get used(): number {
    return this.#users.length - this.#free.length;
  }

  /** A page for one sequence. @throws Error when all maxPages are in use: reserve before. */
  take(): number {
    const page = this.#free.pop() ?? this.#users.length;
    if (page >= this.maxPages) throw new Error(`the cache has no page left: all ${this.maxPages} are in use`);
    this.#users[page] = 1;
    return page;
  }

  /** One more sequence uses the page. */
  share(page: number): void {
    this.#users[page] = (this.#users[page] ?? 0) + 1;
  }

  /** One sequence fewer uses the page; free when it was the last. */
  release(page: number): void {
    const left = (this.#users[page] ?? 0) - 1;
    if (left < 0) throw new Error(`page ${page} is given back more often than it was taken`);
    this.#users[page] = left;
    if (left === 0) this.#free.push(page);
  }

  /** Copies whole pages, all layers. */
  copy(from: readonly number[], to: readonly number[]): void {
    if (from.length === 0) return;
    scope(() =>
      noGrad(() => {
        const source = tensor(BigInt64Array.from(from, BigInt), { device: this.#device });
        const target = tensor(BigInt64Array.from(to, BigInt), { device: this.#device });
        for (const layer of this.layers) indexCopy(layer, 0, target, layer.indexSelect(0, source));
      }),
    );
  }

  dispose(): void {
    for (const layer of this.layers) layer.dispose();
    this.#memory.dispose();
  }
}

function memory(shape: readonly number[], dtype: CacheType, device: Device): Tensor {
  // The fused decoder reads nothing that was not written; the plain one multiplies what pads an entry, which must not be NaN.
  const make = (): Tensor =>
    device === 'cpu' ? (ownMemory(shape, dtype, true) as Tensor) : zeros(shape, { dtype, device });
  try {
    return scope(() => keep(make()));
  } catch (cause) {
    if (!isOutOfMemory(cause)) throw cause;
    const [, pages = 0] = shape;
    const gigabytes = (shape.reduce((product, size) => product * size, 1) * itemSize[dtype]) / 1e9;
    throw new Error(
      `${device} has no memory for a cache of ${pages * PAGE_TOKENS} tokens (${gigabytes.toFixed(1)} GB in ${dtype}): ` +
        'lower --cache-tokens or --rows; in a recipe sampling.max_tokens, or how many responses a step asks for',
      { cause },
    );
  }
}

const indexCopy = op('aten::index_copy_');
const ownMemory = op('dunwu::own_memory');
