import { describe, expect, it } from 'vitest';
import {
  Generator,
  grad,
  liveTensors,
  Muon,
  newtonSchulz,
  op,
  randn,
  scope,
  stack,
  type Tensor,
  tensor,
} from '../index.js';
import { decode, type Encoded, expectTensor, readGolden } from '../testing/golden.js';

type Named = Record<string, Encoded>;
const golden = readGolden<{ muon_start: Named; muon_gradients: Named[]; muon: Named[] }>('optim.json');
const matrix = (shape: number[], seed: number): Tensor => {
  using generator = new Generator(seed);
  return randn(shape, { generator, dtype: 'float64' });
};
const singularValues = (x: Tensor): number[] => (op('aten::linalg_svdvals')(x) as Tensor).numbers();

describe('newtonSchulz', () => {
  it('makes one iteration as worked out by hand', () => {
    // diag(3, 4): ‖·‖ = 5, x = (0.6, 0.8); a x + b x³ + c x⁵ on each: the matrix stays diagonal.
    const quintic = (x: number): number => 3.4445 * x - 4.775 * x ** 3 + 2.0315 * x ** 5;
    const once = newtonSchulz(
      tensor(
        [
          [3, 0],
          [0, 4],
        ],
        { dtype: 'float64' },
      ),
      1,
      'float64',
    ).numbers();
    expect(once[0]).toBeCloseTo(quintic(0.6), 14);
    expect(once[0]).toBeCloseTo(1.1932694, 7);
    expect(once[3]).toBeCloseTo(quintic(0.8), 14);
    expect([once[1], once[2]]).toEqual([0, 0]);
  });

  it('brings the singular values near 1 and keeps the singular vectors, tall, wide and square', () => {
    for (const shape of [
      [8, 3],
      [3, 8],
      [5, 5],
    ]) {
      const g = matrix(shape, 3);
      const o = newtonSchulz(g, 5, 'float64');
      expect(o.shape).toEqual(shape);
      for (const s of singularValues(o)) expect(Math.abs(s - 1)).toBeLessThan(0.35);
      // U S Vᵀ and U S' Vᵀ: OᵀG = V S' S Vᵀ is symmetric.
      const product = o.t().matmul(g);
      expect(product.sub(product.t()).abs().amax().item()).toBeLessThan(1e-10);
    }
  });

  it('treats a batch matrix by matrix', () => {
    const [a, b] = [matrix([4, 6], 1), matrix([4, 6], 2)];
    const both = newtonSchulz(stack([a, b]), 5, 'float64');
    for (const [i, one] of [a, b].entries()) {
      const difference = both
        .select(0, i)
        .sub(newtonSchulz(one, 5, 'float64'))
        .abs()
        .amax()
        .item();
      expect(difference).toBeLessThan(1e-12);
    }
  });

  it('gives 0 for 0, not NaN, and has the dtype asked for', () => {
    const zero = newtonSchulz(
      tensor([
        [0, 0],
        [0, 0],
      ]),
    );
    expect([zero.dtype, zero.numbers()]).toEqual(['bfloat16', [0, 0, 0, 0]]);
  });
});

