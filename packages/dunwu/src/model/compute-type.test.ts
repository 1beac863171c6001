import { scope, tokenLogprobs } from '@dunwu/torch';
import { afterEach, expect, it } from 'vitest';
import type { CausalModel } from './causal-model.js';
import { computeType, setComputeType } from './compute-type.js';
import { ids, rows, takeGradients, tinyDense, tinyModel } from './testing/tiny.js';

afterEach(() => {
  setComputeType('float32');
});

const numbers = (model: CausalModel): { logits: number[]; gradients: Map<string, number[]>; dtype: string } =>
  scope(() => {
    const tokens = ids(rows(4, 20));
    const { hidden } = model.forward({ tokens });
    const [logprobs] = tokenLogprobs(hidden, model.headWeight, tokens.reshape([-1]));
    logprobs.mean().neg().backward();
    const gradients = takeGradients(model);
    for (const { tensor, kind } of model.parameters())
      expect(kind === 'buffer' || tensor.dtype === 'float32').toBe(true);
    return { logits: model.logits(hidden).detach().numbers(), gradients, dtype: hidden.dtype };
  });

function cosine(a: readonly number[], b: readonly number[]): number {
  const dot = (x: readonly number[], y: readonly number[]): number =>
    x.reduce((sum, one, i) => sum + one * (y[i] as number), 0);
  return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
}

it('float32 unless it is set, and set back', () => {
  expect(computeType()).toBe('float32');
  expect(setComputeType('bfloat16')).toBe('float32');
  expect(setComputeType('float32')).toBe('bfloat16');
});

it.each([
  ['deepseek_v3, dense', () => tinyModel(1, { first_k_dense_replace: 3 })],
  ['deepseek_v3', () => tinyModel(2)],
  ['qwen3', () => tinyDense('qwen3', 3)],
])('%s in bfloat16: near to float32, with gradients in float32 that point the same way', (_name, make) => {
  const model = make();
  const exact = numbers(model);
  setComputeType('bfloat16');
  const short = numbers(model);
  expect([exact.dtype, short.dtype]).toEqual(['float32', 'bfloat16']);
  expect(short.logits).not.toEqual(exact.logits);
  // Experts see few tokens, of which rounding sends one elsewhere now and then.
  const routed = model.moeLayers.length > 0;
  expect(cosine(short.logits, exact.logits)).toBeGreaterThan(routed ? 0.97 : 0.999);
  expect([...short.gradients.keys()]).toEqual([...exact.gradients.keys()]);
  for (const [name, one] of exact.gradients) {
    expect(cosine(short.gradients.get(name) as number[], one), name).toBeGreaterThan(routed ? 0.8 : 0.97);
  }
  model.dispose();
});
