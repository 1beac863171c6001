import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { z } from 'zod';
import { DEEPSEEK_DEFAULTS, type DeepseekConfig, deepseekV2Schema, deepseekV3Schema } from './deepseek-config.js';
import { DENSE_DEFAULTS, type DenseConfig, llamaSchema, qwen2Schema, qwen3Schema } from './dense-config.js';

/** A model's `config.json`, of any family that is known here. */
export type ModelConfig = DeepseekConfig | DenseConfig;

/** Families by `model_type`, and what Hugging Face's class takes for keys that a file does not have. */
const FAMILIES = {
  deepseek_v3: { schema: deepseekV3Schema, defaults: DEEPSEEK_DEFAULTS.deepseek_v3 },
  deepseek_v2: { schema: deepseekV2Schema, defaults: DEEPSEEK_DEFAULTS.deepseek_v2 },
  qwen2: { schema: qwen2Schema, defaults: DENSE_DEFAULTS.qwen2 },
  qwen3: { schema: qwen3Schema, defaults: DENSE_DEFAULTS.qwen3 },
  llama: { schema: llamaSchema, defaults: DENSE_DEFAULTS.llama },
} as const satisfies Record<ModelConfig['model_type'], { schema: z.ZodType<ModelConfig>; defaults: object }>;

/** The values of `model_type` that are known. */
export const MODEL_TYPES = Object.keys(FAMILIES) as ModelConfig['model_type'][];

/** Whether a model has latent attention and experts. */
export function isDeepseek(config: ModelConfig): config is DeepseekConfig {
  return config.model_type === 'deepseek_v3' || config.model_type === 'deepseek_v2';
}

function familyOf(value: unknown, where: string): (typeof FAMILIES)[ModelConfig['model_type']] {
  const type = (value as { model_type?: unknown } | null)?.model_type;
  const family = MODEL_TYPES.find((known) => known === type);
  if (family !== undefined) return FAMILIES[family];
  const known = MODEL_TYPES.map((name) => `"${name}"`).join(', ');
  throw new Error(`${where}: model_type ${JSON.stringify(type)} is not supported; supported: ${known}`);
}

/** Checks a parsed config. @throws Error that lists every key that is unknown, missing or not supported. */
export function parseConfig(value: unknown, where = 'config'): ModelConfig {
  const result = familyOf(value, where).schema.safeParse(value);
  if (!result.success) {
    const issues = result.error.issues.map((issue) => `  ${issue.path.join('.') || '(top level)'}: ${issue.message}`);
    throw new Error(`${where}: not a config this program can honour:\n${issues.join('\n')}`);
  }
  return result.data;
}

/** Reads `config.json` of a checkpoint folder. @throws Error that names the file. */
export function readConfig(folder: string): ModelConfig {
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
  return parseConfig({ ...familyOf(value, path).defaults, ...(value as object) }, path);
}
