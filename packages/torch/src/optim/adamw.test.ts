import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { AdamW, Generator, openSafetensors, randn, type Tensor, tensor, writeSafetensors } from '../index.js';
import { decode, type Encoded, expectTensor, readGolden } from '../testing/golden.js';

type Step = Record<string, Encoded | null>;
const golden = readGolden<{ start: Record<string, Encoded>; gradients: Step[]; adamw: Step[]; adamw_default: Step[] }>(
  'optim.json',
);

const parameters = (): { w: Tensor; b: Tensor } => {
  const params = { w: decode(golden.start.w as Encoded), b: decode(golden.start.b as Encoded) };
  for (const param of Object.values(params)) param.requiresGrad = true;
  return params;
};
const setGradients = (params: Record<string, Tensor>, step: Step): void => {
  for (const [name, param] of Object.entries(params)) {
    const grad = step[name];
    param.grad = grad === null || grad === undefined ? null : decode(grad);
  }
};
const scalar = (value: number, dtype: 'float32' | 'float64' = 'float64'): Tensor =>
  tensor([value], { dtype, requiresGrad: true });

describe('AdamW', () => {
  for (const fused of [true, false]) {
    describe(fused ? 'fused' : 'in plain operators', () => {
      it('makes three steps as worked out by hand', () => {
        // θ₀ = 1, η = 0.1, λ = 0.5, β = (0.5, 0.75), ε = 0; g = 2, −1, 4.
        // t=1: θ ← 1·(1 − 0.05) = 0.95; m = 1, v = 1;       m̂ = 1/0.5 = 2, v̂ = 1/0.25 = 4;       θ = 0.95 − 0.1·2/2 = 0.85
        // t=2: θ ← 0.85·0.95 = 0.8075;  m = 0, v = 1;       m̂ = 0;                                θ = 0.8075
        // t=3: θ ← 0.767125;            m = 2, v = 4.75;    m̂ = 2/0.875 = 2.285714…, v̂ = 4.75/0.578125 = 8.216216…
        //      θ = 0.767125 − 0.1·2.285714/2.866394 = 0.687383…
        const theta = scalar(1);
        using optimiser = new AdamW([{ params: [theta] }], { betas: [0.5, 0.75], eps: 0, weightDecay: 0.5, fused });
        const seen = [2, -1, 4].map((g) => {
          theta.grad = tensor([g], { dtype: 'float64' });
          optimiser.step(0.1);
          return theta.item();
        });
        expect(seen[0]).toBeCloseTo(0.85, 14);
        expect(seen[1]).toBeCloseTo(0.8075, 14);
        expect(seen[2]).toBeCloseTo(0.767125 - (0.1 * (2 / 0.875)) / Math.sqrt(4.75 / 0.578125), 14);
        expect(seen[2]).toBeCloseTo(0.687383, 6);
        expect(optimiser.state()['0.0.exp_avg']?.item()).toBe(2);
        expect(optimiser.state()['0.0.exp_avg_sq']?.item()).toBe(4.75);
        expect(optimiser.state()['0.0.step']?.item()).toBe(3);
      });

      it('gives what torch.optim.AdamW gives: groups, decay, a missing gradient', () => {
        const params = parameters();
        using optimiser = new AdamW(
          [
            { params: { w: params.w }, weightDecay: 0.1 },
            { params: { b: params.b }, weightDecay: 0, lrScale: 2 },
          ],
          { betas: [0.9, 0.95], fused },
        );
        for (const [i, step] of golden.gradients.entries()) {
          setGradients(params, step);
          optimiser.step(0.01);
          expectTensor(params.w, golden.adamw[i]?.w as Encoded, 1e-6);
          expectTensor(params.b, golden.adamw[i]?.b as Encoded, 1e-6);
        }
        expect(optimiser.state()['w.step']?.item()).toBe(4);
        expect(optimiser.state()['b.step']?.item()).toBe(3);
      });

      it('has its defaults', () => {
        const params = parameters();
        using optimiser = new AdamW([{ params }], { fused });
        for (const [i, step] of golden.gradients.entries()) {
          setGradients(params, step);
          optimiser.step(1e-3);
          for (const name of ['w', 'b'] as const)
            expectTensor(params[name], golden.adamw_default[i]?.[name] as Encoded, 1e-6);
        }
      });
    });
  }

  it('fused and plain agree over many steps, in float32', () => {
    const run = (fused: boolean): number[] => {
      using generator = new Generator(5);
      const w = randn([7, 5], { generator });
      w.requiresGrad = true;
      using optimiser = new AdamW([{ params: { w } }], { weightDecay: 0.1, fused });
      for (let i = 0; i < 50; i++) {
        w.grad = randn([7, 5], { generator });
        optimiser.step(0.01);
      }
      return w.numbers();
    };
    const [a, b] = [run(true), run(false)];
    for (const [i, value] of a.entries()) expect(value).toBeCloseTo(b[i] as number, 5);
  });

  it('saved and resumed, through a file, continues bit for bit', () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'dunwu-adamw-'));
    const train = (params: Record<string, Tensor>, optimiser: AdamW, from: number, to: number): void => {
      for (let i = from; i < to; i++) {
        setGradients(params, golden.gradients[i % 4] as Step);
        optimiser.step(0.01);
      }
    };
    const unbroken = parameters();
    using first = new AdamW([{ params: unbroken }]);
    train(unbroken, first, 0, 9);

    const before = parameters();
    using half = new AdamW([{ params: before }]);
    train(before, half, 0, 5);
    const file = path.join(folder, 'optimizer.safetensors');
    writeSafetensors(file, half.state());
    const after = { w: before.w.detach().clone(), b: before.b.detach().clone() };
    for (const param of Object.values(after)) param.requiresGrad = true;
    using rest = new AdamW([{ params: after }]);
    using source = openSafetensors(file);
    expect([...source.names].sort()).toEqual([
      'b.exp_avg',
      'b.exp_avg_sq',
      'b.step',
      'w.exp_avg',
      'w.exp_avg_sq',
      'w.step',
    ]);
    rest.load(Object.fromEntries(source.names.map((name) => [name, source.tensor(name)])));
    train(after, rest, 5, 9);
    expect(after.w.bytes()).toEqual(unbroken.w.bytes());
    expect(after.b.bytes()).toEqual(unbroken.b.bytes());
    rmSync(folder, { recursive: true });
  });

  it('does not move a parameter without a gradient, nor its moments', () => {
    const [a, b] = [scalar(1), scalar(1)];
    using optimiser = new AdamW([{ params: { a, b } }]);
    a.grad = tensor([1], { dtype: 'float64' });
    optimiser.step(0.1);
    expect(Object.keys(optimiser.state())).toEqual(['a.exp_avg', 'a.exp_avg_sq', 'a.step']);
    const moved = a.item();
    optimiser.zeroGrad();
    expect(a.grad).toBeNull();
    optimiser.step(0.1);
    expect([a.item(), b.item(), optimiser.state()['a.step']?.item()]).toEqual([moved, 1, 1]);
  });

  it('is not recorded for gradients, and works inside a scope-free step', () => {
    const a = scalar(1, 'float32');
    using optimiser = new AdamW([{ params: [a] }]);
    a.square().sum().backward();
    optimiser.step(0.1);
    expect([a.isLeaf, a.requiresGrad]).toEqual([true, true]);
    expect(a.item()).toBeCloseTo(1 - 0.1 * 0.01 - 0.1, 6);
  });

  it('refuses a state that does not fit, and keeps its own', () => {
    const a = scalar(1);
    using optimiser = new AdamW([{ params: { a } }]);
    a.grad = tensor([1], { dtype: 'float64' });
    optimiser.step(0.1);
    const state = Object.fromEntries(Object.entries(optimiser.state()).map(([k, v]) => [k, v.clone()]));
    const { 'a.step': step, ...lacking } = state;
    expect(() => optimiser.load(lacking)).toThrow("AdamW.load: the state lacks 'a.step'");
    expect(() => optimiser.load({ ...state, 'z.step': step as Tensor })).toThrow(
      "AdamW.load: 'z.step' belongs to no parameter here",
    );
    expect(() => optimiser.load({ ...state, 'a.exp_avg': tensor([1, 2], { dtype: 'float64' }) })).toThrow(
      "AdamW.load: 'a.exp_avg' is float64[2], this parameter needs float64[1]",
    );
    expect(() => optimiser.load({ ...state, 'a.exp_avg': tensor([1]) })).toThrow('is float32[1]');
    expect(optimiser.state()['a.step']?.item()).toBe(1);
    optimiser.load(new Map());
    expect(optimiser.state()).toEqual({});
  });

  it('refuses what cannot be trained', () => {
    const a = scalar(1);
    expect(() => new AdamW([{ params: [a] }, { params: [a] }])).toThrow("AdamW: parameter '1.0' is given twice");
    expect(() => new AdamW([{ params: { x: a } }, { params: { x: scalar(2) } }])).toThrow(
      "AdamW: two parameters have the name 'x'",
    );
    expect(() => new AdamW([{ params: [tensor([1], { dtype: 'int64' })] }])).toThrow(
      "AdamW: parameter '0.0' is int64[1]; expected a floating dtype",
    );
    expect(() => new AdamW([], { betas: [0.9, 1] })).toThrow('AdamW: each of betas must be in [0, 1), got 1');
    expect(() => new AdamW([{ params: [a], weightDecay: -1 }])).toThrow(
      'AdamW: weightDecay must be in [0, Infinity), got -1',
    );
    using optimiser = new AdamW([{ params: [a] }]);
    expect(() => optimiser.step(Number.NaN)).toThrow('AdamW: lr must be in [0, Infinity), got NaN');
  });
});
