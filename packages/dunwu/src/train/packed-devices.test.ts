import { type Device, manualSeed, op, scope, tokenLogprobs } from '@dunwu/torch';
import { describe, expect, it } from 'vitest';
import { CausalModel } from '../model/causal-model.js';
import { setComputeType } from '../model/compute-type.js';
import { gradientDifference, takeGradients, tinyConfig, tinyDense } from '../model/testing/tiny.js';
import { packedTensors } from './packed.js';

/** A device that is not the CPU: native/stand_in.cpp. */
const OTHER = op('dunwu::stand_in')() as string;

/** Every expert is chosen: a rounded score that chooses another one would be a step in the numbers. */
const FAMILIES = {
  deepseek: tinyConfig({ v_head_dim: 6, num_experts_per_tok: 8, n_group: 1 }),
  'deepseek, wide experts': tinyConfig({
    v_head_dim: 6,
    num_experts_per_tok: 8,
    n_group: 1,
    moe_intermediate_size: 16,
    num_attention_heads: 3,
  }),
  qwen3: tinyDense('qwen3', 1).config,
  llama: tinyDense('llama', 1, { attention_bias: true, mlp_bias: true }).config,
};

describe.each(Object.entries(FAMILIES))('%s', (_, config) => {
  it.each([
    ['float32', 1e-5],
    ['bfloat16', 3e-2],
  ] as const)('packed rows in %s: log-probabilities and gradients are those of the CPU', (type, tolerance) => {
    const before = setComputeType(type);
    const computed = (device: Device) => {
      manualSeed(5);
      const model = new CausalModel(config, device);
      const logprobs = scope(() => {
        const rows = packedTensors(
          {
            batch: 2,
            time: 7,
            tokens: Int32Array.from({ length: 16 }, (__, i) => (7 * i + 3) % 24),
            segments: Int32Array.from([0, 0, 0, 1, 1, 1, 2, 2, 0, 0, 0, 0, 0, -1, -1, -1]),
            positions: Int32Array.from([0, 1, 2, 0, 1, 2, 0, 1, 0, 1, 2, 3, 4, 0, 0, 0]),
          },
          device,
        );
        const [found] = tokenLogprobs(model.forward(rows).hidden, model.headWeight, rows.targets);
        found.square().sum().backward();
        return found.numbers();
      });
      const gradients = takeGradients(model);
      model.dispose();
      return { logprobs, gradients };
    };
    const [there, here] = [computed(OTHER), computed('cpu')];
    setComputeType(before);
    there.logprobs.forEach((value, i) => {
      expect(Math.abs(value - (here.logprobs[i] as number))).toBeLessThan(2 * tolerance);
    });
    expect(gradientDifference(there.gradients, here.gradients)).toBeLessThan(tolerance);
  });
});
