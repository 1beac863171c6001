import { describe, expect, it } from 'vitest';
import {
  autocast,
  backward,
  cat,
  crossEntropyLoss,
  einsum,
  enableGrad,
  Generator,
  grad,
  layerNorm,
  noGrad,
  randn,
  rmsNorm,
  scaledDotProductAttention,
  scope,
  type Tensor,
  tensor,
  where,
  zeros,
} from './index.js';
import { closeTo } from './testing/golden.js';

const draw = (shape: number[], seed: number): Tensor => {
  using generator = new Generator(seed);
  const made = randn(shape, { generator, dtype: 'float64' });
  made.requiresGrad = true;
  return made;
};

/** Largest difference between the gradients of sum(f · weights) and central differences, relative to their size. */
function gradientError(inputs: Tensor[], f: (...inputs: Tensor[]) => Tensor, step = 1e-5): number {
  return scope(() => {
    const probe = noGrad(() => f(...inputs));
    using generator = new Generator(99);
    const weights = randn(probe.shape, { generator, dtype: 'float64' });
    const value = (): number =>
      noGrad(() =>
        scope(() =>
          f(...inputs)
            .mul(weights)
            .sum()
            .item(),
        ),
      );
    const gradients = grad(
      [
        f(...inputs)
          .mul(weights)
          .sum(),
      ],
      inputs,
    );
    let worst = 0;
    for (const [i, input] of inputs.entries()) {
      const analytic = gradients[i]?.numbers() ?? [];
      const flat = noGrad(() => input.detach().view([-1]));
      for (const [k, slope] of analytic.entries()) {
        const cell = flat.narrow(0, k, 1);
        const at = cell.item();
        cell.fill_(at + step);
        const above = value();
        cell.fill_(at - step);
        const below = value();
        cell.fill_(at);
        worst = Math.max(worst, Math.abs((above - below) / (2 * step) - slope) / (1 + Math.abs(slope)));
      }
    }
    return worst;
  });
}

describe('gradients against central differences, in float64', () => {
  const int = (values: number[] | number[][]): Tensor => tensor(values, { dtype: 'int64' });
  const cases: Record<string, () => [Tensor[], (...inputs: Tensor[]) => Tensor]> = {
    'matmul, batched and broadcast': () => [[draw([2, 3, 4], 1), draw([4, 2], 2)], (a, b) => a.matmul(b)],
    'add, mul, div with broadcasting': () => [
      [draw([2, 3], 1), draw([3], 2)],
      (a, b) => a.add(b).mul(a).div(b.square().add(1)),
    ],
    softmax: () => [[draw([3, 4], 1)], (x) => x.softmax(-1)],
    'log softmax': () => [[draw([3, 4], 1)], (x) => x.logSoftmax(0)],
    logsumexp: () => [[draw([3, 4], 1)], (x) => x.logsumexp(1)],
    'layer norm': () => [[draw([3, 4], 1), draw([4], 2), draw([4], 3)], (x, w, b) => layerNorm(x, [4], w, b)],
    'RMS norm': () => [[draw([3, 4], 1), draw([4], 2)], (x, w) => rmsNorm(x, [4], w, 1e-6)],
    gather: () => [
      [draw([3, 4], 1)],
      (x) =>
        x.gather(
          1,
          int([
            [0, 0],
            [3, 1],
            [2, 2],
          ]),
        ),
    ],
    'index select, the same row twice': () => [[draw([3, 4], 1)], (x) => x.indexSelect(0, int([2, 2, 0]))],
    'index by a list': () => [[draw([3, 4], 1)], (x) => x.index([null, int([1, 1])])],
    'index add': () => [[draw([3, 4], 1), draw([2, 4], 2)], (x, y) => x.indexAdd(0, int([1, 1]), y)],
    'scatter add': () => [
      [draw([3, 4], 1), draw([3, 2], 2)],
      (x, y) =>
        x.scatterAdd(
          1,
          int([
            [0, 0],
            [3, 1],
            [2, 2],
          ]),
          y,
        ),
    ],
    embedding: () => [
      [draw([5, 3], 1)],
      (w) =>
        w.embedding(
          int([
            [4, 0],
            [4, 2],
          ]),
        ),
    ],
    cumsum: () => [[draw([3, 4], 1)], (x) => x.cumsum(1)],
    'slices, cat, transpose': () => [[draw([3, 4], 1)], (x) => cat([x.narrow(1, 0, 2), x.slice(1, 1, null, 2)], 1).t()],
    'silu, gelu, tanh, sigmoid, exp, log': () => [
      [draw([6], 1)],
      (x) => x.silu().add(x.gelu()).add(x.tanh()).add(x.sigmoid()).add(x.exp().add(1).log()),
    ],
    'where, clamp, maximum': () => [
      [draw([6], 1), draw([6], 2)],
      (x, y) => where(x.gt(0), x.mul(y), y).clamp(-0.9, 0.9).add(x.maximum(y)),
    ],
    'mean, variance, norm': () => [[draw([3, 4], 1)], (x) => x.mean(1).add(x.variance(1)).add(x.norm(2, 1))],
    'masked fill': () => [[draw([3, 4], 1)], (x) => x.maskedFill(x.gt(0.5), 0).square()],
    einsum: () => [[draw([2, 3], 1), draw([3, 4], 2)], (a, b) => einsum('ij,jk->ki', [a, b])],
    'topk values': () => [[draw([3, 4], 1)], (x) => x.topk(2)[0]],
    'cross entropy': () => [[draw([3, 4], 1)], (x) => crossEntropyLoss(x, int([1, 0, 3]))],
    attention: () => [
      [draw([1, 2, 3, 4], 1), draw([1, 2, 3, 4], 2), draw([1, 2, 3, 4], 3)],
      (q, k, v) => scaledDotProductAttention(q, k, v, null, 0, true),
    ],
  };
  for (const [name, make] of Object.entries(cases)) {
    it(name, () => {
      const [inputs, f] = make();
      expect(gradientError(inputs, f)).toBeLessThan(1e-8);
    });
  }
});