describe('Muon', () => {
  it('makes two steps as worked out by hand', () => {
    // A [2, 1] matrix is its own singular vector: NewtonSchulz(u) = n(1) u/‖u‖ with n = the quintic five times over.
    const quintic = (x: number): number => 3.4445 * x - 4.775 * x ** 3 + 2.0315 * x ** 5;
    let n = 1;
    for (let i = 0; i < 5; i++) n = quintic(n);
    const theta = tensor([[1], [1]], { dtype: 'float64', requiresGrad: true });
    using optimiser = new Muon([{ params: [theta] }], { momentum: 0.5, weightDecay: 0.1, computeDtype: 'float64' });
    // g = (3, 4): m = (1.5, 2), u = 0.5 g + 0.5 m = (2.25, 3), direction (0.6, 0.8); scale √2; decay 1 − 0.2·0.1.
    theta.grad = tensor([[3], [4]], { dtype: 'float64' });
    optimiser.step(0.2);
    const first = [0.98 - 0.2 * Math.SQRT2 * n * 0.6, 0.98 - 0.2 * Math.SQRT2 * n * 0.8];
    for (const [i, value] of theta.numbers().entries()) expect(value).toBeCloseTo(first[i] as number, 12);
    // g = (−3, 0): m = (0.75 − 1.5, 1) = (−0.75, 1), u = (−1.5 − 0.375, 0.5) = (−1.875, 0.5).
    theta.grad = tensor([[-3], [0]], { dtype: 'float64' });
    optimiser.step(0.2);
    expect(optimiser.state()['0.0.momentum']?.numbers()).toEqual([-0.75, 1]);
    const length = Math.hypot(-1.875, 0.5);
    const second = [-1.875, 0.5].map((u, i) => (first[i] as number) * 0.98 - (0.2 * Math.SQRT2 * n * u) / length);
    for (const [i, value] of theta.numbers().entries()) expect(value).toBeCloseTo(second[i] as number, 12);
  });

  it('gives what torch.optim.Muon gives, computing in bfloat16', () => {
    const params = Object.fromEntries(Object.entries(golden.muon_start).map(([name, start]) => [name, decode(start)]));
    using optimiser = new Muon([{ params }]);
    for (const [i, gradients] of golden.muon_gradients.entries()) {
      for (const [name, param] of Object.entries(params)) {
        param.requiresGrad = true;
        param.grad = decode(gradients[name] as Encoded);
      }
      optimiser.step(0.02);
      // bfloat16 products differ in their last bits between processors: 2 % of a step of 0.02.
      for (const [name, param] of Object.entries(params))
        expectTensor(param, golden.muon[i]?.[name] as Encoded, 4e-4 * (i + 1));
    }
  });

  it('steps a batch of experts as it would step each', () => {
    const start = [matrix([6, 4], 1), matrix([6, 4], 2)];
    const gradients = [matrix([6, 4], 3), matrix([6, 4], 4)];
    const train = (params: Tensor[], grads: Tensor[]): Tensor[] => {
      using optimiser = new Muon([{ params }], { computeDtype: 'float64', nesterov: false });
      for (let i = 0; i < 3; i++) {
        for (const [k, param] of params.entries()) {
          param.requiresGrad = true;
          param.grad = grads[k] as Tensor;
        }
        optimiser.step(0.1);
      }
      return params.map((param) => param.detach());
    };
    const [batch] = train([stack(start)], [stack(gradients)]);
    const single = train(
      start.map((each) => each.clone()),
      gradients,
    );
    for (const [i, one] of single.entries())
      expect((batch as Tensor).select(0, i).sub(one).abs().amax().item()).toBeLessThan(1e-12);
  });

  it('saved and resumed continues bit for bit; without a gradient nothing moves', () => {
    const train = (param: Tensor, optimiser: Muon, from: number, to: number): void => {
      for (let i = from; i < to; i++) {
        param.grad = matrix([3, 2], 10 + i);
        optimiser.step(0.05);
        optimiser.zeroGrad();
        optimiser.step(0.05);
      }
    };
    const unbroken = matrix([3, 2], 1);
    unbroken.requiresGrad = true;
    using first = new Muon([{ params: { w: unbroken } }]);
    train(unbroken, first, 0, 3);
    const saved = { weight: unbroken.detach().clone(), momentum: first.state()['w.momentum']?.clone() as Tensor };
    train(unbroken, first, 3, 6);
    const resumed = saved.weight;
    resumed.requiresGrad = true;
    using second = new Muon([{ params: { w: resumed } }]);
    second.load({ 'w.momentum': saved.momentum });
    train(resumed, second, 3, 6);
    expect(resumed.bytes()).toEqual(unbroken.bytes());
  });

  it('descends', () => {
    // ‖W X − Y‖² with a solution: Muon's steps all have the same size, so the rate falls.
    const x = matrix([4, 16], 1);
    const y = matrix([3, 4], 2).matmul(x);
    const w = matrix([3, 4], 3);
    w.requiresGrad = true;
    using optimiser = new Muon([{ params: [w] }], { weightDecay: 0 });
    const loss = (): Tensor => w.matmul(x).sub(y).square().mean();
    const before = scope(() => loss().item());
    for (let i = 0; i < 100; i++) {
      scope(() => loss().backward());
      optimiser.step(0.1 * (1 - i / 100));
      optimiser.zeroGrad();
    }
    expect(scope(() => loss().item())).toBeLessThan(before / 100);
    expect(grad([loss()], [w])).toHaveLength(1);
  });

  it('refuses vectors, and frees what it makes', () => {
    expect(() => new Muon([{ params: { bias: tensor([1, 2]) } }])).toThrow(
      "Muon: parameter 'bias' is float32[2]; expected a floating [rows, cols] or [experts, rows, cols]: give it to AdamW",
    );
    const w = matrix([2, 2], 1);
    w.requiresGrad = true;
    w.grad = matrix([2, 2], 2);
    const before = liveTensors();
    const optimiser = new Muon([{ params: [w] }]);
    optimiser.step(0.1);
    expect(liveTensors()).toBe(before + 1); // the momentum
    optimiser.dispose();
    expect(liveTensors()).toBe(before);
  });
});
