import { z } from 'zod';
import { ropeParameters } from './rope-config.js';

/** What the config.json of every family has in common. */

export const positive = z.number().int().positive();

/** Of a key that describes files, training or other programs' settings and does not change what the network computes. */
export const informational = z.unknown().optional();

/** What changes the result, and means the same in all. */
export const sharedKeys = {
  initializer_range: z.number().nonnegative().default(0.02),
  rms_norm_eps: z.number().positive().default(1e-6),
  rope_theta: z.number().positive().optional(),
  rope_scaling: ropeParameters.nullish(),
  rope_parameters: ropeParameters.nullish(),
  tie_word_embeddings: z.boolean().default(false),
  hidden_act: z.literal('silu').default('silu'),
  bos_token_id: z.number().int().nullish(),
  eos_token_id: z.union([z.number().int(), z.array(z.number().int())]).nullish(),
  pad_token_id: z.number().int().nullish(),
  attention_dropout: z.literal(0).default(0),
};

export const describingKeys = {
  architectures: informational,
  auto_map: informational,
  dtype: informational,
  torch_dtype: informational,
  transformers_version: informational,
  use_cache: informational,
  _name_or_path: informational,
};
