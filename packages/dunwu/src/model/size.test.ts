import { expect, test } from 'vitest';
import type { CausalModel } from './causal-model.js';
import { parseConfig } from './config.js';
import { decodeBytes, modelMemory, modelSize } from './size.js';
import { tinyConfig, tinyDense, tinyModel } from './testing/tiny.js';

const MODELS: [name: string, make: () => CausalModel][] = [
  ['deepseek_v3', () => tinyModel(1)],
  [
    'deepseek_v3, no q compression, biases, tied',
    () => tinyModel(1, { q_lora_rank: null, attention_bias: true, tie_word_embeddings: true }),
  ],
  ['deepseek_v3 with biases', () => tinyModel(1, { attention_bias: true, n_shared_experts: 2 })],
  ['deepseek_v3, all dense', () => tinyModel(1, { first_k_dense_replace: 9 })],
  ['deepseek_v2', () => tinyModel(1, { model_type: 'deepseek_v2', norm_topk_prob: false } as object)],
  ['qwen2', () => tinyDense('qwen2', 1, { tie_word_embeddings: true })],
  ['qwen3', () => tinyDense('qwen3', 1, { head_dim: 6 })],
  ['llama', () => tinyDense('llama', 1, { attention_bias: true, mlp_bias: true, num_key_value_heads: 1 })],
];

test.each(MODELS)('%s: the sum is the number of numbers that the model has', (_, make) => {
  const model = make();
  const numbers = model.parameters().reduce((sum, { tensor }) => sum + tensor.numel, 0);
  expect(modelSize(model.config).total).toBe(numbers);
  model.dispose();
});

test('DeepSeek-V3 as published: 671 B parameters, 37 B active, a cache of 70 kB a token in bf16', () => {
  const size = modelSize(
    parseConfig({
      model_type: 'deepseek_v3',
      vocab_size: 129280,
      hidden_size: 7168,
      intermediate_size: 18432,
      moe_intermediate_size: 2048,
      num_hidden_layers: 61,
      num_attention_heads: 128,
      n_shared_experts: 1,
      n_routed_experts: 256,
      num_experts_per_tok: 8,
      n_group: 8,
      topk_group: 4,
      first_k_dense_replace: 3,
      q_lora_rank: 1536,
      kv_lora_rank: 512,
      qk_nope_head_dim: 128,
      qk_rope_head_dim: 64,
      v_head_dim: 128,
    }),
  );
  expect(size.total / 1e9).toBeCloseTo(671.0, 0);
  expect((size.active + 129280 * 7168) / 1e9).toBeCloseTo(37.5, 0);
  // arXiv 2412.19437: 576 numbers a token and layer.
  expect(size.cache).toBe(61 * 576);
  expect(size.plainCache).toBe(61 * 128 * (192 + 128));
});

test('Qwen2.5-0.5B: 494 M parameters, by hand what it needs', () => {
  const size = modelSize(
    parseConfig({
      model_type: 'qwen2',
      vocab_size: 151936,
      hidden_size: 896,
      intermediate_size: 4864,
      num_hidden_layers: 24,
      num_attention_heads: 14,
      num_key_value_heads: 2,
      max_position_embeddings: 32768,
      tie_word_embeddings: true,
    }),
  );
  expect(size.total).toBe(494_032_768);
  expect(size.parts.map(({ part }) => part)).toEqual(['embedding', 'attention', 'dense', 'norms', 'head']);
  expect(size.parts.at(-1)).toEqual({ part: 'head', total: 0, active: 151936 * 896 });
  expect(modelMemory(size)).toEqual({
    weights: 4 * 494_032_768,
    // All but the norms: two of each layer and the last.
    rounded: 2 * (494_032_768 - 49 * 896),
    training: 16 * 494_032_768,
    summing: 4 * 151_936 * 896,
    reference: 4 * 494_032_768,
    cachePerToken: 4 * 24 * 2 * 2 * 64,
  });
});

test('bytes that a step of decoding reads, by hand', () => {
  const dense = parseConfig({
    model_type: 'llama',
    vocab_size: 24,
    hidden_size: 16,
    intermediate_size: 24,
    num_hidden_layers: 2,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    max_position_embeddings: 64,
  });
  // A layer: 16 · 32 of queries, keys and values, 16 · 16 of the output, 3 · 16 · 24, two norms; then a norm and the head.
  const weights = 2 * (512 + 256 + 1152 + 32) + 16 + 24 * 16;
  // The cache: 2 layers of 2 keys and 2 values of 4 numbers.
  expect(decodeBytes(dense, { rows: 3, context: 10, bytes: 2 })).toBe(2 * (weights + 3 * 10 * 2 * 4 * 4));
  // Two layers with 8 experts of 3 · 16 · 12, of which a row takes two: five rows can take all.
  const mixture = (rows: number): number => decodeBytes(tinyConfig(), { rows, context: 0, bytes: 4 });
  expect(mixture(3) - mixture(1)).toBe(4 * 2 * (6 - 2) * 576);
  expect(mixture(5) - mixture(3)).toBe(4 * 2 * (8 - 6) * 576);
  expect(mixture(9)).toBe(mixture(5));
});
