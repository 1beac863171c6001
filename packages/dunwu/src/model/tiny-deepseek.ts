import type { z } from 'zod';
import type { deepseekV3Schema } from './deepseek-config.js';

/**
 * A DeepSeek-V3 of four layers with everything that its size allows: q compression, a dense layer, routed and shared
 * experts. What `npm run bench` and `dunwu profile` measure on; bench/workload.json holds the same.
 */
export const TINY_DEEPSEEK: z.input<typeof deepseekV3Schema> = {
  model_type: 'deepseek_v3',
  vocab_size: 512,
  hidden_size: 256,
  intermediate_size: 512,
  moe_intermediate_size: 128,
  num_hidden_layers: 4,
  num_mtp_layers: 0,
  num_attention_heads: 4,
  num_key_value_heads: 4,
  n_shared_experts: 1,
  n_routed_experts: 8,
  num_experts_per_tok: 2,
  n_group: 1,
  topk_group: 1,
  first_k_dense_replace: 1,
  routed_scaling_factor: 1,
  norm_topk_prob: true,
  q_lora_rank: 96,
  kv_lora_rank: 64,
  qk_nope_head_dim: 32,
  qk_rope_head_dim: 16,
  v_head_dim: 32,
  max_position_embeddings: 1024,
  initializer_range: 0.02,
  bos_token_id: null,
  eos_token_id: null,
  pad_token_id: 0,
};
