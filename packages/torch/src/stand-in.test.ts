import { describe, expect, it } from 'vitest';
import {
  clipGradients,
  type DType,
  grad,
  groupedAttention,
  groupedExpertsReference,
  latentAttention,
  liveTensors,
  manualSeed,
  op,
  randn,
  readNumbers,
  type Sequences,
  scope,
  type Tensor,
  tensor,
} from './index.js';

const device = op('dunwu::stand_in')() as string;
const waits = (): number => op('dunwu::stand_in_waits')() as number;

/** Relative error ‖a − b‖ / ‖b‖. */
const error = (a: Tensor, b: Tensor): number =>
  a.to('float64').sub(b.to('float64')).norm().item() / b.to('float64').norm().item();

const placed = (x: Tensor, on: string, dtype: DType = x.dtype): Tensor => {
  const leaf = x.detach().toDevice(on, dtype);
  leaf.requiresGrad = true;
  return leaf;
};

describe('the stand-in', () => {
  it('is a device of its own, with numbers and gradients', () => {
    const x = placed(randn([3, 4]), device);
    const y = x.mul(2).softmax(-1).square().sum();
    y.backward();
    expect([x.device, y.device, x.grad?.device]).toEqual(Array(3).fill(`${device}:0`));
    const here = placed(x.detach(), 'cpu');
    here.mul(2).softmax(-1).square().sum().backward();
    expect(x.grad?.numbers()).toEqual(here.grad?.numbers());
  });

  it('refuses tensors of the CPU, but not numbers', () => {
    const x = randn([3, 4]).toDevice(device, 'float32');
    expect(() => x.mm(randn([4, 2]))).toThrow(/aten::mm: a tensor \[4, 2\] of the CPU among tensors of another device/);
    expect(x.add(1).device).toBe(x.device);
  });

  it('leaves what no group has as it was: here not a number', () => {
    const ends = tensor(Int32Array.from([0, 8]), { device });
    const x = randn([16, 8]).toDevice(device, 'bfloat16');
    const grouped = op('aten::_grouped_mm');
    const rows = (grouped(x, randn([2, 8, 8]).toDevice(device, 'bfloat16'), ends) as Tensor).numbers();
    expect(rows.map(Number.isNaN)).toEqual([...Array(64).fill(false), ...Array(64).fill(true)]);
    const sums = (grouped(x.t(), x, ends) as Tensor).numbers();
    expect(sums.map(Number.isNaN)).toEqual([...Array(64).fill(true), ...Array(64).fill(false)]);
  });

  it('counts what the host waits for', () => {
    const x = randn([3, 4]).toDevice(device, 'float32');
    waits();
    const y = x.add(x).sum();
    expect(waits()).toBe(0);
    y.item();
    x.numbers();
    x.maskedSelect(x.gt(0));
    x.gt(0).nonzero();
    expect(waits()).toBe(4);
    expect(readNumbers([x, y, x.gt(0)]).map(({ length }) => length)).toEqual([12, 1, 12]);
    expect(waits()).toBe(1);
  });
});

it('readNumbers: float32, whole numbers and bool as they are, whatever the shapes; nothing of nothing', () => {
  const before = liveTensors();
  scope(() => {
    const all = [
      tensor([[0.1, 2]]),
      tensor([3], { dtype: 'int64' }),
      tensor([true, false]),
      tensor(new Float32Array(0)),
    ];
    expect(readNumbers(all)).toEqual([[Math.fround(0.1), 2], [3], [1, 0], []]);
  });
  expect(readNumbers([])).toEqual([]);
  expect(liveTensors()).toBe(before);
});

it('tensor on a device, without waiting', () => {
  waits();
  const made = tensor(Int32Array.from([1, 2, 3, 4]), { shape: [2, 2], device });
  expect([made.device, made.dtype, made.shape]).toEqual([`${device}:0`, 'int32', [2, 2]]);
  expect(waits()).toBe(0);
  expect(made.numbers()).toEqual([1, 2, 3, 4]);
});

it('clipGradients: to the bit what is done on the CPU, without waiting; not finite: as they are', () => {
  const clipped = (on: string, grads: readonly number[][], maxNorm: number) => {
    const params = grads.map((values) => {
      const param = placed(tensor(values), on);
      param.grad = tensor(values, { device: on });
      return param;
    });
    waits();
    const norm = clipGradients(params, maxNorm);
    expect(waits()).toBe(0);
    return [norm.item(), ...params.map((param) => param.grad?.numbers())];
  };
  const grads = [[0.3, -1.7, 2.9], [4.1]];
  expect(clipped(device, grads, 0.7)).toEqual(clipped('cpu', grads, 0.7));
  expect(clipped(device, grads, 70)).toEqual(clipped('cpu', grads, 70));
  expect(clipped(device, [[1, Number.NaN], [4]], 1)).toEqual([Number.NaN, [1, Number.NaN], [4]]);
  expect(clipped(device, [[Number.POSITIVE_INFINITY], [4]], 1)).toEqual([
    Number.POSITIVE_INFINITY,
    [Number.POSITIVE_INFINITY],
    [4],
  ]);
});

/** Two rows of 6 tokens: sequences of 3, 1 and 2, and one of 6. */
const STARTS = [0, 0, 0, 3, 4, 4, 0, 0, 0, 0, 0, 0];
const sequences = (on: string): Sequences => ({
  bounds: tensor(Int32Array.from([0, 3, 4, 6, 12]), { device: on }),
  longest: 6,
});