describe('backward', () => {
  it('accumulates into the leaves', () => {
    const x = tensor([1, 2, 3], { requiresGrad: true });
    expect(x.grad).toBeNull();
    x.square().sum().backward();
    expect(x.grad?.numbers()).toEqual([2, 4, 6]);
    x.mul(10).sum().backward();
    expect(x.grad?.numbers()).toEqual([12, 14, 16]);
    x.grad = null;
    expect(x.grad).toBeNull();
    x.grad = tensor([1, 1, 1]);
    expect(x.grad?.numbers()).toEqual([1, 1, 1]);
  });

  it('takes the gradient of an output that is not a scalar', () => {
    const x = tensor([1, 2], { requiresGrad: true });
    const y = x.square();
    expect(() => y.backward()).toThrow('grad can be implicitly created only for scalar outputs');
    y.backward(tensor([1, 10]));
    expect(x.grad?.numbers()).toEqual([2, 40]);
  });

  it('goes back from several outputs at once', () => {
    const x = tensor([3], { requiresGrad: true });
    backward([x.mul(2).sum(), x.square()], [null, tensor([10])]);
    expect(x.grad?.item()).toBe(2 + 60);
  });

  it('runs once unless the graph is retained', () => {
    const x = tensor([2], { requiresGrad: true });
    const y = x.square().sum();
    y.backward(null, { retainGraph: true });
    y.backward();
    expect(x.grad?.item()).toBe(8);
    expect(() => y.backward()).toThrow('second time');
  });

  it('refuses what has no graph', () => {
    expect(() => tensor([1]).sum().backward()).toThrow('does not require grad');
    expect(() => {
      tensor([1], { dtype: 'int64' }).requiresGrad = true;
    }).toThrow('floating point');
  });

  it('knows leaves', () => {
    const x = tensor([1], { requiresGrad: true });
    expect([x.isLeaf, x.mul(2).isLeaf, x.mul(2).requiresGrad, x.detach().requiresGrad]).toEqual([
      true,
      false,
      true,
      false,
    ]);
  });

  it('survives the scope that made the graph', () => {
    const x = tensor([2], { requiresGrad: true });
    const loss = scope(() => x.square().mul(x).sum());
    loss.backward();
    expect(x.grad?.item()).toBe(12);
  });
});

describe('grad', () => {
  it('touches no leaf', () => {
    const x = tensor([1, 2], { requiresGrad: true });
    const w = tensor([3], { requiresGrad: true });
    const [dx] = grad([x.mul(w).sum()], [x]);
    expect(dx?.numbers()).toEqual([3, 3]);
    expect([x.grad, w.grad]).toEqual([null, null]);
  });

  it('of an intermediate result', () => {
    const x = tensor([3], { requiresGrad: true });
    const y = x.square();
    expect(grad([y.mul(5).sum()], [y])[0]?.item()).toBe(5);
  });

  it('gives null or throws for an input that does not matter', () => {
    const x = tensor([1], { requiresGrad: true });
    const other = tensor([1], { requiresGrad: true });
    expect(() => grad([x.sum()], [other])).toThrow('to not have been used in the graph');
    expect(grad([x.mul(1).sum()], [other], { allowUnused: true })).toEqual([null]);
  });

  it('differentiates twice and three times', () => {
    const x = tensor([2], { dtype: 'float64', requiresGrad: true });
    const [first] = grad([x.pow(4).sum()], [x], { createGraph: true });
    const [second] = grad([(first as Tensor).sum()], [x], { createGraph: true });
    const [third] = grad([(second as Tensor).sum()], [x]);
    expect([first?.item(), second?.item(), third?.item()]).toEqual([32, 48, 48]);
  });

  it('second derivatives of softmax and matmul match central differences', () => {
    const inner =
      (f: (x: Tensor) => Tensor) =>
      (x: Tensor): Tensor =>
        enableGrad(() => grad([f(x).square().sum()], [x], { createGraph: true })[0] as Tensor);
    const w = draw([3, 3], 5).detach();
    // enableGrad: the finite differences are taken without recording, the inner gradient needs it.
    const f = inner((x) => x.matmul(w).softmax(-1).matmul(x.t()));
    expect(gradientError([draw([2, 3], 4)], f)).toBeLessThan(1e-7);
  });
});

