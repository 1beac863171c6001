import { describe, expect, it } from 'vitest';
import { Random } from '../util/random.js';
import { type PackedBatch, Packer, type TokenDocument } from './packing.js';

const from = (documents: readonly TokenDocument[]) => {
  let at = 0;
  return () => documents[at++];
};
const docs = (...all: number[][]): TokenDocument[] => all.map((tokens) => ({ tokens }));

function packAll(packer: Packer, pull: () => TokenDocument | undefined): PackedBatch[] {
  const batches: PackedBatch[] = [];
  for (let batch = packer.next(pull); batch !== undefined; batch = packer.next(pull)) batches.push(batch);
  return batches;
}

/** Documents of random lengths whose tokens are all different, so that any loss or doubling shows. */
function randomDocuments(count: number, longest: number): TokenDocument[] {
  const rng = new Random(count);
  let token = 1;
  return Array.from({ length: count }, () => ({ tokens: Array.from({ length: rng.int(0, longest) }, () => token++) }));
}

const kept = (batches: PackedBatch[]) =>
  batches.flatMap(({ tokens, segments }) => [...tokens].filter((_, i) => segments[i] !== -1));

describe('Packer', () => {
  it('strings documents together and cuts them (split): worked by hand', () => {
    const batch = new Packer({ batch: 2, time: 4 }).next(from(docs([1, 2, 3], [4, 5, 6, 7, 8, 9], [10, 11])));
    expect(batch).toEqual({
      batch: 2,
      time: 4,
      tokens: Int32Array.of(1, 2, 3, 4, 5, 6, 7, 8, 9, 10),
      segments: Int32Array.of(0, 0, 0, 1, 1, 0, 0, 0, 0, 1),
      positions: Int32Array.of(0, 1, 2, 0, 1, 0, 1, 2, 3, 0),
      lossMask: Float32Array.of(1, 1, 0, 1, 1, 1, 1, 0),
      tokenCount: 10,
    });
  });

  it('keeps documents whole (fit): worked by hand', () => {
    // Row 1: the oldest (3 tokens), then of what fits in 2 the longest: [9, 9]. Row 2: [4 4 4 4], then [5].
    const batch = new Packer({ batch: 2, time: 4, overflow: 'fit', pad: 77 }).next(
      from(docs([1, 2, 3], [4, 4, 4, 4], [9, 9])),
    );
    expect(batch?.tokens).toEqual(Int32Array.of(1, 2, 3, 9, 9, 4, 4, 4, 4, 77));
    expect(batch?.segments).toEqual(Int32Array.of(0, 0, 0, 1, 1, 0, 0, 0, 0, -1));
    expect(batch?.positions).toEqual(Int32Array.of(0, 1, 2, 0, 1, 0, 1, 2, 3, 0));
    expect(batch?.lossMask).toEqual(Float32Array.of(1, 1, 0, 1, 1, 1, 1, 0));
    expect(batch?.tokenCount).toBe(9);
  });

  it('weights the loss by the mask of the target token, also behind a cut', () => {
    const document = { tokens: [1, 2, 3, 4, 5, 6], mask: [0, 0, 1, 1, 0.5, 1] };
    const batch = new Packer({ batch: 2, time: 3 }).next(from([document]));
    // row 1 has targets 2 3 4, row 2 starts with 5 and has target 6
    expect(batch?.lossMask).toEqual(Float32Array.of(0, 1, 1, 1, 0, 0));
  });

  it.each(['split', 'fit'] as const)('drops and doubles no token (%s)', (overflow) => {
    const documents = randomDocuments(500, 40);
    const batches = packAll(new Packer({ batch: 3, time: 16, overflow, lookahead: 8 }), from(documents));
    const all = documents.flatMap(({ tokens }) => tokens);
    const found = kept(batches);
    expect(found.length).toBe(all.length);
    expect(overflow === 'split' ? found : found.toSorted((a, b) => a - b)).toEqual(all);
    expect(batches.reduce((sum, { tokenCount }) => sum + tokenCount, 0)).toBe(all.length);
    const first = new Set(documents.map(({ tokens }) => tokens[0]));
    for (const { tokens, segments, positions, lossMask, batch, time } of batches) {
      for (let row = 0; row < batch; row++) {
        for (let t = 0; t <= time; t++) {
          const at = row * (time + 1) + t;
          if (segments[at] === -1) {
            expect([tokens[at], positions[at]]).toEqual([0, 0]);
            continue;
          }
          const continues = t > 0 && segments[at] === segments[at - 1];
          // inside a document tokens are consecutive; a segment starts with a document or, in column 0, with its rest
          if (continues)
            expect([tokens[at], positions[at]]).toEqual([(tokens[at - 1] ?? 0) + 1, (positions[at - 1] ?? 0) + 1]);
          else {
            expect(positions[at]).toBe(0);
            if (t > 0) expect(first.has(tokens[at])).toBe(true);
          }
          if (t > 0) expect(lossMask[row * time + t - 1]).toBe(continues ? 1 : 0);
        }
      }
    }
  });

  it('wastes little on padding when it may choose among documents', () => {
    const documents = randomDocuments(3000, 80);
    const padding = (lookahead: number) => {
      const batches = packAll(new Packer({ batch: 8, time: 127, overflow: 'fit', lookahead }), from(documents));
      return (
        1 -
        batches.reduce((sum, one) => sum + one.tokenCount, 0) / batches.reduce((sum, one) => sum + one.tokens.length, 0)
      );
    };
    expect(padding(64)).toBeLessThan(0.02);
    expect(padding(1)).toBeGreaterThan(0.1);
  });

  it.each(['split', 'fit'] as const)('goes on from its state bit for bit (%s)', (overflow) => {
    const documents = randomDocuments(300, 50).map(({ tokens }) => ({
      tokens,
      mask: tokens.map((token) => token % 2),
    }));
    const config = { batch: 2, time: 20, overflow, lookahead: 5 };
    const expected = packAll(new Packer(config), from(documents));
    for (const stop of [0, 1, 7, expected.length]) {
      let read = 0;
      const pull = () => documents[read++];
      const first = new Packer(config);
      for (let i = 0; i < stop; i++) first.next(pull);
      const second = new Packer(config);
      second.restore(JSON.parse(JSON.stringify(first.state)));
      expect(packAll(second, pull)).toEqual(expected.slice(stop));
    }
  });

  it('refuses what it cannot pack', () => {
    expect(() => new Packer({ batch: 1, time: 4 }).next(() => ({ tokens: [] }))).toThrow(
      '10,000 documents in a row have no tokens',
    );
    expect(() => new Packer({ batch: 1, time: 4 }).next(() => ({ tokens: [1, 2], mask: [1] }))).toThrow(
      'a document has 2 tokens but a mask of 1',
    );
    expect(() => new Packer({ batch: 0, time: 4 })).toThrow('batch');
    expect(() => new Packer({ batch: 1, time: 4 }).restore({ waiting: 'x' })).toThrow('waiting');
    expect(new Packer({ batch: 1, time: 4 }).next(() => undefined)).toBeUndefined();
  });
});
