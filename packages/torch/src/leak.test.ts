import { expect, it } from 'vitest';
import { AdamW, clipGradNorm, Generator, keep, liveTensors, randn, scope, type Tensor, tensor } from './index.js';
import { gc } from './testing/collect.js';

it('1,000 training steps leave the number of tensors and the resident memory as they were', {
  timeout: 120_000,
}, async () => {
  using generator = new Generator(1);
  const make = (shape: number[]): Tensor =>
    scope(() => {
      const param = keep(randn(shape, { generator }).mul(0.1));
      param.requiresGrad = true;
      return param;
    });
  const params = { w1: make([64, 32]), b1: make([64]), w2: make([10, 64]), b2: make([10]) };
  using optimiser = new AdamW([{ params }], { weightDecay: 0.01 });
  let loss = 0;
  const step = (): void => {
    scope(() => {
      const x = randn([128, 32], { generator });
      const target = x.narrow(1, 0, 10).argmax(1);
      const logits = x.linear(params.w1, params.b1).silu().linear(params.w2, params.b2);
      const error = logits.logSoftmax(-1).gather(1, target.unsqueeze(1)).mean().neg();
      error.backward();
      clipGradNorm(Object.values(params), 1);
      loss = error.item();
    });
    optimiser.step(3e-3);
    optimiser.zeroGrad();
  };
  const steps = (count: number): void => {
    for (let i = 0; i < count; i++) step();
  };

  steps(200); // warm-up: caches of libtorch, of the allocator and of V8
  await gc();
  const first = loss;
  const live = liveTensors();
  const resident = process.memoryUsage.rss();
  for (let round = 0; round < 10; round++) {
    steps(100);
    expect(liveTensors()).toBe(live);
  }
  await gc();
  const growth = process.memoryUsage.rss() - resident;
  // One leaked [128, 64] activation a step would be 32 MB.
  expect(growth).toBeLessThan(8e6);
  expect(liveTensors()).toBe(live);
  expect(live).toBe(4 + 4 * 3); // parameters and their moments
  expect(loss).toBeLessThan(first);
});

it('outside of scopes the collector keeps up', async () => {
  await gc();
  const live = liveTensors();
  const x = tensor([
    [1, 2],
    [3, 4],
  ]);
  for (let i = 0; i < 20; i++) {
    for (let k = 0; k < 200; k++) x.matmul(x).add(1);
    await gc();
  }
  expect(liveTensors()).toBe(live + 1);
});
