import type { Sequences, Tensor } from '@dunwu/torch';
import type { DecoderParts } from './decoder-parts.js';
import type { Linear } from './linear.js';
import type { Parameter } from './parameter.js';
import type { TokenCache } from './token-cache.js';

/** Where every token of a batch stands, computed once and shared by all layers. */
export interface AttentionContext {
  /** Rotary cosine and sine of each token, [batch · time, rotated width / 2]. */
  readonly cosine: Tensor;
  readonly sine: Tensor;
  /**
   * Added to the scores before the softmax: 0 to attend, −inf not to; broadcast to [batch, heads, time, keys]. Null: each token
   * sees those of its row from its start on, up to itself, by the fused operators that never hold the scores.
   */
  readonly mask: Tensor | null;
  /** Where, without a mask, what a token sees begins: int64 [batch, time], places in its row. Null: all rows' begin. */
  readonly starts: Tensor | null;
  /** The same as whole sequences, where the caller knows them. */
  readonly sequences: Sequences | null;
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
  decoderParts(): DecoderParts;
  /** Its projections. */
  linears(): Linear[];
  parameters(prefix: string): Parameter[];
}

/** The mask, where a way to compute needs one. */
export function requireMask({ mask }: AttentionContext): Tensor {
  if (mask === null) throw new Error('attention: this way to compute needs a mask');
  return mask;
}
