import { expect, it } from 'vitest';
import type { CausalModel } from './causal-model.js';
import { addAdapters } from './lora.js';
import { loraConfig } from './lora-config.js';
import { loraSize } from './lora-size.js';
import { tinyDense, tinyModel } from './testing/tiny.js';

it.each<[string, () => CausalModel]>([
  ['DeepSeek', () => tinyModel(1)],
  ['DeepSeek without q compression, all dense', () => tinyModel(1, { q_lora_rank: null, first_k_dense_replace: 9 })],
  ['DeepSeek without shared experts', () => tinyModel(1, { n_shared_experts: null })],
  ['Qwen', () => tinyDense('qwen2', 1)],
  ['Qwen3 with wide heads', () => tinyDense('qwen3', 1, { head_dim: 6 })],
])('%s: as many as addAdapters makes, on as many', (_, make) => {
  const model = make();
  addAdapters(model, loraConfig.parse({ rank: 3, alpha: 3 }));
  const parameters = model.trained().reduce((sum, { tensor }) => sum + tensor.numel, 0);
  const under = model.linears().reduce((sum, { linear }) => sum + linear.weight.numel, 0);
  expect(loraSize(model.config, 3)).toEqual({ parameters, under });
  model.dispose();
});
