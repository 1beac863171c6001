import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  addRmsNorm,
  addRmsNormReference,
  type DType,
  fusedRmsNorm,
  getFloat32MatmulPrecision,
  getThreads,
  grad,
  groupedExperts,
  groupedExpertsReference,
  manualSeed,
  randint,
  randn,
  rmsNormReference,
  rope,
  ropeReference,
  setFloat32MatmulPrecision,
  setThreads,
  shortLinear,
  shortLinearReference,
  swiglu,
  swigluReference,
  type Tensor,
  tensor,
  tokenKl,
  tokenKlReference,
  tokenLogprobs,
  tokenLogprobsReference,
} from './index.js';

/** Relative error ‖a − b‖ / ‖b‖ (absolute when b is zero). */
function error(a: Tensor, b: Tensor): number {
  const difference = a.to('float64').sub(b.to('float64')).norm().item();
  const size = b.to('float64').norm().item();
  return size === 0 ? difference : difference / size;
}

const TOLERANCE: Partial<Record<DType, number>> = { float64: 1e-12, float32: 2e-6, bfloat16: 2e-2, float16: 4e-3 };

/** Forward and all gradients of `fused` against `reference` computed in float64 on the same (rounded) inputs. */
function compare(
  dtype: DType,
  inputs: Tensor[],
  fused: (...x: Tensor[]) => Tensor,
  reference: (...x: Tensor[]) => Tensor,
) {
  const low = inputs.map((x) => Object.assign(x.to(dtype).detach().clone(), {}));
  const high = low.map((x) => x.to('float64').detach().clone());
  for (const x of [...low, ...high]) x.requiresGrad = true;
  const a = fused(...low);
  const b = reference(...high);
  const tolerance = TOLERANCE[dtype] ?? 0;
  expect(a.shape).toEqual(b.shape);
  expect(error(a, b)).toBeLessThan(tolerance);
  const direction = randn(b.shape, { dtype: 'float64' });
  const da = grad([a], low, { gradients: [direction.to(a.dtype)] });
  const db = grad([b], high, { gradients: [direction] });
  for (let i = 0; i < da.length; i++) expect(error(da[i] as Tensor, db[i] as Tensor)).toBeLessThan(tolerance * 2);
}

const dtypes: DType[] = ['float64', 'float32', 'bfloat16', 'float16'];

describe('shortLinear', () => {
  it.each([
    [1, 2, 2, false],
    [5, 34, 18, true],
    [130, 64, 96, false],
    [1100, 40, 600, true],
    [3, 7, 5, true],
    [0, 8, 4, false],
  ])('%i tokens, %i → %i, bias %s', (tokens, inputs, outputs, biased) => {
    manualSeed(4);
    const x = randn([tokens, inputs]).to('bfloat16');
    const weight = randn([outputs, inputs]);
    const bias = biased ? randn([outputs]) : null;
    const low = [x, weight, ...(bias === null ? [] : [bias])].map((one) => one.detach().clone());
    // What is rounded on the way is rounded here before; the rest is float64.
    const high = low.map((one) => one.to('bfloat16').to('float64').detach());
    for (const one of [...low, ...high]) one.requiresGrad = true;
    const a = shortLinear(low[0] as Tensor, low[1] as Tensor, low[2] ?? null);
    const b = shortLinearReference(high[0] as Tensor, high[1] as Tensor, high[2] ?? null);
    expect([a.dtype, a.shape]).toEqual(['bfloat16', [tokens, outputs]]);
    expect(error(a, b)).toBeLessThan(4e-3);
    const direction = randn([tokens, outputs]).to('bfloat16');
    const da = grad([a], low, { gradients: [direction] });
    const db = grad([b], high, { gradients: [direction.to('float64')] });
    expect(da.map((one) => one?.dtype)).toEqual(['bfloat16', 'float32', ...(biased ? ['float32'] : [])]);
    expect(error(da[0] as Tensor, db[0] as Tensor)).toBeLessThan(4e-3);
    // Where matrix units are at hand nothing rounds a weight's gradient.
    expect(error(da[1] as Tensor, db[1] as Tensor)).toBeLessThan(4e-3);
    if (biased) expect(error(da[2] as Tensor, db[2] as Tensor)).toBeLessThan(4e-3);
  });

  it('one thread and two: the same bits', () => {
    manualSeed(5);
    const x = randn([1100, 66]).to('bfloat16');
    const weight = randn([130, 66]);
    const before = getThreads();
    const [one, two] = [1, 2].map((threads) => {
      setThreads(threads);
      const [a, b] = [x.detach().clone(), weight.detach().clone()];
      a.requiresGrad = true;
      b.requiresGrad = true;
      const y = shortLinear(a, b);
      const gradients = grad([y], [a, b], { gradients: [y.detach()] });
      return [y, ...gradients].map((tensor) => (tensor as Tensor).numbers());
    });
    setThreads(before);
    expect(two).toEqual(one);
  });

  it('refuses a weight that does not fit', () => {
    expect(() => shortLinear(randn([2, 3]).to('bfloat16'), randn([4, 5]))).toThrow(
      'short_linear: x must be [..., inputs]',
    );
  });
});

