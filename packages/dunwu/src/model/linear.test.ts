import {
  getFloat32MatmulPrecision,
  keep,
  liveTensors,
  manualSeed,
  noGrad,
  randn,
  scope,
  setFloat32MatmulPrecision,
  type Tensor,
  tensor,
} from '@dunwu/torch';
import { describe, expect, it } from 'vitest';
import { adapterParameters, Linear, type LinearAdapter } from './linear.js';
import { difference } from './testing/tiny.js';

const matrix = (rows: readonly (readonly number[])[]): Tensor =>
  tensor(Float32Array.from(rows.flat()), { shape: [rows.length, rows[0]?.length ?? 0] });
const set = (target: Tensor | null, values: Tensor): void => {
  noGrad(() => target?.copy_(values.view(target.shape)));
};

/** Three rows of two names, with known numbers: two rows of `p`, one of `q`. */
function small(bias = true): Linear {
  const linear = new Linear({ name: 'pq', inputs: 2, outputs: { p: 2, q: 1 }, std: 1, bias });
  set(
    linear.weight,
    matrix([
      [1, 2],
      [3, 4],
      [5, 6],
    ]),
  );
  set(linear.bias, matrix([[10, 20, 30]]));
  return linear;
}

const x = matrix([
  [1, -1],
  [2, 0.5],
]);

/** On p, of rank 1, scale 2: 2 · [1; −1] [1 3] = [[2, 6], [−2, −6]]. */
function onP(linear: Linear): LinearAdapter {
  return {
    part: linear.parts[0] as LinearAdapter['part'],
    a: keep(matrix([[1, 3]])),
    b: keep(matrix([[1], [-1]])),
    scale: 2,
  };
}
/** On q, of rank 2, scale 0.5: 0.5 · [2 4] [[1, 0], [0, 1]] = [[1, 2]]. */
function onQ(linear: Linear): LinearAdapter {
  return {
    part: linear.parts[1] as LinearAdapter['part'],
    a: keep(
      matrix([
        [1, 0],
        [0, 1],
      ]),
    ),
    b: keep(matrix([[2, 4]])),
    scale: 0.5,
  };
}

// x Wᵀ + b by hand: row 1: [1−2, 3−4, 5−6] + b; row 2: [2+1, 6+2, 10+3] + b.
const PLAIN = [9, 19, 29, 13, 28, 43];
// p: x·[2, 6] = −4 and 7, x·[−2, −6] = 4 and −7; q: x·[1, 2] = −1 and 3.
const BOTH = [9 - 4, 19 + 4, 29 - 1, 13 + 7, 28 - 7, 43 + 3];

describe('numbers', () => {
  it('without adapters: x Wᵀ + b, and effectiveWeight is W itself', () => {
    const linear = small();
    expect(linear.forward(x).detach().numbers()).toEqual(PLAIN);
    expect(linear.effectiveWeight()).toBe(linear.weight);
  });

  it('with adapters: each adds to its own rows only', () => {
    const linear = small();
    linear.setAdapters([onP(linear)]);
    expect(linear.forward(x).detach().numbers()).toEqual([5, 23, 29, 20, 21, 43]);
    expect(linear.effectiveWeight().detach().numbers()).toEqual([3, 8, 1, -2, 5, 6]);
    linear.setAdapters([onP(linear), onQ(linear)]);
    expect(linear.forward(x).detach().numbers()).toEqual(BOTH);
    expect(linear.effectiveWeight().detach().numbers()).toEqual([3, 8, 1, -2, 6, 8]);
    expect(linear.forward(x.view([1, 2, 2])).shape).toEqual([1, 2, 3]);
  });

  it('off: as if there were none, merged or not', () => {
    const linear = small();
    linear.setAdapters([onP(linear), onQ(linear)]);
    for (const merged of [false, true]) {
      if (merged) linear.merge();
      linear.on = false;
      expect(linear.forward(x).detach().numbers()).toEqual(PLAIN);
      expect(linear.effectiveWeight().detach().numbers()).toEqual([1, 2, 3, 4, 5, 6]);
      linear.on = true;
      expect(linear.forward(x).detach().numbers()).toEqual(BOTH);
    }
  });

  it('merged: the same numbers; unmerged: the old bits, also where float32 had rounded them away', () => {
    manualSeed(5);
    const linear = new Linear({ name: 'w', inputs: 7, outputs: 5, std: 0.02 });
    const before = linear.weight.detach().numbers();
    const part = linear.parts[0] as LinearAdapter['part'];
    const random = (rows: number, columns: number) =>
      keep(noGrad(() => matrix(Array.from({ length: rows }, () => new Array(columns).fill(0))).normal_(0, 30)));
    linear.setAdapters([{ part, a: random(3, 7), b: random(5, 3), scale: 0.7 }]);
    const input = random(4, 7);
    const beside = linear.forward(input);
    linear.merge();
    linear.merge();
    expect(linear.merged).toBe(true);
    const merged = linear.forward(input);
    expect(difference(beside, merged)).toBeLessThan(1e-6 * beside.detach().abs().amax().item());
    linear.unmerge();
    linear.unmerge();
    expect(linear.weight.detach().numbers()).toEqual(before);
    expect(difference(linear.forward(input), beside)).toBe(0);
  });

  it('absorbed: W + scale · B A stays, the adapters are gone, whether merged before or not', () => {
    for (const merged of [false, true]) {
      const linear = small();
      linear.setAdapters([onP(linear), onQ(linear)]);
      if (merged) linear.merge();
      linear.absorbAdapters();
      expect(linear.adapters).toEqual([]);
      expect(linear.weight.detach().numbers()).toEqual([3, 8, 1, -2, 6, 8]);
      expect(linear.forward(x).detach().numbers()).toEqual(BOTH);
    }
  });
});

