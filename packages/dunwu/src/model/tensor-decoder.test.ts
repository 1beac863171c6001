import { liveTensors, noGrad, op, runtimeInfo, scope, tensor } from '@dunwu/torch';
import { describe, expect, it } from 'vitest';
import { PagedCache } from './paged-cache.js';
import { MOST_RECORDED, TensorDecoder } from './tensor-decoder.js';
import { decode, MODELS, whole } from './testing/decoding.js';
import { moved } from './testing/moved.js';
import { expectRounded } from './testing/rounded.js';
import { difference, rows, tinyDense, tinyModel } from './testing/tiny.js';

/** A GPU where there is one, else what stands for one (native/stand_in.cpp): never both, of which one alone is libtorch's accelerator. */
const onGpu = runtimeInfo().cudaDevices > 0;
const OTHER = onGpu ? 'cuda' : (op('dunwu::stand_in')() as string);

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
    expectRounded(make, TensorDecoder);
  });
});

describe.each([OTHER])('on %s', (device) => {
  const plain = MODELS.filter(([name]) => !name.includes('adapters'));

  it.each(plain)('%s: what it says on the CPU', (_name, make) => {
    const model = make();
    const there = moved(model, device);
    const texts = rows(5, 24).map((text, i) => text.slice(0, 24 - i));
    const expected = decode(model, texts, 19, { piece: 7, Kind: TensorDecoder });
    decode(there, texts, 19, { piece: 7, Kind: TensorDecoder }).forEach((steps, row) => {
      steps.forEach((logits, i) => {
        const own = tensor(Float32Array.from(expected[row]?.[i] ?? []));
        expect(difference(tensor(Float32Array.from(logits)), own)).toBeLessThan(2e-5 * own.abs().amax().item());
      });
    });
    there.dispose();
    model.dispose();
  });
});

it.each(['cpu', OTHER])('more columns than are recorded, on %s: experts are sorted', (device) => {
  const model = tinyModel(1);
  const there = moved(model, device);
  const texts = rows(35, 17);
  const expected = decode(model, texts, 16);
  decode(there, texts, 16, { Kind: TensorDecoder }).forEach((steps, row) => {
    steps.forEach((logits, i) => {
      const own = tensor(Float32Array.from(expected[row]?.[i] ?? []));
      expect(difference(tensor(Float32Array.from(logits)), own)).toBeLessThan(1e-5 * own.abs().amax().item());
    });
  });
  expect(texts.length * 16).toBeGreaterThan(MOST_RECORDED);
  there.dispose();
  model.dispose();
});

it.skipIf(onGpu).each([
  ['latent attention, few columns and many', () => tinyModel(1)],
  ['grouped queries', () => tinyDense('qwen3', 2)],
])('%s: a step waits for nothing, in either type', (_name, make) => {
  const model = make();
  const there = moved(model, OTHER);
  for (const dtype of ['float32', 'bfloat16'] as const) {
    const decoder = new TensorDecoder(there, dtype);
    const cache = new PagedCache(model.config, 4, dtype, OTHER);
    for (const columns of [1, 7]) {
      op('dunwu::stand_in_waits')();
      scope(() => {
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
        expect(op('dunwu::stand_in_waits')()).toBe(0);
        expect(String(logits)).toBe(`float32[1, 24] on ${there.device}`);
      });
    }
    decoder.dispose();
    cache.dispose();
  }
  there.dispose();
  model.dispose();
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
  for (const layer of cache.layers) layer.fill_(0);
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
