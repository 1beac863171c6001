import { z } from 'zod';
import { ropeFaults, ropeSettings } from './rope-config.js';
import { describingKeys, informational, positive, sharedKeys } from './shared-config.js';

/**
 * `config.json` of the DeepSeek families with Hugging Face's own key names. What a key asks for is either done exactly or
 * refused by name; nothing is approximated and no key is ignored that would change a result.
 */

/** null as in DeepSeek-V2-Lite: no groups. */
const groups = positive
  .nullable()
  .default(1)
  .transform((count) => count ?? 1);

/** Keys that both generations have. */
const shared = {
  vocab_size: positive,
  hidden_size: positive,
  intermediate_size: positive,
  moe_intermediate_size: positive,
  num_hidden_layers: positive,
  num_attention_heads: positive,
  num_key_value_heads: positive.optional(),
  n_shared_experts: z
    .number()
    .int()
    .nonnegative()
    .nullable()
    .default(0)
    .transform((count) => count ?? 0),
  n_routed_experts: positive,
  num_experts_per_tok: positive,
  n_group: positive.default(1),
  topk_group: positive.default(1),
  first_k_dense_replace: z.number().int().nonnegative(),
  routed_scaling_factor: z.number().default(1),
  q_lora_rank: positive.nullable().default(null),
  kv_lora_rank: positive,
  qk_nope_head_dim: positive,
  qk_rope_head_dim: positive,
  v_head_dim: positive,
  max_position_embeddings: positive.default(4096),
  ...sharedKeys,
  attention_bias: z.boolean().default(false),
  moe_layer_freq: z.literal(1).optional(),
  /**
   * Modules for multi-token prediction that follow the model in its checkpoint (mtp.ts): DeepSeek's key, and that of
   * transformers 5, which is read where the other is not given. They do not change what the model itself computes.
   */
  num_nextn_predict_layers: z.number().int().nonnegative().optional(),
  num_mtp_layers: z.number().int().nonnegative().optional(),
  qk_head_dim: positive.optional(),
  head_dim: positive.optional(),
  ...describingKeys,
  pretraining_tp: informational,
  ep_size: informational,
  aux_loss_alpha: informational,
  seq_aux: informational,
  output_router_logits: informational,
  router_aux_loss_coef: informational,
};

const deepseekV3Object = z.strictObject({
  model_type: z.literal('deepseek_v3'),
  ...shared,
  norm_topk_prob: z.boolean().default(true),
  rope_interleave: z.boolean().default(true),
  scoring_func: z.literal('sigmoid').optional(),
  topk_method: z.literal('noaux_tc').optional(),
});

/** DeepSeek-V2 (arXiv 2405.04434): the gate is a softmax without a correction bias. */
const deepseekV2Object = z.strictObject({
  model_type: z.literal('deepseek_v2'),
  ...shared,
  /** transformers does not normalise either, whatever this key says: only what says so is taken. */
  norm_topk_prob: z.literal(false).default(false),
  rope_interleave: z.literal(true).default(true),
  scoring_func: z.literal('softmax').optional(),
  topk_method: z.enum(['greedy', 'group_limited_greedy']).default('greedy'),
  n_group: groups,
  topk_group: groups,
  mlp_bias: z.literal(false).optional(),
});

/**
 * What a recipe says of a model that is pretrained: the tokenizer gives the size of the vocabulary and the special ids. One
 * key for the modules of multi-token prediction is enough.
 */
export const deepseekV3PretrainShape = deepseekV3Object
  .omit({ vocab_size: true, bos_token_id: true, eos_token_id: true, pad_token_id: true })
  .extend({ num_mtp_layers: z.literal(0, { error: 'is called num_nextn_predict_layers here' }).optional() });

/** The same where nothing would train modules of multi-token prediction: only pretraining does. */
export const deepseekV3Shape = deepseekV3PretrainShape.extend({
  num_nextn_predict_layers: z
    .literal(0, { error: 'must be 0 or left out: only a pretrain stage trains modules of multi-token prediction' })
    .optional(),
});

type Checked = z.output<typeof deepseekV3Object> | z.output<typeof deepseekV2Object>;

function check(config: Checked, context: z.core.$RefinementCtx): void {
  const fail = (key: string, message: string): void => {
    context.addIssue({ code: 'custom', path: key.split('.'), message });
  };
  if (config.num_key_value_heads !== undefined && config.num_key_value_heads !== config.num_attention_heads) {
    fail('num_key_value_heads', 'multi-head latent attention needs as many key/value heads as num_attention_heads');
  }
  for (const [key, message] of ropeFaults(config)) fail(key, message);
  if (ropeSettings(config).rope_type === 'llama3') {
    const where = config.rope_parameters ? 'rope_parameters' : 'rope_scaling';
    fail(`${where}.rope_type`, 'llama3 is for the dense families: use default or yarn');
  }
  if (config.qk_rope_head_dim % 2 !== 0) fail('qk_rope_head_dim', 'must be even: rotation works on pairs');
  if (config.n_routed_experts % config.n_group !== 0) fail('n_group', 'must divide n_routed_experts');
  if (config.topk_group > config.n_group) fail('topk_group', 'cannot exceed n_group');
  const reachable = (config.n_routed_experts / config.n_group) * config.topk_group;
  if (config.num_experts_per_tok > reachable) {
    fail('num_experts_per_tok', `cannot exceed the ${reachable} experts that topk_group of n_group leave`);
  }
  if (config.model_type === 'deepseek_v3' && config.n_group > 1 && config.n_routed_experts / config.n_group < 2) {
    fail('n_group', 'a group is scored by its two best experts, so groups need at least two');
  }
}

export const deepseekV3Schema = deepseekV3Object.superRefine(check);
export const deepseekV2Schema = deepseekV2Object.superRefine(check);

export type DeepseekV3Config = z.output<typeof deepseekV3Schema>;
export type DeepseekV2Config = z.output<typeof deepseekV2Schema>;
export type DeepseekConfig = DeepseekV3Config | DeepseekV2Config;

/**
 * What Hugging Face's config classes take for a key that config.json does not have, where that differs from our default
 * for recipes.
 */
export const DEEPSEEK_DEFAULTS = {
  deepseek_v3: {
    n_shared_experts: 1,
    routed_scaling_factor: 2.5,
    q_lora_rank: 1536,
    n_group: 8,
    topk_group: 4,
    bos_token_id: 0,
    eos_token_id: 1,
  },
  deepseek_v2: {
    first_k_dense_replace: 0,
    n_shared_experts: 2,
    q_lora_rank: 1536,
    max_position_embeddings: 2048,
    bos_token_id: 1,
    eos_token_id: 2,
  },
} as const;