it('the gradient of a head that is kept transposed, in bfloat16', () => {
  manualSeed(6);
  const base = randn([64, 50]).mul(0.1);
  const [hidden, targets] = [randn([21, 64]).to('bfloat16'), randint(0, 50, [21], { dtype: 'int64' })];
  const gradients = [base.t(), base.t().contiguous()].map((weight) => {
    const own = weight.detach();
    own.requiresGrad = true;
    return grad([tokenLogprobs(hidden, own, targets)[0].sum()], [own])[0] as Tensor;
  });
  expect(error(gradients[0] as Tensor, gradients[1] as Tensor)).toBeLessThan(1e-6);
});

// Three bfloat16 products leave about 2⁻¹⁶ of each factor out; one alone, or two, would leave 2⁻⁹ and 2⁻⁸.
describe.each([
  ['high', 1.2e-5],
  ['medium', 8e-3],
] as const)("float32 products under '%s'", (precision, tolerance) => {
  const before = getFloat32MatmulPrecision();
  beforeEach(() => setFloat32MatmulPrecision(precision));
  afterEach(() => setFloat32MatmulPrecision(before));

  /** Values and gradients against the reference in float64. */
  function compareShort(inputs: Tensor[], fused: (...x: Tensor[]) => Tensor, reference: (...x: Tensor[]) => Tensor) {
    const low = inputs.map((x) => x.detach().clone());
    const exact = inputs.map((x) => x.to('float64').detach());
    for (const x of [...low, ...exact]) x.requiresGrad = true;
    const a = fused(...low);
    const b = reference(...exact);
    expect(a.dtype).toBe('float32');
    expect(error(a, b)).toBeLessThan(tolerance);
    const direction = randn(b.shape, { dtype: 'float64' });
    const da = grad([a], low, { gradients: [direction.to('float32')] });
    const db = grad([b], exact, { gradients: [direction] });
    da.forEach((one, i) => {
      expect(one?.dtype).toBe('float32');
      expect(error(one as Tensor, db[i] as Tensor)).toBeLessThan(tolerance);
    });
  }

  it.each([
    [1, 32, 32],
    [70, 96, 80],
    [33, 31, 17],
    [300, 300, 40],
    [1100, 70, 140],
  ])('a linear layer of %i tokens, %i → %i', (tokens, inputs, outputs) => {
    manualSeed(3);
    compareShort(
      [randn([tokens, inputs]), randn([outputs, inputs]), randn([outputs])],
      (x, weight, bias) => shortLinear(x, weight, bias),
      (x, weight, bias) => x.linear(weight, bias ?? null),
    );
  });

  it('of numbers that bfloat16 holds it is exact', () => {
    const x = tensor([1, -2, 0.5, 3], { shape: [2, 2] });
    const weight = tensor([2, 1, -1, 4], { shape: [2, 2] });
    expect(shortLinear(x, weight).numbers()).toEqual([0, -9, 4, 11.5]);
  });

  it('experts, one of them without tokens', () => {
    manualSeed(4);
    const [tokens, hidden, inner, topK] = [37, 48, 24, 2];
    const indices = tensor(
      BigInt64Array.from({ length: tokens * topK }, (_, i) => BigInt([0, 2, 3, 2][i % 4] as number)),
      {
        shape: [tokens, topK],
      },
    );
    compareShort(
      [randn([tokens, hidden]), randn([tokens, topK]), randn([4, 2 * inner, hidden]), randn([4, hidden, inner])],
      (x, weights, gateUp, down) => groupedExperts(x, indices, weights, gateUp, down),
      (x, weights, gateUp, down) => groupedExpertsReference(x, indices, weights, gateUp, down),
    );
  });

  it('log-probabilities of tokens, and the exact divergence', () => {
    manualSeed(5);
    const targets = randint(0, 50, [21], { dtype: 'int64' });
    compareShort(
      [randn([21, 64]), randn([50, 64]).mul(0.1)],
      (hidden, weight) => tokenLogprobs(hidden, weight, targets, { chunk: 8 })[0],
      (hidden, weight) => tokenLogprobsReference(hidden, weight, targets)[0],
    );
    const [other, head] = [randn([21, 64]), randn([50, 64]).mul(0.1)];
    compareShort(
      [randn([21, 64]), randn([50, 64]).mul(0.1)],
      (hidden, weight) => tokenKl(hidden, weight, other, head, { chunk: 8 }),
      (hidden, weight) => tokenKlReference(hidden, weight, other.to('float64'), head.to('float64')),
    );
  });
});