describe.each(['float32', 'bfloat16'] as const)('attention off the CPU, %s', (dtype) => {
  const tolerance = dtype === 'float32' ? 1e-6 : 2e-2;

  function compare(inputs: Tensor[], attend: (on: string, x: Tensor[]) => Tensor): void {
    const direction = randn([12, attend('cpu', inputs).size(1)]);
    const [there, here] = [device, 'cpu'].map((on) => {
      const leaves = inputs.map((x) => placed(x, on, dtype));
      const output = attend(on, leaves);
      const gradients = grad([output], leaves, { gradients: [direction.toDevice(on, dtype)] });
      return [output, ...(gradients as Tensor[])].map((x) => x.detach().toDevice('cpu', 'float32'));
    }) as [Tensor[], Tensor[]];
    there.forEach((x, i) => {
      expect(error(x, here[i] as Tensor)).toBeLessThan(tolerance);
    });
  }

  const starts = (on: string): Tensor => tensor(Int32Array.from(STARTS), { device: on });

  it.each([
    ['with starts', (on: string) => [starts(on), null] as const],
    ['with starts and sequences', (on: string) => [starts(on), sequences(on)] as const],
    ['whole rows', () => [null, null] as const],
  ])('latent and grouped, %s', (_, given) => {
    manualSeed(4);
    // Queries of 10 numbers, values of 5: what flash kernels want is made of them.
    compare([randn([12, 3, 10]), randn([12, 3, 11]), randn([12, 4])], (on, [query, kv, key]) => {
      const [first, whole] = given(on);
      return latentAttention(query as Tensor, kv as Tensor, key as Tensor, first, 6, 0.3, whole);
    });
    // And one whose values are as wide as that, but do not begin where the kernels want them.
    compare([randn([12, 3, 16]), randn([12, 3, 28]), randn([12, 4])], (on, [query, kv, key]) => {
      const [first, whole] = given(on);
      return latentAttention(query as Tensor, kv as Tensor, key as Tensor, first, 6, 0.2, whole);
    });
    compare([randn([12, 8, 6])], (on, [qkv]) => {
      const [first, whole] = given(on);
      return groupedAttention(qkv as Tensor, 4, 2, first, 6, 0.4, whole);
    });
  });

  it('refuses bounds of another type', () => {
    const qkv = randn([12, 8, 6]).toDevice(device, dtype);
    const wrong = { bounds: sequences(device).bounds.to('int64'), longest: 6 };
    expect(() => groupedAttention(qkv, 4, 2, starts(device), 6, 1, wrong)).toThrow(/bounds must be int32/);
  });
});

describe.each([
  ['by blocks', false, 'float32', 'cpu'],
  ['by blocks', false, 'float32', device],
  ['by blocks', false, 'bfloat16', 'cpu'],
  ['by blocks', false, 'bfloat16', device],
  ['by the grouped product', true, 'bfloat16', 'cpu'],
  ['by the grouped product', true, 'bfloat16', device],
] as const)('experts as off the CPU, %s, %s, %s, %s', (_, grouped, dtype, on) => {
  const tolerance = dtype === 'float32' ? 2e-6 : 2e-2;
  const composed = op('dunwu::grouped_experts_composed');

  it.each([
    [
      'some experts without tokens',
      [
        [0, 1],
        [1, 3],
        [1, 0],
        [1, 3],
        [3, 1],
      ],
    ],
    [
      'all to one',
      [
        [2, 2],
        [2, 2],
        [2, 2],
      ],
    ],
    ['a batch of one', [[3, 0]]],
  ])('%s: forward and gradients are the reference’s', (__, chosen) => {
    manualSeed(6);
    const indices = tensor(chosen, { dtype: 'int64' });
    const rounded = [randn([chosen.length, 8]), randn([chosen.length, 2]), randn([4, 16, 8]), randn([4, 8, 8])].map(
      (x) => x.to(dtype),
    );
    const [low, high] = [rounded.map((x) => placed(x, on)), rounded.map((x) => placed(x, 'cpu', 'float64'))];
    const [x, weights, gateUp, down] = high as [Tensor, Tensor, Tensor, Tensor];
    const ours = composed(low[0], indices.toDevice(on, 'int64'), low[1], low[2], low[3], grouped) as Tensor;
    const theirs = groupedExpertsReference(x, indices, weights, gateUp, down);
    expect(error(ours.toDevice('cpu', dtype), theirs)).toBeLessThan(tolerance);
    const direction = randn(theirs.shape, { dtype: 'float64' });
    const ourGradients = grad([ours], low, { gradients: [direction.toDevice(on, dtype)] }) as Tensor[];
    const theirGradients = grad([theirs], high, { gradients: [direction] }) as Tensor[];
    ourGradients.forEach((gradient, i) => {
      expect(error(gradient.toDevice('cpu', dtype), theirGradients[i] as Tensor)).toBeLessThan(2 * tolerance);
    });
  });

  it('of no tokens: nothing', () => {
    const none = composed(
      randn([0, 8]).to(dtype),
      tensor(new BigInt64Array(0), { shape: [0, 2] }),
      randn([0, 2]).to(dtype),
      randn([4, 16, 8]).to(dtype),
      randn([4, 8, 8]).to(dtype),
      grouped,
    ) as Tensor;
    expect(none.shape).toEqual([0, 8]);
  });
});
