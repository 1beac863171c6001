import { expect, test } from 'vitest';
import { batchMemory } from './batch-memory.js';
import { parseConfig } from './config.js';
import { tinyConfig } from './testing/tiny.js';

test('grouped queries, by hand', () => {
  const config = parseConfig({
    model_type: 'llama',
    vocab_size: 48,
    hidden_size: 32,
    intermediate_size: 48,
    num_hidden_layers: 2,
    num_attention_heads: 4,
    num_key_value_heads: 1,
    head_dim: 16,
    max_position_embeddings: 64,
  });
  // A layer: the stream twice, and 4 vectors of its width; q, k, v three times (6 heads of 16: before and after rotation, then
  // what attention gives back with the cache's entries); gate, up and their product.
  const inner = 2 * (3 * 6 * 16 + 3 * 48);
  expect(batchMemory(config, 4)).toEqual({ token: 2 * 32 * (2 + 4) * 4 + inner * 4, logits: 48 * 4 });
  expect(batchMemory(config, 2)).toEqual({ token: 2 * 32 * (2 * 4 + 4 * 2) + inner * 2, logits: 48 * 8 });
});

test('latent attention and routed experts, by hand', () => {
  // Queries compressed to 10 and 2 heads of 6 + 4, before and after; 8 + 4 latent and key twice; keys of 6, values of 5 twice.
  const attention = 2 * 10 + 2 * 2 * 10 + 2 * 12 + 2 * (6 + 2 * 5);
  // Two experts' gates and ups, one shared expert, and the sum.
  const sparse = 2 * 2 * 12 + 3 * 12 + 16;
  const token = 3 * 16 * (2 + 4) * 4 + (3 * attention + 3 * 24 + 2 * sparse) * 4;
  expect(batchMemory(tinyConfig(), 4)).toEqual({ token, logits: 24 * 4 });
});