describe('groupedExperts in bfloat16 with float32 weights', () => {
  it.each([
    [40, 6, 3, 34, 20, 6], // every expert
    [300, 2, 1, 64, 32, 2], // several blocks of tokens
    [3, 8, 2, 16, 8, 8], // most without a token
    [1, 4, 4, 6, 4, 4],
    [5, 4, 2, 7, 5, 4], // odd: no matrix units
    [0, 4, 2, 8, 4, 4],
  ])('%i tokens, %i experts, top %i, %i → %i', (tokens, experts, topK, hidden, inner, open) => {
    manualSeed(6);
    const indices = tensor(
      BigInt64Array.from({ length: tokens * topK }, (_, i) => BigInt((Math.floor(i / topK) * 5 + (i % topK)) % open)),
      { shape: [tokens, topK] },
    );
    const low = [
      randn([tokens, hidden]).to('bfloat16'),
      randn([tokens, topK]).to('bfloat16'),
      randn([experts, 2 * inner, hidden]),
      randn([experts, hidden, inner]),
    ].map((one) => one.detach().clone());
    const high = low.map((one) => one.to('bfloat16').to('float64').detach());
    for (const one of [...low, ...high]) one.requiresGrad = true;
    const run = (f: typeof groupedExperts, [x, w, g, d]: Tensor[]) =>
      f(x as Tensor, indices, w as Tensor, g as Tensor, d as Tensor);
    const a = run(groupedExperts, low);
    const b = run(groupedExpertsReference, high);
    expect([a.dtype, a.shape]).toEqual(['bfloat16', [tokens, hidden]]);
    expect(error(a, b)).toBeLessThan(2e-2);
    const direction = randn([tokens, hidden]).to('bfloat16');
    const da = grad([a], low, { gradients: [direction] });
    const db = grad([b], high, { gradients: [direction.to('float64')] });
    expect(da.map((one) => one?.dtype)).toEqual(['bfloat16', 'bfloat16', 'float32', 'float32']);
    da.forEach((one, i) => {
      expect(error(one as Tensor, db[i] as Tensor)).toBeLessThan(3e-2);
    });
  });
});

