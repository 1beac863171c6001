import { z } from 'zod';

/** A tokenised document. `mask[i]` is the loss weight of predicting tokens[i]; without it every token counts 1. */
export interface TokenDocument {
  readonly tokens: readonly number[];
  readonly mask?: readonly number[];
}

export const packingSchema = z.strictObject({
  /** Rows. */
  batch: z.int().min(1),
  /** Positions that are trained on; a row holds time + 1 tokens, inputs and targets being shifted by one. */
  time: z.int().min(1),
  /**
   * `split`: documents are strung together and cut where a row is full; nothing is padded, but what follows the cut
   * has lost its beginning. `fit`: whole documents, the best fitting of `lookahead` waiting ones, and padding; only a
   * document longer than a row is cut.
   */
  overflow: z.enum(['split', 'fit']).default('split'),
  /** Documents that wait to be fitted. Only used by `fit`. */
  lookahead: z.int().min(1).default(64),
  /** Token id that fills a row up. */
  pad: z.int().min(0).default(0),
});

export type PackingConfig = z.output<typeof packingSchema>;

/** Rows of packed documents, row-major. */
export interface PackedBatch {
  readonly batch: number;
  readonly time: number;
  /** [batch, time + 1] */
  readonly tokens: Int32Array;
  /** [batch, time + 1]: which document of its row a token belongs to, from 0; -1 is padding. */
  readonly segments: Int32Array;
  /** [batch, time + 1]: place within the document's part in this row, from 0, so always below time + 1; padding: 0. */
  readonly positions: Int32Array;
  /**
   * [batch, time]: loss weight of predicting tokens[row, t + 1] from tokens[row, ..t]; 0 across a document boundary and
   * in padding.
   */
  readonly lossMask: Float32Array;
  /** Tokens that are not padding. */
  readonly tokenCount: number;
}

/** The documents (or their rests) that are not in a batch yet; plain JSON. */
export interface PackerState {
  readonly waiting: readonly TokenDocument[];
  readonly ended: boolean;
}

const stateSchema = z.strictObject({
  waiting: z.array(z.strictObject({ tokens: z.array(z.int()), mask: z.array(z.number()).optional() })),
  ended: z.boolean(),
});

/**
 * Packs documents into rows of a fixed length. Every token of every document comes out exactly once, in its document's
 * order; `split` keeps the documents' order too.
 */
export class Packer {
  readonly config: PackingConfig;
  readonly #width: number;
  #waiting: TokenDocument[] = [];
  #ended = false;

  constructor(config: z.input<typeof packingSchema>) {
    this.config = packingSchema.parse(config);
    this.#width = this.config.time + 1;
  }

  /**
   * The next batch; undefined when the documents have ended and all are packed (the last batch may end in padding).
   * @param pull gives the next document, or undefined when there are no more. Empty documents are passed over.
   * @throws when a mask is not as long as its tokens, or when 10,000 documents in a row are empty.
   */
  next(pull: () => TokenDocument | undefined): PackedBatch | undefined {
    const { batch, time, pad } = this.config;
    const size = batch * this.#width;
    const rows = {
      tokens: new Int32Array(size).fill(pad),
      segments: new Int32Array(size).fill(-1),
      positions: new Int32Array(size),
      lossMask: new Float32Array(batch * time),
    };
    let tokenCount = 0;
    for (let row = 0; row < batch; row++) {
      let filled = 0;
      for (let segment = 0; filled < this.#width; segment++) {
        const part = this.#take(this.#width - filled, filled === 0, pull);
        if (part === undefined) break;
        for (const [index, token] of part.tokens.entries()) {
          const at = row * this.#width + filled + index;
          rows.tokens[at] = token;
          rows.segments[at] = segment;
          rows.positions[at] = index;
          if (index > 0) rows.lossMask[row * time + filled + index - 1] = part.mask?.[index] ?? 1;
        }
        filled += part.tokens.length;
        tokenCount += part.tokens.length;
      }
    }
    return tokenCount === 0 ? undefined : { batch, time, ...rows, tokenCount };
  }

  get state(): PackerState {
    return { waiting: [...this.#waiting], ended: this.#ended };
  }

  /** Throws when the state does not have the shape of one. */
  restore(state: unknown): void {
    const { waiting, ended } = stateSchema.parse(state);
    this.#waiting = waiting;
    this.#ended = ended;
  }

  /** A document, or the part of one, for `room` tokens; undefined when the row is to be padded. */
  #take(room: number, rowIsEmpty: boolean, pull: () => TokenDocument | undefined): TokenDocument | undefined {
    const { overflow, lookahead } = this.config;
    this.#fill(overflow === 'fit' ? lookahead : 1, pull);
    // A row begins with the document that has waited longest, so that none waits for ever.
    const index = overflow === 'split' || rowIsEmpty ? 0 : this.#longestWithin(room);
    const document = this.#waiting[index];
    if (document === undefined) return undefined;
    if (document.tokens.length <= room) {
      this.#waiting.splice(index, 1);
      return document;
    }
    this.#waiting[index] = cut(document, room);
    return cut(document, 0, room);
  }

  #longestWithin(room: number): number {
    let best = -1;
    for (const [index, { tokens }] of this.#waiting.entries()) {
      if (tokens.length <= room && tokens.length > (this.#waiting[best]?.tokens.length ?? 0)) best = index;
    }
    return best;
  }

  #fill(count: number, pull: () => TokenDocument | undefined): void {
    for (let empty = 0; !this.#ended && this.#waiting.length < count; ) {
      const document = pull();
      if (document === undefined) {
        this.#ended = true;
      } else if (document.tokens.length === 0) {
        if (++empty >= 10_000) throw new Error('packing: 10,000 documents in a row have no tokens');
      } else {
        const { tokens, mask } = document;
        if (mask !== undefined && mask.length !== tokens.length) {
          throw new Error(`packing: a document has ${tokens.length} tokens but a mask of ${mask.length}`);
        }
        this.#waiting.push(document);
        empty = 0;
      }
    }
  }
}

function cut({ tokens, mask }: TokenDocument, start: number, end?: number): TokenDocument {
  return { tokens: tokens.slice(start, end), ...(mask === undefined ? {} : { mask: mask.slice(start, end) }) };
}
