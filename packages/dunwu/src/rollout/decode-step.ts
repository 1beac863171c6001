import { arange, full, noGrad, scope, type Tensor, tensor } from '@dunwu/torch';
import type { CausalModel } from '../model/causal-model.js';
import type { TokenCache } from '../model/token-cache.js';

/** A row of the batch: the tokens it has so far, prompt and response, and the last of them. */
export interface DecodedRow {
  readonly length: number;
  readonly last: number;
}

/**
 * One step of decoding: each row's last token is computed on top of its cache. What longer rows have beyond a row's own
 * length is masked.
 * @returns logits of the next tokens [rows, vocabulary], the caller's to dispose
 */
export function decodeStep(model: CausalModel, cache: TokenCache, rows: readonly DecodedRow[]): Tensor {
  const keys = rows.reduce((most, { length }) => Math.max(most, length), 0);
  return scope(() =>
    noGrad(() => {
      const tokens = tensor(BigInt64Array.from(rows, ({ last }) => BigInt(last)));
      const at = tensor(
        BigInt64Array.from(rows, ({ length }) => BigInt(length - 1)),
        { shape: [rows.length, 1] },
      );
      const mask = full([rows.length, keys], 0)
        .maskedFill(arange(0, keys, 1, { dtype: 'int64' }).unsqueeze(0).gt(at), Number.NEGATIVE_INFINITY)
        .view([rows.length, 1, 1, keys]);
      return model.logits(model.step(tokens, at, cache, keys, mask));
    }),
  );
}