it('gradients of A and B through forward and through effectiveWeight: finite differences', () => {
  for (const through of ['forward', 'effectiveWeight'] as const) {
    const linear = small();
    linear.weight.requiresGrad = false;
    (linear.bias as Tensor).requiresGrad = false;
    linear.setAdapters([onP(linear), onQ(linear)]);
    const loss = (): Tensor => {
      const y = through === 'forward' ? linear.forward(x) : x.linear(linear.effectiveWeight(), linear.bias);
      return y
        .mul(y)
        .mul(matrix([[1, 2, 3]]))
        .sum()
        .mul(0.01);
    };
    const trained = adapterParameters('m', linear);
    for (const { tensor: weight } of trained) weight.requiresGrad = true;
    scope(() => loss().backward());
    expect(linear.weight.grad).toBeNull();
    for (const { name, tensor: weight } of trained) {
      const gradient = weight.grad?.numbers() ?? [];
      expect(gradient).toHaveLength(weight.numel);
      const flat = weight.detach().view([-1]);
      gradient.forEach((value, i) => {
        const at = (by: number): number =>
          scope(() =>
            noGrad(() => {
              flat.narrow(0, i, 1).add_(by);
              const there = loss().item();
              flat.narrow(0, i, 1).add_(-by);
              return there;
            }),
          );
        const slope = (at(0.125) - at(-0.125)) / 0.25;
        expect(Math.abs(slope - value), `${through} ${name}[${i}]`).toBeLessThan(1e-3 * Math.max(1, Math.abs(value)));
      });
    }
  }
});

it('parameters: one in memory, a view for each part on disk; adapters are named as PEFT names them', () => {
  const linear = small();
  const [weight, bias] = linear.parameters('model.layers.0.m');
  expect([weight?.name, weight?.kind, bias?.name, bias?.kind]).toEqual([
    'model.layers.0.m.pq.weight',
    'matrix',
    'model.layers.0.m.pq.bias',
    'vector',
  ]);
  expect(weight?.disk.map(({ name, view }) => [name, view(linear.weight.detach()).numbers()])).toEqual([
    ['model.layers.0.m.p.weight', [1, 2, 3, 4]],
    ['model.layers.0.m.q.weight', [5, 6]],
  ]);
  expect(bias?.disk.map(({ view }) => view((linear.bias as Tensor).detach()).numbers())).toEqual([[10, 20], [30]]);
  expect(new Linear({ name: 'one', inputs: 2, outputs: 3, std: 1 }).parameters('m').map(({ disk }) => disk)).toEqual([
    [{ name: 'm.one.weight', view: expect.any(Function) }],
  ]);
  linear.setAdapters([onQ(linear)]);
  expect(adapterParameters('model.layers.0.m', linear).map(({ name }) => name)).toEqual([
    'base_model.model.model.layers.0.m.q.lora_A.weight',
    'base_model.model.model.layers.0.m.q.lora_B.weight',
  ]);
});

it('adapters are not changed while merged, and freed when replaced or disposed', () => {
  const linear = small();
  const live = liveTensors();
  scope(() => linear.setAdapters([onP(linear)]));
  expect(liveTensors()).toBe(live + 2);
  scope(() => linear.merge());
  expect(liveTensors()).toBe(live + 3);
  expect(() => linear.setAdapters([])).toThrow('pq: its adapters are merged: unmerge first');
  linear.disposeAdapters();
  expect(liveTensors()).toBe(live);
});

it('adapters are merged at float32’s whole precision, whatever products of training have', () => {
  const before = getFloat32MatmulPrecision();
  manualSeed(7);
  const linear = new Linear({ name: 'p', inputs: 64, outputs: 64, std: 1, bias: false });
  const [a, b] = [keep(randn([32, 64])), keep(randn([64, 32]))];
  linear.setAdapters([{ part: linear.parts[0] as LinearAdapter['part'], a, b, scale: 1 }]);
  const merged = (['highest', 'medium'] as const).map((precision) => {
    setFloat32MatmulPrecision(precision);
    const weight = linear.effectiveWeight().detach().numbers();
    expect(getFloat32MatmulPrecision()).toBe(precision);
    return weight;
  });
  setFloat32MatmulPrecision(before);
  expect(merged[1]).toEqual(merged[0]);
  linear.disposeAdapters();
  linear.weight.dispose();
});
