import { z } from 'zod';
import { ropeFaults } from './rope-config.js';
import { describingKeys, informational, positive, sharedKeys } from './shared-config.js';

/**
 * `config.json` of the dense families with grouped-query attention (Llama, Qwen2, Qwen3), with Hugging Face's own key
 * names. What a key asks for is either done exactly or refused by name.
 */

const shared = {
  vocab_size: positive,
  hidden_size: positive,
  intermediate_size: positive,
  num_hidden_layers: positive,
  num_attention_heads: positive,
  /** null as in old files of Llama: as many as there are heads. */
  num_key_value_heads: positive.nullish(),
  head_dim: positive.nullish(),
  max_position_embeddings: positive,
  ...sharedKeys,
  /** Attention to a window alone is not there: only layers that see everything. */
  use_sliding_window: z.literal(false).optional(),
  layer_types: z.array(z.literal('full_attention')).nullish(),
  sliding_window: informational,
  max_window_layers: informational,
  use_mrope: z.literal(false).optional(),
  ...describingKeys,
  pretraining_tp: z.literal(1).optional(),
};

const qwen2Object = z.strictObject({ model_type: z.literal('qwen2'), ...shared });
const qwen3Object = z.strictObject({
  model_type: z.literal('qwen3'),
  ...shared,
  attention_bias: z.boolean().default(false),
});
const llamaObject = z.strictObject({
  model_type: z.literal('llama'),
  ...shared,
  attention_bias: z.boolean().default(false),
  mlp_bias: z.boolean().default(false),
});

type Written = z.output<typeof qwen2Object> | z.output<typeof qwen3Object> | z.output<typeof llamaObject>;

function check(config: Written, context: z.core.$RefinementCtx): void {
  const fail = (key: string, message: string): void => {
    context.addIssue({ code: 'custom', path: key.split('.'), message });
  };
  for (const [key, message] of ropeFaults(config)) fail(key, message);
  const { num_attention_heads: heads, num_key_value_heads: groups, head_dim, hidden_size: hidden } = config;
  if (heads % (groups ?? heads) !== 0) fail('num_key_value_heads', 'must divide num_attention_heads');
  if ((head_dim ?? undefined) === undefined && hidden % heads !== 0) {
    fail('head_dim', 'is missing, and num_attention_heads does not divide hidden_size');
  }
  if ((head_dim ?? hidden / heads) % 2 !== 0) fail('head_dim', 'must be even: rotation works on pairs');
  if (config.layer_types && config.layer_types.length !== config.num_hidden_layers) {
    fail('layer_types', 'must have one entry for each of num_hidden_layers');
  }
}

/** What the families say in different words, in the same ones. */
interface Filled {
  readonly num_key_value_heads: number;
  readonly head_dim: number;
  /** Biases of the queries, keys and values; of the attention's output; of the feed-forward block. */
  readonly qkv_bias: boolean;
  readonly output_bias: boolean;
  readonly mlp_bias: boolean;
  /** RMSNorm of each head's query and key before rotation (Qwen3, arXiv 2505.09388). */
  readonly qk_norm: boolean;
}

function filled<C extends Written>(config: C): C & Filled {
  const { num_attention_heads: heads, hidden_size } = config;
  const attentionBias = 'attention_bias' in config && config.attention_bias;
  return {
    ...config,
    num_key_value_heads: config.num_key_value_heads ?? heads,
    head_dim: config.head_dim ?? hidden_size / heads,
    qkv_bias: config.model_type === 'qwen2' || attentionBias,
    output_bias: attentionBias,
    mlp_bias: 'mlp_bias' in config && config.mlp_bias,
    qk_norm: config.model_type === 'qwen3',
  };
}

export const qwen2Schema = qwen2Object.superRefine(check).transform(filled);
export const qwen3Schema = qwen3Object.superRefine(check).transform(filled);
export const llamaSchema = llamaObject.superRefine(check).transform(filled);

export type DenseConfig = z.output<typeof qwen2Schema> | z.output<typeof qwen3Schema> | z.output<typeof llamaSchema>;

/** Keys of {@link DenseConfig} that no config.json has. */
export const DERIVED_KEYS = ['qkv_bias', 'output_bias', 'qk_norm'] as const;

/** What Hugging Face's config classes take for a key that config.json does not have. */
export const DENSE_DEFAULTS = {
  qwen2: { max_position_embeddings: 32768, num_key_value_heads: 32 },
  qwen3: { max_position_embeddings: 32768, num_key_value_heads: 32, head_dim: 128 },
  llama: { max_position_embeddings: 2048, bos_token_id: 1, eos_token_id: 2 },
} as const;
