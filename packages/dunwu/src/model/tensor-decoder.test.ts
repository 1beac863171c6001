import { liveTensors, noGrad, runtimeInfo, scope, type Tensor, tensor } from '@dunwu/torch';
import { describe, expect, it, vi } from 'vitest';
import type { CausalModel } from './causal-model.js';
import { PagedCache } from './paged-cache.js';
import { TensorDecoder } from './tensor-decoder.js';
import { decode, MODELS } from './testing/decoding.js';
import { moved } from './testing/moved.js';
import { difference, ids, rows, tinyDense, tinyModel } from './testing/tiny.js';

// libtorch's 'meta' device has shapes and no data: an operator that reads a value, or is given a tensor of another device, fails
// there. It lacks this one: its shape is that of the queries with the values' width.
vi.mock('@dunwu/torch', async (original) => {
  const torch = await original<typeof import('@dunwu/torch')>();
  return {
    ...torch,
    scaledDotProductAttention: (query: Tensor, key: Tensor, value: Tensor, mask: Tensor, ...rest: never[]): Tensor => {
      if (query.device !== 'meta') return torch.scaledDotProductAttention(query, key, value, mask, ...rest);
      for (const one of [key, value, mask]) expect(one.device).toBe('meta');
      return torch.zeros([...query.shape.slice(0, 3), value.size(3)], { dtype: query.dtype, device: 'meta' });
    },
  };
});

const whole = (model: CausalModel, text: readonly number[]): Tensor =>
  noGrad(() => model.logits(model.forward({ tokens: ids([[...text]]) }).hidden));

describe.each(MODELS)('%s', (_name, make) => {
  // Few rows fetch the experts that they chose; many read all of them.
  it.each([1, 5])('%d texts of several lengths: what the fused decoder says, and the whole text at once', (count) => {
    const model = make();
    const texts = rows(count, 40).map((text, i) => text.slice(0, 40 - 3 * i));
    const fused = decode(model, texts, 19, { piece: 7 });
    decode(model, texts, 19, { piece: 7, Kind: TensorDecoder }).forEach((steps, row) => {
      const expected = whole(model, texts[row] as number[]);
      // Relative to the largest logit, about 4.
      const scale = expected.abs().amax().item();
      expect(steps.length).toBe((texts[row] as number[]).length - 18);
      steps.forEach((logits, i) => {
        const found = tensor(Float32Array.from(logits));
        expect(difference(found, tensor(Float32Array.from(fused[row]?.[i] ?? [])))).toBeLessThan(1e-5 * scale);
        expect(difference(found, expected.select(0, 18 + i))).toBeLessThan(2e-5 * scale);
      });
    });
    model.dispose();
  });

  it('in bfloat16: near to float32 with the weights so rounded; the model stays as it was', () => {
    const model = make();
    const before = model.parameters().map(({ tensor: one }) => one.numbers());
    const [text = []] = rows(1, 40);
    const [steps = []] = decode(model, [text], 2, { dtype: 'bfloat16', Kind: TensorDecoder });
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
    // Activations are rounded too, to 8 bits; now and then that chooses another expert.
    const scale = expected.abs().amax().item();
    expect(differences[Math.floor(differences.length / 2)]).toBeLessThan(0.03 * scale);
    if (model.moeLayers.length === 0) expect(differences.at(-1)).toBeLessThan(0.06 * scale);
    model.dispose();
  });
});

describe('on a device without data', () => {
  const METAS: [name: string, make: () => CausalModel][] = [
    ['latent', () => tinyModel(1)],
    ['grouped', () => tinyDense('qwen3', 2)],
  ];

  it.each(METAS)('%s: nothing is read back, nothing lies elsewhere, in either type', (_name, make) => {
    const model = make();
    for (const dtype of ['float32', 'bfloat16'] as const) {
      scope(() => {
        const decoder = new TensorDecoder(moved(model, 'meta'), dtype);
        expect(decoder.device).toBe('meta');
        const cache = new PagedCache(model.config, 4, dtype, 'meta');
        for (const columns of [1, 3]) {
          const logits = decoder.step(
            {
              tokens: Int32Array.from({ length: columns }, (_, i) => i),
              lengths: Int32Array.from({ length: columns }, (_, i) => i + 1),
              sequences: new Int32Array(columns),
              pages: Int32Array.of(0, 1),
              pagesEach: 2,
              wanted: Int32Array.of(columns - 1),
            },
            cache,
          );
          expect(String(logits)).toBe('float32[1, 24] on meta');
        }
        decoder.dispose();
        cache.dispose();
      });
    }
    model.dispose();
  });
});

describe.skipIf(runtimeInfo().cudaDevices === 0)('on a CUDA device', () => {
  it.each(MODELS)('%s: what it says on the CPU', (_name, make) => {
    const model = make();
    const there = moved(model, 'cuda');
    const texts = rows(5, 40).map((text, i) => text.slice(0, 40 - 3 * i));
    const expected = decode(model, texts, 19, { piece: 7, Kind: TensorDecoder });
    decode(there, texts, 19, { piece: 7, Kind: TensorDecoder }).forEach((steps, row) => {
      steps.forEach((logits, i) => {
        const own = tensor(Float32Array.from(expected[row]?.[i] ?? []));
        expect(difference(tensor(Float32Array.from(logits)), own)).toBeLessThan(2e-5 * own.abs().amax().item());
      });
    });
    model.dispose();
  });
});

it('leaves no tensor behind', () => {
  const model = tinyModel(1);
  whole(model, [1, 2, 3]);
  const before = liveTensors();
  decode(model, rows(3, 20), 2, { dtype: 'bfloat16', Kind: TensorDecoder });
  expect(liveTensors()).toBe(before);
  model.dispose();
});

it('a later update of float32 weights is seen', () => {
  const model = tinyModel(1);
  const decoder = new TensorDecoder(model, 'float32');
  const cache = new PagedCache(model.config, 1);
  const page = cache.take();
  const sums = (): number[] =>
    scope(() => {
      const one = {
        tokens: Int32Array.of(3),
        lengths: Int32Array.of(1),
        sequences: Int32Array.of(0),
        pages: Int32Array.of(page),
        pagesEach: 1,
        wanted: Int32Array.of(0),
      };
      return decoder.step(one, cache).numbers();
    });
  const before = sums();
  scope(() => noGrad(() => model.headWeight.mul_(2)));
  expect(sums()).toEqual(before.map((value) => 2 * value));
  cache.dispose();
  decoder.dispose();
  model.dispose();
});
