import { cacheWidth } from './causal-model.js';
import { isDeepseek, type ModelConfig } from './config.js';
import type { DeepseekConfig } from './deepseek-config.js';
import type { DenseConfig } from './dense-config.js';
import { plainCacheWidth } from './mla.js';

export const MODEL_PARTS = ['embedding', 'attention', 'dense', 'experts', 'shared', 'router', 'norms', 'head'] as const;
export type ModelPart = (typeof MODEL_PARTS)[number];

export interface PartSize {
  readonly part: ModelPart;
  /** Numbers, buffers included. */
  readonly total: number;
  /** Of which one token is computed with. The embedding is looked up, so none; a tied head is the embedding's matrix. */
  readonly active: number;
}

export interface ModelSize {
  /** Those that the model has, in the order of {@link MODEL_PARTS}. */
  readonly parts: readonly PartSize[];
  readonly total: number;
  readonly active: number;
  /** Numbers that the cache holds for a token, all layers, and what plain multi-head attention of these heads would. */
  readonly cache: number;
  readonly plainCache: number;
}

/** How large a model of this config is, by its shapes: nothing is allocated. */
export function modelSize(config: ModelConfig): ModelSize {
  const { vocab_size: vocabulary, hidden_size: hidden, num_hidden_layers: layers } = config;
  const matrix = vocabulary * hidden;
  const inner = isDeepseek(config) ? latentParts(config) : denseParts(config);
  const all: PartSize[] = [
    { part: 'embedding', total: matrix, active: 0 },
    ...inner.map(([part, total, active = total]): PartSize => ({ part, total, active })),
    { part: 'head', total: config.tie_word_embeddings ? 0 : matrix, active: matrix },
  ];
  const norms = all.find(({ part }) => part === 'norms') as { total: number; active: number };
  norms.total += hidden;
  norms.active += hidden;
  const parts = MODEL_PARTS.flatMap((name) =>
    all.filter(({ part, total, active }) => part === name && total + active > 0),
  );
  const heads = config.num_attention_heads;
  return {
    parts,
    total: parts.reduce((sum, { total }) => sum + total, 0),
    active: parts.reduce((sum, { active }) => sum + active, 0),
    cache: layers * cacheWidth(config),
    plainCache: layers * (isDeepseek(config) ? plainCacheWidth(config) : 2 * heads * config.head_dim),
  };
}

type Inner = readonly [part: ModelPart, total: number, active?: number][];

function latentParts(config: DeepseekConfig): Inner {
  const { hidden_size: hidden, num_attention_heads: heads, num_hidden_layers: layers, attention_bias: bias } = config;
  const { kv_lora_rank: rank, q_lora_rank, qk_nope_head_dim: nope, qk_rope_head_dim: rope, v_head_dim: value } = config;
  const queryRank = q_lora_rank ?? 0;
  const query = queryRank === 0 ? hidden * heads * (nope + rope) : queryRank * (hidden + heads * (nope + rope));
  const biases = bias ? queryRank + rank + rope + hidden : 0;
  const attention = query + hidden * (rank + rope) + rank * heads * (nope + value) + heads * value * hidden + biases;
  const first = Math.min(config.first_k_dense_replace, layers);
  const sparse = layers - first;
  const expert = 3 * hidden * config.moe_intermediate_size;
  const gate = config.n_routed_experts * (hidden + (config.model_type === 'deepseek_v3' ? 1 : 0));
  return [
    ['attention', layers * attention],
    ['dense', first * 3 * hidden * config.intermediate_size],
    ['experts', sparse * config.n_routed_experts * expert, sparse * config.num_experts_per_tok * expert],
    ['shared', sparse * config.n_shared_experts * expert],
    ['router', sparse * gate],
    ['norms', layers * (2 * hidden + rank + queryRank)],
  ];
}

function denseParts(config: DenseConfig): Inner {
  const { hidden_size: hidden, num_attention_heads: heads, num_key_value_heads: groups, head_dim: width } = config;
  const { num_hidden_layers: layers, intermediate_size: inner } = config;
  const projected = (heads + 2 * groups) * width;
  const attention =
    hidden * projected + heads * width * hidden + (config.qkv_bias ? projected : 0) + (config.output_bias ? hidden : 0);
  return [
    ['attention', layers * attention],
    ['dense', layers * (3 * hidden * inner + (config.mlp_bias ? 2 * inner + hidden : 0))],
    ['norms', layers * (2 * hidden + (config.qk_norm ? 2 * width : 0))],
  ];
}

/** Bytes of a number as this program computes: float32. */
const BYTES = 4;

/** Memory that a model needs, in bytes, without what is computed for a batch (activations, logits). */
export interface ModelMemory {
  /** Weights. */
  readonly weights: number;
  /** Weights, gradients, and AdamW's two moments. */
  readonly training: number;
  /** Weights of a reference policy beside it, which GRPO with a KL and PPO hold. */
  readonly reference: number;
  /** What the cache holds for one token of one sequence. */
  readonly cachePerToken: number;
}

export function modelMemory({ total, cache }: ModelSize): ModelMemory {
  const weights = BYTES * total;
  return { weights, training: 4 * weights, reference: weights, cachePerToken: BYTES * cache };
}