describe('noGrad and enableGrad', () => {
  const x = tensor([1], { requiresGrad: true });
  const records = (): boolean => x.mul(2).requiresGrad;

  it('nest', () => {
    expect(noGrad(() => [records(), enableGrad(() => [records(), noGrad(records), records()]), records()])).toEqual([
      false,
      [true, false, true],
      false,
    ]);
    expect(records()).toBe(true);
  });

  it('are undone by an exception', () => {
    expect(() =>
      noGrad(() => {
        enableGrad(() => {
          throw new Error('boom');
        });
      }),
    ).toThrow('boom');
    expect(records()).toBe(true);
    expect(() => noGrad(() => zeros([2]).add(zeros([3])))).toThrow('aten::add');
    expect(records()).toBe(true);
  });

  it('refuse promises', () => {
    expect(() => noGrad(() => Promise.resolve(1))).toThrow('returned a promise');
    expect(() => autocast('cpu', 'bfloat16', () => Promise.resolve(1))).toThrow('returned a promise');
    expect(records()).toBe(true);
  });

  it('do not stop a backward pass', () => {
    const y = x.mul(3).sum();
    noGrad(() => y.backward());
    expect(x.grad?.item()).toBe(3);
  });
});

describe('autocast', () => {
  const a = tensor(
    [
      [1, 2],
      [3, 4],
    ],
    { requiresGrad: true },
  );
  it('computes products in bfloat16, with float32 weights and gradients', () => {
    const [product, sum] = autocast('cpu', 'bfloat16', () => [a.matmul(a), a.add(a)] as const);
    expect([product.dtype, sum.dtype]).toEqual(['bfloat16', 'float32']);
    expect(product.numbers()).toEqual([7, 10, 15, 22]);
    product.to('float32').sum().backward();
    expect([a.grad?.dtype, a.grad?.numbers()]).toEqual(['float32', [7, 11, 9, 13]]);
  });

  it('ends with its body, nested and by exception', () => {
    const dtype = (): string => a.matmul(a).dtype;
    expect(autocast('cpu', 'bfloat16', () => [dtype(), autocast('cpu', 'float16', dtype), dtype()])).toEqual([
      'bfloat16',
      'float16',
      'bfloat16',
    ]);
    expect(dtype()).toBe('float32');
    expect(() => autocast('cpu', 'bfloat16', () => zeros([2, 3]).matmul(zeros([2, 3])))).toThrow('aten::matmul');
    expect(dtype()).toBe('float32');
  });

  it('stays as it was when asked for what there is not', () => {
    const [inner] = autocast('cpu', 'bfloat16', () => {
      expect(() => autocast('cpu', 'float23' as 'float16', () => 0)).toThrow("unknown dtype 'float23'");
      return [a.matmul(a).dtype];
    });
    expect(inner).toBe('bfloat16');
    expect(() => autocast('warp', 'bfloat16', () => 0)).toThrow('warp');
  });

  it('sees weights that were changed between two uses', () => {
    const w = tensor([[1]], { requiresGrad: true });
    const product = (): number => autocast('cpu', 'bfloat16', () => w.matmul(w).item());
    expect(product()).toBe(1);
    noGrad(() => w.fill_(3));
    expect(product()).toBe(9);
  });
});

it('a small network learns: the gradient of its loss is the one worked out by hand', () => {
  // loss = mean((w x + b - y)^2) at w = 1, b = 0, x = [1, 2], y = [3, 5]: errors [-2, -3],
  // dw = mean(2 e x) = (−4 − 12)/2 = −8, db = mean(2 e) = −5.
  const w = tensor([1], { requiresGrad: true });
  const b = tensor([0], { requiresGrad: true });
  const x = tensor([1, 2]);
  const loss = w
    .mul(x)
    .add(b)
    .sub(tensor([3, 5]))
    .square()
    .mean();
  loss.backward();
  expect([loss.item(), w.grad?.item(), b.grad?.item()]).toEqual(closeTo([6.5, -8, -5]));
});
