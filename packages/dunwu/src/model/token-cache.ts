import { arange, itemSize, keep, scope, type Tensor, zeros } from '@dunwu/torch';

/**
 * What decoding remembers of the tokens before: per layer [rows, capacity, kv_lora_rank + rope width]. Rows are
 * sequences; they can be repeated (a group shares its prompt's prefill) and dropped (finished ones stop costing).
 */
export class TokenCache {
  #layers: Tensor[];
  #rows: Tensor;
  readonly capacity: number;

  private constructor(layers: Tensor[], capacity: number) {
    this.#layers = layers;
    this.capacity = capacity;
    this.#rows = TokenCache.#index(layers[0]?.size(0) ?? 0);
  }

  static #index(rows: number): Tensor {
    return scope(() => keep(arange(0, rows, 1, { dtype: 'int64' }).unsqueeze(1)));
  }

  /** Room for `rows` sequences of up to `capacity` tokens, `width` numbers each. */
  static create(layers: number, rows: number, capacity: number, width: number, device = 'cpu'): TokenCache {
    return new TokenCache(
      Array.from({ length: layers }, () => scope(() => keep(zeros([rows, capacity, width], { device })))),
      capacity,
    );
  }

  get rows(): number {
    return this.#rows.size(0);
  }

  /** Bytes held. */
  get bytes(): number {
    return this.#layers.reduce((sum, layer) => sum + layer.numel * itemSize[layer.dtype], 0);
  }

  /** Writes the first T tokens of every row: entries [rows, T, width]. */
  fill(layer: number, entries: Tensor): void {
    this.#layer(layer).narrow(1, 0, entries.size(1)).copy_(entries);
  }

  /** Writes T tokens of every row at the row's own positions: entries [rows, T, width], positions int64 [rows, T]. */
  append(layer: number, entries: Tensor, positions: Tensor): void {
    this.#layer(layer).indexPut_([this.#rows, positions], entries);
  }

  /** The first `keys` tokens of every row, a view [rows, keys, width]. */
  read(layer: number, keys: number): Tensor {
    return this.#layer(layer).narrow(1, 0, keys);
  }

  /** A cache with each row repeated: row i of the new one is row `rows[i]` of this one, for the first `used` tokens. */
  gather(rows: Tensor, used: number, capacity = this.capacity): TokenCache {
    const layers = this.#layers.map((layer) =>
      scope(() => {
        const picked = layer.narrow(1, 0, used).indexSelect(0, rows);
        const [count, , width] = picked.shape as [number, number, number];
        const grown = zeros([count, capacity, width], { dtype: layer.dtype, device: layer.device });
        grown.narrow(1, 0, used).copy_(picked);
        return keep(grown);
      }),
    );
    return new TokenCache(layers, capacity);
  }

  /** Keeps only the given rows (int64 [n]), in that order. */
  compact(rows: Tensor): void {
    this.#layers = this.#layers.map((layer) => {
      const kept = scope(() => keep(layer.indexSelect(0, rows)));
      layer.dispose();
      return kept;
    });
    this.#rows.dispose();
    this.#rows = TokenCache.#index(rows.size(0));
  }

  dispose(): void {
    for (const layer of this.#layers) layer.dispose();
    this.#rows.dispose();
  }

  #layer(index: number): Tensor {
    const layer = this.#layers[index];
    if (layer === undefined) throw new Error(`the cache has ${this.#layers.length} layers, not layer ${index}`);
    return layer;
  }
}
