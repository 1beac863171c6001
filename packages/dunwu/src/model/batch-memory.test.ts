import { expect, test } from 'vitest';
import { batchMemory } from './batch-memory.js';
import { parseConfig } from './config.js';
import { tinyConfig } from './testing/tiny.js';

test('grouped queries, by hand', () => {
  const shape = {
    vocab_size: 48,
    hidden_size: 32,
    intermediate_size: 48,
    num_hidden_layers: 2,
    num_attention_heads: 4,
    num_key_value_heads: 1,
    head_dim: 16,
    max_position_embeddings: 64,
  };
  const config = parseConfig({ model_type: 'llama', ...shape });
  // A layer: the stream twice, and its two norms; q, k, v once (6 heads of 16) and what attention gives back (4 of them);
  // gate, up and their product.
  const inner = 2 * ((6 + 4) * 16 + 3 * 48);
  expect(batchMemory(config, 4)).toEqual({ token: 2 * 32 * (2 + 2) * 4 + inner * 4, logits: 48 * 4 });
  expect(batchMemory(config, 2)).toEqual({ token: 2 * 32 * (2 * 4 + 2 * 2) + inner * 2, logits: 48 * 8 });
  // Qwen3: queries and keys (5 heads) before their norms too.
  const normed = parseConfig({ model_type: 'qwen3', ...shape });
  expect(batchMemory(normed, 4).token - batchMemory(config, 4).token).toBe(2 * 5 * 16 * 4);
});

test('latent attention and routed experts, by hand', () => {
  // Queries compressed to 10, before and after their norm, and 2 heads of 6 + 4; latents of 8 likewise and a key of 4; keys of 6,
  // values of 5 and what attention gives back.
  const attention = 2 * 10 + 2 * 10 + 2 * 8 + 4 + 2 * (6 + 2 * 5);
  // Two experts' gates and ups, and one shared expert.
  const sparse = 2 * 2 * 12 + 3 * 12;
  const inner = 3 * attention + 3 * 24 + 2 * sparse;
  expect(batchMemory(tinyConfig(), 4)).toEqual({ token: 3 * 16 * (2 + 2) * 4 + inner * 4, logits: 24 * 4 });
  // In bfloat16 the routers' inputs in float32 are there beside it.
  const token = 3 * 16 * (2 * 4 + 2 * 2) + inner * 2 + 2 * 16 * 4;
  expect(batchMemory(tinyConfig(), 2)).toEqual({ token, logits: 24 * 8 });
});
