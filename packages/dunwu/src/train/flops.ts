import { isDeepseek, type ModelConfig } from '../model/config.js';
import type { DeepseekConfig } from '../model/deepseek-config.js';
import type { DenseConfig } from '../model/dense-config.js';

/**
 * Floating-point operations by formula (2 per multiply-add), as papers count them: matrix products and attention, the
 * causal half of attention only, no norms or softmaxes.
 */
export interface FlopCount {
  /** Parameters that take part in a token's matrix products (active ones; the embedding look-up is none). */
  readonly activeParameters: number;
  /** Forward operations of one token at `context` tokens of attention. */
  forward(context: number): number;
  /** Forward and backward: three times forward (Kaplan et al. 2020, arXiv 2001.08361, §2.1). */
  training(context: number): number;
}

/** What a token meets in all layers: parameters of matrix products, and widths of queries and values over all heads. */
interface Met {
  readonly layers: number;
  /** Width of a query and of a value, all heads together. */
  readonly queries: number;
  readonly values: number;
}

function latentModel(config: DeepseekConfig): Met {
  const heads = config.num_attention_heads;
  const queryWidth = config.qk_nope_head_dim + config.qk_rope_head_dim;
  const { hidden_size: hidden, kv_lora_rank: rank, q_lora_rank: queryRank, v_head_dim: valueWidth } = config;
  const query =
    queryRank === undefined || queryRank === null
      ? hidden * heads * queryWidth
      : hidden * queryRank + queryRank * heads * queryWidth;
  const attention =
    query +
    hidden * (rank + config.qk_rope_head_dim) +
    rank * heads * (config.qk_nope_head_dim + valueWidth) +
    heads * valueWidth * hidden;
  const dense = 3 * hidden * config.intermediate_size;
  const experts = config.num_experts_per_tok + (config.n_shared_experts ?? 0);
  const sparse = 3 * hidden * config.moe_intermediate_size * experts + hidden * config.n_routed_experts;
  const denseLayers = Math.min(config.first_k_dense_replace, config.num_hidden_layers);
  const layers = config.num_hidden_layers;
  return {
    layers: layers * attention + denseLayers * dense + (layers - denseLayers) * sparse,
    queries: heads * queryWidth,
    values: heads * valueWidth,
  };
}

function denseModel(config: DenseConfig): Met {
  const { hidden_size: hidden, intermediate_size: inner, num_attention_heads: heads, head_dim: width } = config;
  const attention = hidden * (heads + 2 * config.num_key_value_heads) * width + heads * width * hidden;
  const all = heads * width;
  return { layers: config.num_hidden_layers * (attention + 3 * hidden * inner), queries: all, values: all };
}

/** @param outputs numbers that the head gives for a token: the vocabulary, or 1 of a reward model or value function */
export function countFlops(config: ModelConfig, outputs = config.vocab_size): FlopCount {
  const { layers, queries, values } = isDeepseek(config) ? latentModel(config) : denseModel(config);
  const activeParameters = layers + config.hidden_size * outputs;
  const forward = (context: number): number =>
    2 * activeParameters + 2 * config.num_hidden_layers * (queries + values) * context;
  return { activeParameters, forward, training: (context) => 3 * forward(context) };
}
