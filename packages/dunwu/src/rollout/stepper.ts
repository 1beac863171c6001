import type { DecoderStep } from '../model/decoder.js';
import type { PagedCache } from '../model/paged-cache.js';
import type { Sampling } from './sampling-config.js';

/** A token as it is drawn. */
export interface DrawnToken {
  readonly token: number;
  /** Under the tempered distribution before top_k and top_p cut it (sampleTokens). */
  readonly logprob: number;
  /** Under the model's own distribution, whatever the temperature: comparable with `top`. */
  readonly own: number;
  /** The likeliest tokens of the model's own distribution with their log-probabilities, best first, where asked for. */
  readonly top: readonly (readonly [token: number, logprob: number])[];
}

/** A token to draw. */
export interface Draw {
  /** Which of the wanted columns it is drawn from; several may be drawn from one, if they ban the same. */
  readonly from: number;
  /** In [0, 1); not used at temperature 0. */
  readonly uniform: number;
  readonly sampling: Sampling;
  /** Token ids that are never drawn. */
  readonly banned: readonly number[];
  /** How many of the likeliest tokens are wanted. */
  readonly top: number;
}

/** What computes an engine's steps: the model, and the draws from what it says. */
export interface Stepper {
  /** Whether a step can begin before the one before is read: then −1 − i in its `tokens` is the token of draw i of that. */
  readonly ahead: boolean;
  /** Tokens that are computed at one time, where there are fewer rows: prompts are read in pieces of what the rows leave. */
  readonly columns: number;
  /** A cache for its steps. */
  cache(maxPages: number): PagedCache;
  /**
   * Begins a step.
   * @returns waits for it and gives its tokens, one for each draw; to be called once, in the order of the steps
   * @throws Error when the step's numbers are beyond the model or the cache; and from what is returned, when logits are not finite
   */
  start(step: DecoderStep, draws: readonly Draw[], cache: PagedCache): () => DrawnToken[];
  dispose(): void;
}

/** Whether draws are one for each column, in order. */
export function isOneForEach(draws: readonly Draw[], wanted: number): boolean {
  return draws.length === wanted && draws.every(({ from }, i) => from === i);
}

/** The likeliest tokens of a draw. @param best of every wanted column `most` values and ids, one column after another */
export function likeliest(
  { from, top }: Draw,
  most: number,
  best: { readonly values: ArrayLike<number>; readonly ids: ArrayLike<number | bigint> } | null,
): DrawnToken['top'] {
  if (best === null) return NONE;
  return Array.from({ length: top }, (_, rank) => {
    const at = from * most + rank;
    return [Number(best.ids[at]), best.values[at] as number] as const;
  });
}

const NONE: DrawnToken['top'] = [];
