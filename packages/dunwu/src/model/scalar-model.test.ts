import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { liveTensors, manualSeed, noGrad, scope, type Tensor, tensor, writeSafetensors, zeros } from '@dunwu/torch';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { saveModel } from './checkpoint.js';
import { setComputeType } from './compute-type.js';
import { copyScalarModel, loadScalarModel, ScalarModel, saveScalarModel } from './scalar-model.js';
import { ids, tinyModel } from './testing/tiny.js';

const root = mkdtempSync(path.join(os.tmpdir(), 'dunwu-scalar-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const models: ScalarModel[] = [];
afterEach(() => {
  for (const model of models.splice(0)) model.dispose();
});
function scalar(seed: number, overrides = {}): ScalarModel {
  const model = new ScalarModel(tinyModel(seed, overrides));
  model.shift(0.3);
  models.push(model);
  return model;
}

const numbers = (model: ScalarModel, sequences: number[][]): number[] =>
  scope(() => noGrad(() => model.last(sequences).numbers()));
const SEQUENCES = [[3, 9, 14, 2], [5], [3, 9, 14, 2, 7, 7, 20], [1, 2]];

describe('values', () => {
  it('where networks compute in bfloat16: near, float32 still, with gradients for the whole trunk', () => {
    const model = scalar(5, { first_k_dense_replace: 3 });
    const exact = numbers(model, SEQUENCES);
    setComputeType('bfloat16');
    try {
      const short = numbers(model, SEQUENCES);
      expect(short).not.toEqual(exact);
      short.forEach((value, i) => {
        expect(Math.abs(value - (exact[i] as number))).toBeLessThan(0.05);
      });
      scope(() => {
        const { values } = model.forward({ tokens: ids([SEQUENCES[0] as number[]]) });
        expect(values.dtype).toBe('float32');
        values.sum().backward();
      });
      const silent = model.parameters().filter(({ kind, tensor: one }) => kind !== 'buffer' && one.grad === null);
      expect(silent).toEqual([]);
    } finally {
      setComputeType('float32');
    }
  });

  it('are w · hidden + b at every token; `last` is that of the last token', () => {
    const model = scalar(1);
    const tokens = SEQUENCES[2] as number[];
    scope(() =>
      noGrad(() => {
        const { hidden } = model.trunk.forward({ tokens: ids([tokens]) });
        const head = new Map(model.parameters().map((entry) => [entry.name, entry.tensor]));
        const weight = head.get('score.weight')?.numbers() as number[];
        const rows = hidden.numbers();
        const expected = tokens.map((_, t) =>
          weight.reduce((sum, w, i) => sum + w * (rows[t * 16 + i] as number), 0.3),
        );
        const { values } = model.forward({ tokens: ids([tokens]) });
        values.numbers().forEach((value, t) => {
          expect(value).toBeCloseTo(expected[t] as number, 4);
        });
        expect(model.last([tokens]).item()).toBeCloseTo(expected.at(-1) as number, 4);
      }),
    );
  });

  it('do not depend on what else is in the batch, nor on its order', () => {
    const model = scalar(2);
    const together = numbers(model, SEQUENCES);
    SEQUENCES.forEach((sequence, i) => {
      expect(numbers(model, [sequence])[0]).toBeCloseTo(together[i] as number, 5);
    });
    numbers(model, [...SEQUENCES].reverse()).forEach((value, i) => {
      expect(value).toBeCloseTo(together[SEQUENCES.length - 1 - i] as number, 5);
    });
    expect(new Set(together.map((value) => value.toFixed(3))).size).toBe(4);
  });

  it('the head begins with variance 1/(hidden + 1) and b = 0', () => {
    manualSeed(5);
    const model = new ScalarModel(tinyModel(3, { hidden_size: 256, num_hidden_layers: 1 }));
    models.push(model);
    const [weight, bias] = model.parameters().slice(-2);
    const values = weight?.tensor.numbers() as number[];
    expect(values.reduce((sum, w) => sum + w * w, 0) / 256).toBeCloseTo(1 / 257, 2.5);
    expect(bias?.tensor.numbers()).toEqual([0]);
  });

  it('shift adds to every value', () => {
    const model = scalar(4);
    const before = numbers(model, SEQUENCES);
    model.shift(-2);
    numbers(model, SEQUENCES).forEach((value, i) => {
      expect(value).toBeCloseTo((before[i] as number) - 2, 5);
    });
  });

  it('a sequence without tokens, and one that is too long, are refused', () => {
    const model = scalar(4);
    expect(() => scope(() => model.last([[1], []]))).toThrow('sequence 1 has no tokens');
    expect(() => scope(() => model.last([new Array<number>(65).fill(1)]))).toThrow('max_position_embeddings');
  });
});

describe('training', () => {
  it('every parameter but the language model’s head gets a gradient, and only parameters are listed', () => {
    const model = scalar(5);
    scope(() => model.last(SEQUENCES).sum().backward());
    const names = model.parameters().map(({ name }) => name);
    expect(names).not.toContain('lm_head.weight');
    expect(names.slice(-2)).toEqual(['score.weight', 'score.bias']);
    for (const { name, kind, tensor: weight } of model.parameters()) {
      if (kind === 'buffer') continue;
      expect(weight.grad === null, name).toBe(false);
      weight.grad = null;
    }
    expect(model.trunk.headWeight.grad).toBeNull();
    expect(scalar(6, { tie_word_embeddings: true }).parameters()[0]?.name).toBe('model.embed_tokens.weight');
  });

  it('frozen, nothing wants a gradient', () => {
    const model = scalar(7);
    model.setTrainable(false);
    expect(model.parameters().some(({ tensor: weight }) => weight.requiresGrad)).toBe(false);
  });
});

describe('folders', () => {
  it('saved and loaded: the same bits; a copy too; nothing is left behind', async () => {
    const model = scalar(8);
    const folder = path.join(root, 'good');
    await saveScalarModel(model, folder);
    numbers(model, SEQUENCES);
    const before = liveTensors();
    const loaded = loadScalarModel(folder);
    const copy = copyScalarModel(loaded);
    expect(numbers(loaded, SEQUENCES)).toEqual(numbers(model, SEQUENCES));
    expect(numbers(copy, SEQUENCES)).toEqual(numbers(model, SEQUENCES));
    loaded.dispose();
    copy.dispose();
    expect(liveTensors()).toBe(before);
  });

  const W = (): Tensor => zeros([1, 16]);
  it.each<[string, Record<string, () => Tensor>, RegExp]>([
    ['another tensor', { 'score.weight': W, 'score.bias': () => zeros([1]), evil: W }, /evil is in the file but not/],
    ['one missing', { 'score.weight': W }, /score\.bias is missing/],
    [
      'another shape',
      { 'score.weight': () => zeros([16]), 'score.bias': () => zeros([1]) },
      /score\.weight has the shape \[16\], config\.json asks for \[1,16\]/,
    ],
    [
      'whole numbers',
      { 'score.weight': () => zeros([1, 16], { dtype: 'int64' }), 'score.bias': () => zeros([1]) },
      /score\.weight is int64/,
    ],
    [
      'no numbers',
      { 'score.weight': W, 'score.bias': () => tensor([Number.NaN]) },
      /score\.bias has values that are not finite/,
    ],
  ])('a score head with %s is refused, and its model freed', async (name, tensors, message) => {
    const folder = path.join(root, name);
    const model = scalar(9);
    await saveModel(model.trunk, folder);
    expect(() => loadScalarModel(folder)).toThrow(/there is no such file/);
    scope(() =>
      writeSafetensors(
        path.join(folder, 'score_head.safetensors'),
        Object.fromEntries(Object.entries(tensors).map(([key, make]) => [key, make()])),
      ),
    );
    const before = liveTensors();
    expect(() => loadScalarModel(folder)).toThrow(message);
    expect(liveTensors()).toBe(before);
  });
});
