import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';

/**
 * DeepSeek-V3's `config.json` with Hugging Face's own key names. What a key asks for is either done exactly or refused
 * by name; nothing is approximated and no key is ignored that would change a result.
 */

const positive = z.number().int().positive();

/** Keys that describe files, training or other programs' settings and do not change what the network computes. */
const informational = z.unknown().optional();

const ropeParameters = z.strictObject({
  rope_type: z.enum(['default', 'yarn']).default('default'),
  /** The older name of rope_type. */
  type: z.enum(['default', 'yarn']).optional(),
  rope_theta: z.number().positive().optional(),
  factor: z.number().positive().nullish(),
  original_max_position_embeddings: positive.optional(),
  beta_fast: z.number().positive().nullish(),
  beta_slow: z.number().positive().nullish(),
  mscale: z.number().nullish(),
  mscale_all_dim: z.number().nullish(),
  attention_factor: z.number().nullish(),
  partial_rotary_factor: z.literal(1).optional(),
  truncate: z.boolean().optional(),
});

const deepseekV3Object = z.strictObject({
  model_type: z.literal('deepseek_v3'),
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
  norm_topk_prob: z.boolean().default(true),
  q_lora_rank: positive.nullable().default(null),
  kv_lora_rank: positive,
  qk_nope_head_dim: positive,
  qk_rope_head_dim: positive,
  v_head_dim: positive,
  max_position_embeddings: positive.default(4096),
  initializer_range: z.number().nonnegative().default(0.02),
  rms_norm_eps: z.number().positive().default(1e-6),
  rope_theta: z.number().positive().optional(),
  rope_scaling: ropeParameters.nullish(),
  rope_parameters: ropeParameters.nullish(),
  rope_interleave: z.boolean().default(true),
  tie_word_embeddings: z.boolean().default(false),
  attention_bias: z.boolean().default(false),
  hidden_act: z.literal('silu').default('silu'),
  bos_token_id: z.number().int().nullish(),
  eos_token_id: z.union([z.number().int(), z.array(z.number().int())]).nullish(),
  pad_token_id: z.number().int().nullish(),
  attention_dropout: z.literal(0).default(0),
  moe_layer_freq: z.literal(1).optional(),
  scoring_func: z.literal('sigmoid').optional(),
  topk_method: z.literal('noaux_tc').optional(),
  /** Modules for multi-token prediction that follow the model in its checkpoint. They do not change what it computes. */
  num_nextn_predict_layers: z.number().int().nonnegative().optional(),
  num_mtp_layers: z.number().int().nonnegative().optional(),
  qk_head_dim: positive.optional(),
  head_dim: positive.optional(),
  architectures: informational,
  auto_map: informational,
  dtype: informational,
  torch_dtype: informational,
  transformers_version: informational,
  use_cache: informational,
  pretraining_tp: informational,
  ep_size: informational,
  aux_loss_alpha: informational,
  seq_aux: informational,
  output_router_logits: informational,
  router_aux_loss_coef: informational,
  _name_or_path: informational,
});

/**
 * What a recipe says of a model: the tokenizer gives the size of the vocabulary and the special ids. Modules for
 * multi-token prediction are passed over when a checkpoint has them, but cannot be trained.
 */
export const deepseekV3Shape = deepseekV3Object
  .omit({ vocab_size: true, bos_token_id: true, eos_token_id: true, pad_token_id: true })
  .extend({ num_nextn_predict_layers: z.literal(0).optional(), num_mtp_layers: z.literal(0).optional() });

export const deepseekV3Schema = deepseekV3Object.superRefine((config, context) => {
  const fail = (key: string, message: string): void => {
    context.addIssue({ code: 'custom', path: [key], message });
  };
  if (config.num_key_value_heads !== undefined && config.num_key_value_heads !== config.num_attention_heads) {
    fail('num_key_value_heads', 'multi-head latent attention needs as many key/value heads as num_attention_heads');
  }
  const { rope_parameters, rope_scaling } = config;
  if (rope_parameters && rope_scaling && JSON.stringify(rope_parameters) !== JSON.stringify(rope_scaling)) {
    fail('rope_scaling', 'says something else than rope_parameters; give one of the two');
  }
  if (config.qk_rope_head_dim % 2 !== 0) fail('qk_rope_head_dim', 'must be even: rotation works on pairs');
  if (config.n_routed_experts % config.n_group !== 0) fail('n_group', 'must divide n_routed_experts');
  if (config.topk_group > config.n_group) fail('topk_group', 'cannot exceed n_group');
  const reachable = (config.n_routed_experts / config.n_group) * config.topk_group;
  if (config.num_experts_per_tok > reachable) {
    fail('num_experts_per_tok', `cannot exceed the ${reachable} experts that topk_group of n_group leave`);
  }
  if (config.n_group > 1 && config.n_routed_experts / config.n_group < 2) {
    fail('n_group', 'a group is scored by its two best experts, so groups need at least two');
  }
});

export type DeepseekV3Config = z.infer<typeof deepseekV3Schema>;

/** Checks a parsed config. @throws Error that lists every key that is unknown, missing or not supported. */
export function parseConfig(value: unknown, where = 'config'): DeepseekV3Config {
  const type = (value as { model_type?: unknown } | null)?.model_type;
  if (type !== 'deepseek_v3') {
    throw new Error(`${where}: model_type ${JSON.stringify(type)} is not supported; supported: "deepseek_v3"`);
  }
  const result = deepseekV3Schema.safeParse(value);
  if (!result.success) {
    const issues = result.error.issues.map((issue) => `  ${issue.path.join('.') || '(top level)'}: ${issue.message}`);
    throw new Error(`${where}: not a config this program can honour:\n${issues.join('\n')}`);
  }
  return result.data;
}

/**
 * What Hugging Face's DeepseekV3Config takes for a key that config.json does not have, where that differs from our
 * default for recipes.
 */
const HUGGING_FACE_DEFAULTS = {
  n_shared_experts: 1,
  routed_scaling_factor: 2.5,
  q_lora_rank: 1536,
  n_group: 8,
  topk_group: 4,
  bos_token_id: 0,
  eos_token_id: 1,
} as const;

/** Reads `config.json` of a checkpoint folder. @throws Error that names the file. */
export function readConfig(folder: string): DeepseekV3Config {
  const path = join(folder, 'config.json');
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    throw new Error(`${path}: cannot be read; a checkpoint folder holds config.json and model.safetensors`, { cause });
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new Error(`${path}: not valid JSON: ${(cause as Error).message}`, { cause });
  }
  const type = (value as { model_type?: unknown } | null)?.model_type;
  return parseConfig(type === 'deepseek_v3' ? { ...HUGGING_FACE_DEFAULTS, ...(value as object) } : value, path);
}

/** The rotary settings, wherever the config has them (rope_parameters, or rope_theta with rope_scaling). */
export function ropeSettings(config: DeepseekV3Config): z.infer<typeof ropeParameters> & { rope_theta: number } {
  const given = config.rope_parameters ?? config.rope_scaling ?? { rope_type: 'default' as const };
  const kind = given.type === 'yarn' ? 'yarn' : given.rope_type;
  return { ...given, rope_type: kind, rope_theta: given.rope_theta ?? config.rope_theta ?? 10_000 };
}