describe('addRmsNorm', () => {
  const shapes = [
    [7, 10],
    [1, 2],
    [3, 5, 33],
    [600, 8],
    [0, 4],
  ];
  it.each(['float64', 'float32', 'bfloat16', 'float16'] as const)('%s: sum, norm and gradients', (dtype) => {
    const stream = dtype === 'float64' ? 'float64' : 'float32';
    const tolerance = TOLERANCE[dtype] ?? 0;
    manualSeed(3);
    for (const shape of shapes) {
      for (const used of ['both', 'sum', 'normed'] as const) {
        const x = randn(shape, { dtype: stream });
        const delta = randn(shape).to(dtype);
        const weight = randn([shape.at(-1) as number], { dtype: stream });
        const low = [x, delta, weight].map((one) => one.detach().clone());
        const high = low.map((one) => one.to('float64').detach().clone());
        for (const one of [...low, ...high]) one.requiresGrad = true;
        const a = addRmsNorm(low[0] as Tensor, low[1] as Tensor, low[2] as Tensor, 1e-5);
        const b = addRmsNormReference(high[0] as Tensor, high[1] as Tensor, high[2] as Tensor, 1e-5);
        expect(a.map((one) => one.dtype)).toEqual([stream, dtype]);
        a.forEach((one, i) => {
          expect(error(one, b[i] as Tensor)).toBeLessThan(tolerance);
        });
        const directions = a.map((one) => randn(shape, { dtype: 'float64' }).to(one.dtype));
        const picked = used === 'both' ? [0, 1] : used === 'sum' ? [0] : [1];
        const pick = <T>(list: readonly T[]): T[] => picked.map((i) => list[i] as T);
        const options = { allowUnused: true };
        const da = grad(pick(a), low, { ...options, gradients: pick(directions) });
        const db = grad(pick(b), high, { ...options, gradients: pick(directions).map((one) => one.to('float64')) });
        da.forEach((one, i) => {
          if (db[i] === null) expect(one).toBeNull();
          else expect(error(one as Tensor, db[i] as Tensor)).toBeLessThan(tolerance * 2);
        });
      }
    }
  });

  it('without anything to add the stream goes on as it is', () => {
    const x = tensor([[3, 4]]);
    const [sum, normed] = addRmsNorm(x, null, tensor([1, 2]), 0, 'float32');
    expect(sum.numbers()).toEqual([3, 4]);
    expect(normed.numbers().map((one) => one * Math.sqrt(12.5))).toEqual([3, 8].map((one) => expect.closeTo(one, 5)));
    expect(addRmsNorm(x, null, tensor([1, 2]), 0, 'bfloat16')[1].dtype).toBe('bfloat16');
  });

  it('refuses other shapes and types', () => {
    const x = tensor([[3, 4]]);
    expect(() => addRmsNorm(x, tensor([[1, 2, 3]]), tensor([1, 2]), 0)).toThrow('x and delta must have one shape');
    expect(() => addRmsNorm(x, null, tensor([1]), 0)).toThrow('the weight must have as many numbers');
    expect(() => addRmsNorm(x, null, tensor([1, 2]).to('bfloat16'), 0)).toThrow('must be of one type');
  });
});

