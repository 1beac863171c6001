import { isDeepseek, type ModelConfig } from './config.js';
import type { DeepseekConfig } from './deepseek-config.js';
import type { DenseConfig } from './dense-config.js';

/** Memory that a training step takes beside weights, gradients and moments, in bytes, by shapes. */
export interface BatchMemory {
  /** For each token that is computed at one time: what the forward pass keeps for the backward pass, all layers. */
  readonly token: number;
  /** For each token that a loss is taken of, up to 1,024 (tokenLogprobs' chunk): its logits. */
  readonly logits: number;
}

/** @param bytes of a number as the network computes: 4, or 2 in bfloat16, where the residual stream stays float32 */
export function batchMemory(config: ModelConfig, bytes: 2 | 4): BatchMemory {
  const { hidden_size: hidden, num_hidden_layers: layers, vocab_size: vocabulary } = config;
  const inner = isDeepseek(config) ? latentNumbers(config, bytes) : layers * groupedNumbers(config);
  // Of each layer: the stream twice, and what its two norms made of it.
  return {
    token: layers * hidden * (2 * 4 + 2 * bytes) + inner * bytes,
    // In bfloat16 as the product leaves them, as float32, and their gradients.
    logits: vocabulary * (bytes === 4 ? 4 : 8),
  };
}

/** Numbers of a layer's attention (rotated, and what it gives back; normalised ones before that too) and feed-forward part. */
function groupedNumbers(config: DenseConfig): number {
  const { num_attention_heads: heads, num_key_value_heads: groups, head_dim: width, intermediate_size: inner } = config;
  return (2 * heads + 2 * groups + (config.qk_norm ? heads + groups : 0)) * width + 3 * inner;
}

/** The same of all layers; of the routed experts each token's own. In bfloat16 routers read float32. */
function latentNumbers(config: DeepseekConfig, bytes: 2 | 4): number {
  const { num_attention_heads: heads, num_hidden_layers: layers, kv_lora_rank: rank, v_head_dim: value } = config;
  const { qk_nope_head_dim: nope, qk_rope_head_dim: rope, moe_intermediate_size: expert } = config;
  const attention =
    2 * (config.q_lora_rank ?? 0) + heads * (nope + rope) + 2 * rank + rope + heads * (nope + 2 * value);
  const first = Math.min(config.first_k_dense_replace, layers);
  const routed = 2 * config.num_experts_per_tok * expert + (bytes === 2 ? 2 * config.hidden_size : 0);
  const sparse = routed + 3 * config.n_shared_experts * expert;
  return layers * attention + first * 3 * config.intermediate_size + (layers - first) * sparse;
}
