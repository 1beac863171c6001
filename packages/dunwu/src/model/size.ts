import { cacheWidth } from './causal-model.js';
import { isDeepseek, type ModelConfig } from './config.js';
import type { DeepseekConfig } from './deepseek-config.js';
import type { DenseConfig } from './dense-config.js';
import { plainCacheWidth } from './mla.js';
import { predictionDepth } from './mtp.js';

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
  /** Of the modules of multi-token prediction, which is not in the sums above (V3: 671 B + 11.5 B); null without them. */
  readonly prediction: PredictionSize | null;
}

export interface PredictionSize {
  readonly modules: number;
  /** Their own numbers; embedding and head are the model's. */
  readonly total: number;
  /** Of which a token is computed with in all modules, the head among them. */
  readonly active: number;
  /** Numbers that their cache holds for a token when they draft. */
  readonly cache: number;
}

/** How large a model of this config is, by its shapes: nothing is allocated. */
export function modelSize(config: ModelConfig): ModelSize {
  const { vocab_size: vocabulary, hidden_size: hidden, num_hidden_layers: layers } = config;
  const matrix = vocabulary * hidden;
  const inner = layerParts(config).map(
    ({ part, matrices, met = matrices, others = 0 }): PartSize => ({
      part,
      total: matrices + others,
      active: met + others,
    }),
  );
  const all: PartSize[] = [
    { part: 'embedding', total: matrix, active: 0 },
    ...inner,
    { part: 'norms', total: hidden, active: hidden },
    { part: 'head', total: config.tie_word_embeddings ? 0 : matrix, active: matrix },
  ];
  const parts = MODEL_PARTS.map((part) => {
    const own = all.filter((one) => one.part === part);
    return { part, total: sum(own.map(({ total }) => total)), active: sum(own.map(({ active }) => active)) };
  }).filter(({ total, active }) => total + active > 0);
  const heads = config.num_attention_heads;
  return {
    parts,
    total: sum(parts.map(({ total }) => total)),
    active: sum(parts.map(({ active }) => active)),
    cache: layers * cacheWidth(config),
    plainCache: layers * (isDeepseek(config) ? plainCacheWidth(config) : 2 * heads * config.head_dim),
    prediction: predictionSize(config),
  };
}

function predictionSize(config: ModelConfig): PredictionSize | null {
  const modules = predictionDepth(config);
  if (modules === 0) return null;
  const parts = predictionParts(config);
  const others = sum(parts.map(({ others: some = 0 }) => some));
  return {
    modules,
    total: sum(parts.map(({ matrices }) => matrices)) + others,
    active: predictionProducts(config) + others + modules * config.vocab_size * config.hidden_size,
    cache: modules * cacheWidth(config),
  };
}

/** A step of decoding. */
export interface DecodeShape {
  /** Sequences side by side. */
  readonly rows: number;
  /** Tokens of each that are looked at. */
  readonly context: number;
  /** Of a number, in weights and cache. */
  readonly bytes: number;
}

/**
 * Bytes that a step of decoding reads at least: every matrix that a row is multiplied with, once for all rows, and the cache of
 * every row. Rows that choose apart read as many experts as they can.
 */
export function decodeBytes(config: ModelConfig, { rows, context, bytes }: DecodeShape): number {
  const { parts, cache } = modelSize(config);
  const weights = parts.map(({ part, total, active }) =>
    part === 'experts' ? Math.min(total, rows * active) : active,
  );
  return bytes * (sum(weights) + rows * context * cache);
}

/** Numbers in matrices that a token is multiplied with in all modules of multi-token prediction, without the head. */
export function predictionProducts(config: ModelConfig): number {
  return sum(predictionParts(config).map(({ matrices, met = matrices }) => met));
}

/** The modules' blocks, which are layers behind the last, and what joins state and embedding. */
function predictionParts(config: ModelConfig): LayerPart[] {
  const modules = predictionDepth(config);
  if (modules === 0 || !isDeepseek(config)) return [];
  const { hidden_size: hidden, num_hidden_layers: layers, first_k_dense_replace: dense } = config;
  const blocks = { ...config, num_hidden_layers: modules, first_k_dense_replace: Math.max(0, dense - layers) };
  return [
    ...latentParts(blocks),
    { part: 'norms', matrices: modules * 2 * hidden * hidden, others: modules * 3 * hidden },
  ];
}

