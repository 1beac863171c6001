import type { Tensor } from '@dunwu/torch';
import type { Linear } from './linear.js';
import type { Parameter } from './parameter.js';
import type { TokenCache } from './token-cache.js';

/** Where every token of a batch stands, computed once and shared by all layers. */
export interface AttentionContext {
  /** Rotary cosine and sine of each token, [batch · time, rotated width / 2]. */
  readonly cosine: Tensor;
  readonly sine: Tensor;
  /** Added to the scores before the softmax: 0 to attend, −inf not to; broadcast to [batch, heads, time, keys]. */
  readonly mask: Tensor;
}

/** What a decoding step attends to: new tokens go to `positions` (int64 [rows, time]), and `keys` entries are looked at. */
export interface CacheView {
  readonly store: TokenCache;
  readonly positions: Tensor;
  readonly keys: number;
}

/** The attention of one layer, whatever its kind. */
export interface Attention {
  /**
   * All tokens at once, for training, scoring and prefill.
   * @param x [batch · time, hidden]
   * @param cache when given, receives what later tokens need of these, at positions 0..time−1 of its rows
   * @returns [batch · time, hidden]
   */
  forward(x: Tensor, batch: number, context: AttentionContext, cache?: TokenCache, layer?: number): Tensor;
  /** One decoding step: appends the new tokens to the cache and attends to all of it. Shapes as in `forward`. */
  decode(x: Tensor, batch: number, context: AttentionContext, cache: CacheView, layer: number): Tensor;
  /** Its projections. */
  linears(): Linear[];
  parameters(prefix: string): Parameter[];
}
