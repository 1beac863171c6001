import { z } from 'zod';
import { Random } from '../util/random.js';
import type { DocumentSource } from './document.js';

const stateSchema = z.strictObject({ epoch: z.int().min(0), at: z.int().min(0) });

/**
 * A list gone through `epochs` times (Infinity: without end), in another order each time that the seed decides. Its
 * state is two numbers.
 */
export class ShuffledRows<T> implements DocumentSource<T> {
  readonly #rows: readonly T[];
  readonly #epochs: number;
  readonly #seed: number | string;
  #epoch = 0;
  #at = 0;
  #order: number[] | undefined;

  constructor(rows: readonly T[], options: { readonly seed: number | string; readonly epochs: number }) {
    this.#rows = rows;
    this.#epochs = options.epochs;
    this.#seed = options.seed;
  }

  next(): T | undefined {
    if (this.#rows.length === 0) return undefined;
    if (this.#at === this.#rows.length) {
      this.#epoch += 1;
      this.#at = 0;
      this.#order = undefined;
    }
    if (this.#epoch >= this.#epochs) return undefined;
    this.#order ??= new Random(`${this.#seed}/epoch ${this.#epoch}`).shuffle(this.#rows.map((_, i) => i));
    return this.#rows[this.#order[this.#at++] as number];
  }

  get state(): z.output<typeof stateSchema> {
    return { epoch: this.#epoch, at: this.#at };
  }

  restore(state: unknown): void {
    const { epoch, at } = stateSchema.parse(state);
    if (at > this.#rows.length) {
      throw new Error(`the stored place is row ${at}, there are ${this.#rows.length}: the data was changed`);
    }
    this.#epoch = epoch;
    this.#at = at;
    this.#order = undefined;
  }

  close(): void {}
}
