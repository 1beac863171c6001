import { noGrad, scope } from '@dunwu/torch';
import type { Decodable } from '../model/decodable.js';
import { Decoder, type DecoderStep, type DecoderType } from '../model/decoder.js';
import { PagedCache } from '../model/paged-cache.js';
import { drawTokens } from './sampling.js';
import { type Draw, type DrawnToken, likeliest, type Stepper } from './stepper.js';

/**
 * Columns of a step: what the rows that are decoded leave of them is filled with tokens of prompts. Where bfloat16 is multiplied on matrix
 * units, reading the weights once more costs more than the memory of twice as many.
 */
export const fusedColumns = (dtype: DecoderType): number => (dtype === 'bfloat16' ? 512 : 256);

/** Steps on the CPU: the fused decoder, and the fused sampler. What it returns is there at once. */
export class FusedStepper implements Stepper {
  readonly ahead = false;
  readonly columns: number;
  readonly #model: Decodable;
  readonly #decoder: Decoder;

  constructor(model: Decodable, dtype?: DecoderType) {
    this.#model = model;
    this.#decoder = new Decoder(model, dtype);
    this.columns = fusedColumns(this.#decoder.dtype);
  }

  cache(maxPages: number): PagedCache {
    return new PagedCache(this.#model.config, maxPages, this.#decoder.dtype);
  }

  start(step: DecoderStep, draws: readonly Draw[], cache: PagedCache): () => DrawnToken[] {
    const drawn = scope(() =>
      noGrad(() => {
        const logits = this.#decoder.step(step, cache);
        for (const { from, banned } of draws) {
          for (const id of banned) logits.select(0, from).narrow(0, id, 1).fill_(Number.NEGATIVE_INFINITY);
        }
        const { tokens, logprobs, raw } = drawTokens(
          logits,
          draws.map(({ from }) => from),
          draws.map(({ uniform }) => uniform),
          draws.map(({ sampling }) => sampling),
        );
        const most = draws.reduce((most, { top }) => Math.max(most, top), 0);
        const found = most === 0 ? null : logits.sub(logits.logsumexp(-1, true)).topk(most, -1);
        const best = found === null ? null : { values: found[0].numbers(), ids: found[1].numbers() };
        return draws.map((draw, i) => ({
          token: tokens[i] as number,
          logprob: logprobs[i] as number,
          own: raw[i] as number,
          top: likeliest(draw, most, best),
        }));
      }),
    );
    return () => drawn;
  }

  dispose(): void {
    this.#decoder.dispose();
  }
}
