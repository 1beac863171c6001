import { copyToDevice, type Device, empty, itemSize, keep, noGrad, op, scope, type Tensor, zeros } from '@dunwu/torch';
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

/** Pages that `tokens` tokens need. */
export function pagesFor(tokens: number): number {
  return Math.ceil(tokens / PAGE_TOKENS);
}

/**
 * What decoding remembers of the tokens before, in pages of {@link PAGE_TOKENS} tokens (vLLM, arXiv 2309.06180, §4): sequences
 * take pages as they grow and give them back as they end, and those that begin alike share the pages of their beginning. Memory is
 * taken as it is needed, up to `maxPages`: on the CPU by the system, which gives a page its memory when it is first written; elsewhere
 * the cache grows.
 */
export class PagedCache {
  readonly maxPages: number;
  readonly #width: number;
  readonly #dtype: CacheType;
  readonly #device: Device;
  readonly #depth: number;
  /** Of all layers, in one piece: large enough that the system takes it back as soon as it is freed. */
  #memory: Tensor;
  #layers: Tensor[];
  #pages: number;
  /** How many sequences use each page. */
  readonly #users: number[] = [];
  readonly #free: number[] = [];

  /** @param dtype that of the decoder, as is `device` */
  constructor(config: ModelConfig, maxPages: number, dtype: CacheType = 'float32', device: Device = 'cpu') {
    this.maxPages = maxPages;
    this.#width = entryWidth(config);
    this.#depth = config.num_hidden_layers;
    this.#dtype = dtype;
    this.#device = device;
    this.#pages = device === 'cpu' ? maxPages : Math.min(maxPages, FIRST_PAGES);
    this.#memory = this.#room(this.#pages);
    this.#layers = this.#views();
    this.#grown(0);
  }

  #room(pages: number): Tensor {
    const shape = [this.#depth, pages, PAGE_TOKENS, this.#width];
    const options = { dtype: this.#dtype, device: this.#device };
    // The fused decoder reads nothing that was not written; the plain one multiplies what pads an entry, which must not be NaN.
    return scope(() => keep(this.#device === 'cpu' ? empty(shape, options) : zeros(shape, options)));
  }

  #views(): Tensor[] {
    return Array.from({ length: this.#depth }, (_, i) => scope(() => keep(this.#memory.select(0, i))));
  }

  #grown(from: number): void {
    for (let page = this.#pages - 1; page >= from; page--) {
      this.#users[page] = 0;
      this.#free.push(page);
    }
  }

  /** One tensor a layer, [pages, PAGE_TOKENS, numbers of an entry]; how a page is laid out is the decoder's matter. Valid until the next {@link take}. */
  get layers(): readonly Tensor[] {
    return this.#layers;
  }

  /** Pages that sequences have. */
  get used(): number {
    return this.#pages - this.#free.length;
  }

  /** Bytes held, used or not. */
  get bytes(): number {
    return this.#memory.numel * itemSize[this.#dtype];
  }

  /** A page for one sequence. @throws Error when all maxPages are in use: reserve before. */
  take(): number {
    if (this.#free.length === 0) this.#grow();
    const page = this.#free.pop() as number;
    this.#users[page] = 1;
    return page;
  }

  #grow(): void {
    const before = this.#pages;
    if (before >= this.maxPages) throw new Error(`the cache has no page left: all ${this.maxPages} are in use`);
    const pages = Math.min(this.maxPages, 2 * before);
    const larger = this.#room(pages);
    scope(() => noGrad(() => larger.narrow(1, 0, before).copy_(this.#memory)));
    this.dispose();
    this.#memory = larger;
    this.#layers = this.#views();
    this.#pages = pages;
    this.#grown(before);
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
        const source = copyToDevice(BigInt64Array.from(from, BigInt), this.#device);
        const target = copyToDevice(BigInt64Array.from(to, BigInt), this.#device);
        for (const layer of this.#layers) indexCopy(layer, 0, target, layer.indexSelect(0, source));
      }),
    );
  }

  dispose(): void {
    for (const layer of this.#layers) layer.dispose();
    this.#memory.dispose();
  }
}

/** A cache that grows begins with so many pages, and doubles. */
const FIRST_PAGES = 64;

const indexCopy = op('aten::index_copy_');
