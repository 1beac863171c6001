import { describe, expect, it } from 'vitest';
import { CausalModel } from '../model/causal-model.js';
import { addAdapters } from '../model/lora.js';
import { loraConfig } from '../model/lora-config.js';
import { TINY, tinyConfig } from '../model/testing/tiny.js';
import { countFlops, modelFlops } from './flops.js';

describe('countFlops', () => {
  // hidden 64, 4 heads of 16 + 8, values 16, latents 48 and 32; 3 layers, the first dense (128); 8 experts of 32, 2 + 1
  // used; vocabulary 128.
  const config = tinyConfig({
    ...TINY,
    vocab_size: 128,
    hidden_size: 64,
    intermediate_size: 128,
    moe_intermediate_size: 32,
    num_attention_heads: 4,
    q_lora_rank: 48,
    kv_lora_rank: 32,
    qk_nope_head_dim: 16,
    qk_rope_head_dim: 8,
    v_head_dim: 16,
  });

  it('by hand', () => {
    // queries 64·48 + 48·96, latents 64·40, keys and values 32·4·32, output 64·64
    const attention = 7680 + 2560 + 4096 + 4096;
    const dense = 3 * 64 * 128;
    const sparse = 3 * (3 * 64 * 32) + 64 * 8;
    const active = 3 * attention + dense + 2 * sparse + 64 * 128;
    expect(active).toBe(125_952);
    const flops = countFlops(config);
    expect(flops.activeParameters).toBe(active);
    // Attention: per attended token, layer and head a product with a key of 24 and a value of 16.
    expect(flops.forward(10)).toBe(2 * 125_952 + 10 * 2 * 3 * 4 * (24 + 16));
    expect(flops.training(10)).toBe(784_512);
  });

  it('without q compression', () => {
    const { activeParameters } = countFlops({ ...config, q_lora_rank: null });
    expect(activeParameters).toBe(125_952 + 3 * (64 * 96 - 7680));
  });

  it('with all experts active it is the number of weights in matrices, but the embedding', () => {
    const all = tinyConfig({ num_experts_per_tok: 8, n_group: 1 });
    const model = new CausalModel(all);
    const weights = model
      .parameters()
      .filter(({ kind, name }) => kind === 'matrix' || kind === 'router' || name === 'lm_head.weight')
      .reduce((sum, { tensor }) => sum + tensor.numel, 0);
    expect(countFlops(all).activeParameters).toBe(weights);
    model.dispose();
  });
});

it('with adapters: r · (inputs + outputs) more for each matrix, and no gradient of the frozen ones', () => {
  const model = new CausalModel(tinyConfig());
  expect(modelFlops(model).training(7)).toBe(countFlops(model.config).training(7));
  addAdapters(model, loraConfig.parse({ rank: 2, alpha: 2, target_modules: ['o_proj'] }));
  // o_proj: 2 heads of 5 to 16, three layers.
  const adapters = 3 * 2 * (10 + 16);
  const plain = countFlops(model.config);
  const flops = modelFlops(model);
  expect(flops.activeParameters).toBe(plain.activeParameters + adapters);
  expect(flops.forward(7)).toBe(plain.forward(7) + 2 * adapters);
  const attention = plain.forward(7) - 2 * plain.activeParameters;
  expect(flops.training(7)).toBe(4 * plain.activeParameters + 6 * adapters + 3 * attention);
  model.dispose();
});