describe('fused operators agree with their plain references, forward and backward', () => {
  for (const dtype of dtypes) {
    for (const shape of [
      [7, 10],
      [1, 2],
      [2, 3, 128],
      [0, 8],
    ]) {
      it(`swiglu ${dtype} [${shape}]`, () => {
        manualSeed(1);
        compare(dtype, [randn(shape)], swiglu, swigluReference);
      });
    }
    for (const shape of [
      [5, 16],
      [1, 2],
      [2, 300, 96],
      [0, 8],
    ]) {
      it(`rms_norm ${dtype} [${shape}]`, () => {
        manualSeed(2);
        compare(
          dtype,
          [randn(shape), randn([shape.at(-1) as number])],
          (x, w) => fusedRmsNorm(x, w, 1e-6),
          (x, w) => rmsNormReference(x, w, 1e-6),
        );
      });
    }
    for (const interleaved of [true, false]) {
      it(`rope ${dtype} ${interleaved ? 'interleaved' : 'halves'}, of a strided slice`, () => {
        manualSeed(6);
        const angles = randn([5, 4], { dtype: 'float64' });
        compare(
          dtype,
          [randn([5, 3, 11])],
          (x) => rope(x.narrow(-1, 3, 8), angles.cos().to('float32'), angles.sin().to('float32'), interleaved),
          (x) =>
            ropeReference(
              x.narrow(-1, 3, 8),
              angles.cos().to('float32').to('float64'),
              angles.sin().to('float32').to('float64'),
              interleaved,
            ),
        );
      });
    }
    for (const [tokens, experts, topK] of [
      [17, 4, 2],
      [1, 4, 1],
      [3, 8, 2],
      [0, 4, 2],
      [64, 3, 3],
    ] as const) {
      it(`grouped_experts ${dtype}: ${tokens} tokens, ${experts} experts, top ${topK}`, () => {
        manualSeed(3);
        // Distinct experts per token; with few tokens some experts get none.
        const indices = randn([tokens, experts]).topk(topK)[1];
        compare(
          dtype,
          [randn([tokens, 12]), randn([tokens, topK]), randn([experts, 10, 12]), randn([experts, 12, 5])],
          (x, w, g, d) => groupedExperts(x, indices, w, g, d),
          (x, w, g, d) => groupedExpertsReference(x, indices, w, g, d),
        );
      });
    }
  }
  for (const dtype of ['float64', 'float32', 'bfloat16'] as const) {
    for (const [rows, chunk, temperature] of [
      [13, 4, 1],
      [1, 1024, 0.7],
      [8, 8, 2],
      [0, 4, 1],
    ] as const) {
      it(`token_logprobs ${dtype}: ${rows} rows in chunks of ${chunk}, T=${temperature}`, () => {
        manualSeed(4);
        const targets = randint(0, 37, [rows]).to('int64');
        const inputs = [randn([rows, 9]), randn([37, 9])];
        compare(
          dtype,
          inputs,
          (h, w) => tokenLogprobs(h, w, targets, { temperature, chunk })[0],
          (h, w) => tokenLogprobsReference(h, w, targets, { temperature })[0],
        );
        const [h, w] = inputs.map((x) => x.to(dtype)) as [Tensor, Tensor];
        const entropy = tokenLogprobs(h, w, targets, { temperature, chunk })[1];
        const expected = tokenLogprobsReference(h.to('float64'), w.to('float64'), targets, { temperature })[1];
        expect(error(entropy, expected)).toBeLessThan(TOLERANCE[dtype] as number);
        expect(entropy.requiresGrad).toBe(false);
      });
      it(`token_logprobs and token_kl ${dtype}: a head that wants no gradient changes none of hidden's, ${rows} rows`, () => {
        manualSeed(6);
        const targets = randint(0, 37, [rows]).to('int64');
        const [h, w, reference] = [randn([rows, 9]), randn([37, 9]), randn([rows, 9])].map((x) => x.to(dtype));
        const gradients = [true, false].map((trained) =>
          [
            (x: Tensor, head: Tensor) => tokenLogprobs(x, head, targets, { temperature, chunk })[0],
            (x: Tensor, head: Tensor) => tokenKl(x, head, reference as Tensor, w as Tensor, { temperature, chunk }),
          ].map((of) => {
            const [x, head] = [h, w].map((one) => (one as Tensor).clone()) as [Tensor, Tensor];
            x.requiresGrad = true;
            head.requiresGrad = trained;
            of(x, head).sum().backward();
            expect(head.grad === null).toBe(!trained);
            return x.grad?.numbers();
          }),
        );
        expect(gradients[1]).toEqual(gradients[0]);
      });
      it(`token_kl ${dtype}: ${rows} rows in chunks of ${chunk}, T=${temperature}`, () => {
        manualSeed(5);
        const reference = randn([rows, 6], { dtype: 'float64' });
        const head = randn([37, 6], { dtype: 'float64' });
        compare(
          dtype,
          [randn([rows, 9]), randn([37, 9])],
          (h, w) => tokenKl(h, w, reference.to(dtype), head.to(dtype), { temperature, chunk }),
          (h, w) =>
            tokenKlReference(h, w, reference.to(dtype).to('float64'), head.to(dtype).to('float64'), { temperature }),
        );
      });
    }
  }

  it('hand-computed: swiglu([1, 2]) = silu(1) · 2, rms_norm([3, 4]) = [3, 4] / sqrt(12.5)', () => {
    expect(swiglu(tensor([1, 2])).item()).toBeCloseTo((2 * 1) / (1 + Math.exp(-1)), 6);
    const y = fusedRmsNorm(tensor([3, 4]), tensor([1, 2]), 0).numbers();
    expect(y[0]).toBeCloseTo(3 / Math.sqrt(12.5), 6);
    expect(y[1]).toBeCloseTo(8 / Math.sqrt(12.5), 6);
  });

  it('names what is wrong: an expert that does not exist, a target beyond the vocabulary', () => {
    expect(() =>
      groupedExperts(
        randn([1, 2]),
        tensor([[5]], { dtype: 'int64' }),
        randn([1, 1]),
        randn([2, 2, 2]),
        randn([2, 2, 1]),
      ),
    ).toThrow(/expert 5 of 2/);
    expect(() => tokenLogprobs(randn([1, 2]), randn([3, 2]), tensor([3], { dtype: 'int64' }))).toThrow(
      /targets must lie in \[0, 3\), got 3 to 3/,
    );
    expect(() => swiglu(randn([2, 3]))).toThrow(/last dimension must be even/);
  });

  it('refuses second derivatives instead of giving wrong ones', () => {
    const x = tensor([[3, 4]], { requiresGrad: true });
    expect(() => grad([fusedRmsNorm(x, tensor([1, 2]), 0).sum()], [x], { createGraph: true })).toThrow(
      /dunwu::rms_norm has no second derivative/,
    );
  });
});
