import { z } from 'zod';
import { Random, type RandomState } from '../util/random.js';
import type { DocumentSource } from './document.js';

/** A source and how often its documents come, relative to the others. */
export interface WeightedSource<D> {
  readonly weight: number;
  readonly source: DocumentSource<D>;
}

/**
 * Documents of several sources, each drawn with the share that its weight gives. A source that ends is left out from
 * then on; the mixture ends with the last one. Equal seeds give equal documents.
 */
export function createMixtureSource<D>(parts: readonly WeightedSource<D>[], seed: number | string): DocumentSource<D> {
  let rng = new Random(seed);
  let ended = parts.map(() => false);
  return {
    next() {
      while (ended.includes(false)) {
        const weights = Object.fromEntries(parts.map(({ weight }, i) => [String(i), ended[i] ? 0 : weight]));
        const index = Number(rng.weighted(weights));
        const document = parts[index]?.source.next();
        if (document !== undefined) return document;
        ended[index] = true;
      }
      return undefined;
    },
    get state() {
      return { random: rng.state, ended: [...ended], parts: parts.map(({ source }) => source.state) };
    },
    restore(state) {
      const saved = stateSchema.parse(state);
      if (saved.parts.length !== parts.length || saved.ended.length !== parts.length) {
        throw new Error(`mixture: the state is of ${saved.parts.length} sources, there are ${parts.length}`);
      }
      for (const [i, { source }] of parts.entries()) source.restore(saved.parts[i]);
      rng = new Random(saved.random as RandomState);
      ended = saved.ended;
    },
    close() {
      for (const { source } of parts) source.close();
    },
  };
}

const stateSchema = z.strictObject({
  random: z.tuple([z.number(), z.number(), z.number(), z.number()]),
  ended: z.array(z.boolean()),
  parts: z.array(z.unknown()),
});
