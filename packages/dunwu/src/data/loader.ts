import { z } from 'zod';
import type { DocumentSource } from './document.js';
import { type PackedBatch, Packer, type PackerState, type packingSchema, type TokenDocument } from './packing.js';

/** Where a loader stands; plain JSON. */
export interface LoaderState {
  readonly source: unknown;
  readonly packer: PackerState;
  readonly documents: number;
  readonly tokens: number;
}

const stateSchema = z.strictObject({
  source: z.unknown(),
  packer: z.unknown(),
  documents: z.int().min(0),
  tokens: z.int().min(0),
});

/**
 * Source → tokens → packed batches. `state` between two batches, given to `restore` of a loader made from the same
 * configuration, gives the same batches, bit for bit.
 */
export class Loader<D> {
  readonly #source: DocumentSource<D>;
  readonly #encode: (document: D) => TokenDocument;
  readonly #packer: Packer;
  #documents = 0;
  #tokens = 0;

  /** @param encode the document's token ids, or ids with a loss mask. Must depend on nothing but the document. */
  constructor(
    source: DocumentSource<D>,
    encode: (document: D) => readonly number[] | TokenDocument,
    packing: z.input<typeof packingSchema>,
  ) {
    this.#source = source;
    this.#encode = (document) => {
      const encoded = encode(document);
      return 'tokens' in encoded ? encoded : { tokens: encoded };
    };
    this.#packer = new Packer(packing);
  }

  /** The next batch; undefined when a finite source is used up. */
  next(): PackedBatch | undefined {
    const batch = this.#packer.next(() => {
      const document = this.#source.next();
      if (document === undefined) return undefined;
      this.#documents += 1;
      return this.#encode(document);
    });
    this.#tokens += batch?.tokenCount ?? 0;
    return batch;
  }

  /** Documents read so far (some may still wait to be packed). */
  get documents(): number {
    return this.#documents;
  }

  /** Tokens given out so far, padding not counted. */
  get tokens(): number {
    return this.#tokens;
  }

  get state(): LoaderState {
    return {
      source: this.#source.state,
      packer: this.#packer.state,
      documents: this.#documents,
      tokens: this.#tokens,
    };
  }

  restore(state: unknown): void {
    const { source, packer, documents, tokens } = stateSchema.parse(state);
    this.#source.restore(source);
    this.#packer.restore(packer);
    this.#documents = documents;
    this.#tokens = tokens;
  }

  close(): void {
    this.#source.close();
  }
}
