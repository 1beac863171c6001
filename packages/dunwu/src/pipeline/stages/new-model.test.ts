import { expect, it } from 'vitest';
import { cacheWidth } from '../../model/causal-model.js';
import { plainCacheWidth } from '../../model/mla.js';
import { tinyModel } from '../../model/testing/tiny.js';
import { parameterCount, savingsNote } from './new-model.js';

it('the cache of DeepSeek-V3, per token and layer: 576 numbers instead of 40,960', () => {
  const model = tinyModel(1);
  const published = {
    ...model.config,
    num_attention_heads: 128,
    qk_nope_head_dim: 128,
    qk_rope_head_dim: 64,
    v_head_dim: 128,
    kv_lora_rank: 512,
  };
  model.dispose();
  expect([cacheWidth(published), plainCacheWidth(published)]).toEqual([576, 40_960]);
});

it('the note of a small model, by hand', () => {
  const model = tinyModel(1, {
    num_hidden_layers: 3,
    num_attention_heads: 4,
    qk_nope_head_dim: 8,
    qk_rope_head_dim: 4,
    v_head_dim: 6,
    kv_lora_rank: 10,
  });
  const { en, zh } = savingsNote(model) as { en: string; zh: string };
  // 3 layers · (10 + 4) numbers · 4 bytes, and 3 · 4 heads · (8 + 4 + 6) · 4.
  expect(en).toContain('the cache holds 168 bytes a token (float32)');
  expect(en).toContain('would be 864 (19.4 %)');
  expect(zh).toContain('缓存每个 token 168 字节（float32），普通多头注意力的键和值则要 864 字节（19.4 %）');
  expect(en.startsWith(`${parameterCount(model)} parameters`)).toBe(true);
  model.dispose();
});

it('modules of multi-token prediction are told apart from the model', () => {
  const [alone, model] = [tinyModel(1), tinyModel(1, { num_nextn_predict_layers: 1 })];
  const more = parameterCount(model) - parameterCount(alone);
  const [before, note] = [savingsNote(alone), savingsNote(model)] as { en: string; zh: string }[];
  expect(note?.en).toBe(`${before?.en}; ${more} more in 1 module(s) for multi-token prediction`);
  expect(note?.zh).toBe(`${before?.zh}；另有 1 个多 token 预测模块，共 ${more} 个参数`);
  alone.dispose();
  model.dispose();
});
