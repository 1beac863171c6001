import { noGrad, ones } from '@dunwu/torch';
import { describe, expect, it } from 'vitest';
import { type Parameter, parameter } from '../model/parameter.js';
import { Optimizer } from './optimizer.js';
import { type OptimizerConfig, optimizerSchema } from './optimizer-config.js';

const KINDS = ['matrix', 'router', 'vector', 'embedding', 'buffer'] as const;

/** One parameter of each kind, all of them twos. */
function parameters(): Parameter[] {
  return KINDS.map((kind) => {
    const weight = ones(kind === 'vector' || kind === 'buffer' ? [3] : [3, 3]).mul(2);
    weight.requiresGrad = kind !== 'buffer';
    return parameter(kind, kind, weight);
  });
}

const values = (list: readonly Parameter[]): Record<string, number> =>
  Object.fromEntries(
    list.map(({ name, tensor: weight }) => [name, Number((weight.detach().numbers()[0] as number).toFixed(6))]),
  );

function setGradients(list: readonly Parameter[], value: number): void {
  for (const { kind, tensor: weight } of list) {
    if (kind !== 'buffer') weight.grad = noGrad(() => weight.detach().mul(0).add(value));
  }
}

const adamw = optimizerSchema.parse({ kind: 'adamw', learning_rate: 0.1, weight_decay: 0.5 });
const muon = optimizerSchema.parse({ kind: 'muon', learning_rate: 0.2, adamw_learning_rate: 0.1, weight_decay: 0.5 });

describe('weight decay', () => {
  it('adamw: 1 − lr · wd on matrices and routers, nothing else', () => {
    const list = parameters();
    const optimizer = new Optimizer(list, adamw);
    setGradients(list, 0);
    optimizer.step(1);
    expect(values(list)).toEqual({ matrix: 1.9, router: 1.9, vector: 2, embedding: 2, buffer: 2 });
    optimizer.step(0.5);
    expect(values(list)).toEqual({ matrix: 1.8525, router: 1.8525, vector: 2, embedding: 2, buffer: 2 });
    optimizer.dispose();
  });

  it('muon: matrices by its own rate, routers by that of AdamW', () => {
    const list = parameters();
    const optimizer = new Optimizer(list, muon);
    setGradients(list, 0);
    optimizer.step(1);
    expect(values(list)).toEqual({ matrix: 1.8, router: 1.9, vector: 2, embedding: 2, buffer: 2 });
    optimizer.dispose();
  });
});

describe('steps', () => {
  it('the first AdamW step is the learning rate against the gradient’s sign', () => {
    const list = parameters();
    const optimizer = new Optimizer(list, { ...adamw, weight_decay: 0 } as OptimizerConfig);
    setGradients(list, 7);
    optimizer.step(0.5);
    expect(values(list)).toEqual({ matrix: 1.95, router: 1.95, vector: 1.95, embedding: 1.95, buffer: 2 });
    optimizer.dispose();
  });

  it('Muon orthogonalises matrices and leaves the rest to AdamW', () => {
    const list = parameters();
    const optimizer = new Optimizer(list, { ...muon, weight_decay: 0 } as OptimizerConfig);
    setGradients(list, 7);
    optimizer.step(1);
    const { matrix, ...rest } = values(list);
    expect(rest).toEqual({ router: 1.9, vector: 1.9, embedding: 1.9, buffer: 2 });
    // A matrix of equal entries has one singular direction; orthogonalised, its entries are about ⅓.
    expect((2 - (matrix as number)) / 0.2).toBeGreaterThan(0.2);
    expect((2 - (matrix as number)) / 0.2).toBeLessThan(0.45);
    optimizer.dispose();
  });

  it('clip returns the norm before it and scales down to the limit; zeroGrad forgets', () => {
    const list = parameters();
    const optimizer = new Optimizer(list, adamw);
    setGradients(list, 2);
    // 9 + 9 + 3 + 9 entries of 2: √(30 · 4)
    expect(optimizer.clip(1, 1).item()).toBeCloseTo(Math.sqrt(120), 4);
    expect(list[0]?.tensor.grad?.numbers()[0]).toBeCloseTo(2 / Math.sqrt(120), 5);
    expect(optimizer.clip(5, 2).item()).toBeCloseTo(1, 5);
    optimizer.zeroGrad();
    expect(list.map(({ tensor: weight }) => weight.grad)).toEqual([null, null, null, null, null]);
    optimizer.dispose();
  });
});

describe('state', () => {
  it.each([adamw, muon])('$kind: put back into a new optimiser it goes on bit for bit', (config) => {
    const [one, two] = [parameters(), parameters()];
    const first = new Optimizer(one, config);
    for (const gradient of [3, -1, 2]) {
      setGradients(one, gradient);
      first.step(1);
    }
    const second = new Optimizer(two, config);
    const copyOf = new Map(two.map(({ name, tensor: weight }) => [name, weight]));
    for (const { name, tensor: weight } of one) noGrad(() => copyOf.get(name)?.copy_(weight.detach()));
    second.load(new Map(Object.entries(first.state()).map(([name, value]) => [name, value.clone()])));
    for (const [optimizer, list] of [
      [first, one],
      [second, two],
    ] as const) {
      setGradients(list, 0.3);
      optimizer.step(1);
    }
    one.forEach(({ name, tensor: weight }, i) => {
      expect(two[i]?.tensor.detach().numbers(), name).toEqual(weight.detach().numbers());
    });
    first.dispose();
    second.dispose();
  });

  it('names the parameters', () => {
    const list = parameters();
    const optimizer = new Optimizer(list, muon);
    setGradients(list, 1);
    optimizer.step(1);
    const names = Object.keys(optimizer.state());
    expect(names.filter((name) => name.startsWith('muon.')).every((name) => name.includes('matrix'))).toBe(true);
    expect(names.some((name) => name.startsWith('adamw.') && name.includes('embedding'))).toBe(true);
    expect(names.some((name) => name.includes('buffer'))).toBe(false);
    optimizer.dispose();
  });
});
