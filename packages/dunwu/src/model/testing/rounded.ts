import { noGrad, scope, tensor } from '@dunwu/torch';
import { expect } from 'vitest';
import type { CausalModel } from '../causal-model.js';
import { type DecoderKind, decode, whole } from './decoding.js';
import { difference, rows } from './tiny.js';

/** With bfloat16 weights a decoder is near to float32 with the weights so rounded, and the model stays as it was. */
export function expectRounded(make: () => CausalModel, Kind: DecoderKind): void {
  const model = make();
  const before = model.parameters().map(({ tensor: one }) => one.numbers());
  const [text = []] = rows(1, 40);
  const [steps = []] = decode(model, [text], 2, { dtype: 'bfloat16', Kind });
  expect(model.parameters().map(({ tensor: one }) => one.numbers())).toEqual(before);
  scope(() =>
    noGrad(() => {
      for (const { kind, tensor: one } of model.parameters()) {
        if (kind === 'matrix' || kind === 'embedding') one.copy_(one.to('bfloat16').to('float32'));
      }
    }),
  );
  const expected = whole(model, text);
  const differences = steps
    .map((logits, i) => difference(tensor(Float32Array.from(logits)), expected.select(0, 1 + i)))
    .sort((x, y) => x - y);
  // Matrix units round activations too, to 8 bits; now and then that chooses another expert.
  const scale = expected.abs().amax().item();
  expect(differences[Math.floor(differences.length / 2)]).toBeLessThan(0.03 * scale);
  if (model.moeLayers.length === 0) expect(differences.at(-1)).toBeLessThan(0.06 * scale);
  model.dispose();
}