/** Numbers in matrices that a token is multiplied with in all layers; the head is not among them. */
export function layerProducts(config: ModelConfig): number {
  return sum(layerParts(config).map(({ matrices, met = matrices }) => met));
}

const sum = (list: readonly number[]): number => list.reduce((a, b) => a + b, 0);

/** A part of all layers together. */
interface LayerPart {
  readonly part: ModelPart;
  /** Numbers in matrices, and of those that one token is multiplied with where that is less. */
  readonly matrices: number;
  readonly met?: number;
  /** Biases and norms. */
  readonly others?: number;
}

function layerParts(config: ModelConfig): LayerPart[] {
  return isDeepseek(config) ? latentParts(config) : denseParts(config);
}

function latentParts(config: DeepseekConfig): LayerPart[] {
  const { hidden_size: hidden, num_attention_heads: heads, num_hidden_layers: layers, attention_bias: bias } = config;
  const { kv_lora_rank: rank, q_lora_rank, qk_nope_head_dim: nope, qk_rope_head_dim: rope, v_head_dim: value } = config;
  const queryRank = q_lora_rank ?? 0;
  const query = queryRank === 0 ? hidden * heads * (nope + rope) : queryRank * (hidden + heads * (nope + rope));
  const attention = query + hidden * (rank + rope) + rank * heads * (nope + value) + heads * value * hidden;
  const biases = bias ? queryRank + rank + rope + hidden : 0;
  const first = Math.min(config.first_k_dense_replace, layers);
  const sparse = layers - first;
  const experts = config.n_routed_experts;
  const expert = 3 * hidden * config.moe_intermediate_size;
  return [
    { part: 'attention', matrices: layers * attention, others: layers * biases },
    { part: 'dense', matrices: first * 3 * hidden * config.intermediate_size },
    { part: 'experts', matrices: sparse * experts * expert, met: sparse * config.num_experts_per_tok * expert },
    { part: 'shared', matrices: sparse * config.n_shared_experts * expert },
    {
      part: 'router',
      matrices: sparse * experts * hidden,
      others: config.model_type === 'deepseek_v3' ? sparse * experts : 0,
    },
    { part: 'norms', matrices: 0, others: layers * (2 * hidden + rank + queryRank) },
  ];
}

function denseParts(config: DenseConfig): LayerPart[] {
  const { hidden_size: hidden, num_attention_heads: heads, num_key_value_heads: groups, head_dim: width } = config;
  const { num_hidden_layers: layers, intermediate_size: inner } = config;
  const projected = (heads + 2 * groups) * width;
  const biases = (config.qkv_bias ? projected : 0) + (config.output_bias ? hidden : 0);
  return [
    { part: 'attention', matrices: layers * (hidden * projected + heads * width * hidden), others: layers * biases },
    {
      part: 'dense',
      matrices: layers * 3 * hidden * inner,
      others: config.mlp_bias ? layers * (2 * inner + hidden) : 0,
    },
    { part: 'norms', matrices: 0, others: layers * (2 * hidden + (config.qk_norm ? 2 * width : 0)) },
  ];
}

/** Bytes of a number as this program computes: float32. */
const BYTES = 4;

/** Memory that a model needs, in bytes, without what is computed for a batch (batch-memory.ts). */
export interface ModelMemory {
  /** Weights. */
  readonly weights: number;
  /** The matrices in bfloat16: what generating in it needs in place of the weights, and rollouts of training beside them. */
  readonly rounded: number;
  /** Weights, gradients, and AdamW's two moments. */
  readonly training: number;
  /** While a step adds up the embedding's gradients: a second of them. */
  readonly summing: number;
  /** Weights of a reference policy beside it, which GRPO with a KL and PPO hold. */
  readonly reference: number;
  /** What the cache holds for one token of one sequence. */
  readonly cachePerToken: number;
}

export function modelMemory({ parts, total, cache, prediction }: ModelSize): ModelMemory {
  const weights = BYTES * (total + (prediction?.total ?? 0));
  const of = (name: ModelPart): number => parts.find(({ part }) => part === name)?.total ?? 0;
  return {
    weights,
    rounded: 2 * (total - of('norms') - of('router')),
    training: 4 * weights,
    summing: BYTES * of('embedding'),
    reference: weights,
    cachePerToken: BYTES * cache,
  };
}
