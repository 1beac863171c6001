import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  type Device,
  type DType,
  noGrad,
  openCheckpoint,
  scope,
  type Tensor,
  type TensorSource,
  writeCheckpoint,
} from '@dunwu/torch';
import { makeFolder, writeFileAtomic } from '../util/fs.js';
import { CausalModel } from './causal-model.js';
import { isDeepseek, type ModelConfig, readConfig } from './config.js';
import { DERIVED_KEYS } from './dense-config.js';
import { predictionDepth, storedPrediction } from './mtp.js';
import { type Parameter, withoutDrawing } from './parameter.js';

/** Hugging Face checkpoint folders, in and out: config.json and model.safetensors (or shards with an index). */

/**
 * Loads a model onto a device. Tensors are copied one by one from the mapped file, converted to float32.
 *
 * @throws Error naming the file, and every tensor that is missing, has another shape, or is not known to the model.
 */
export function loadModel(folder: string, device: Device = 'cpu'): CausalModel {
  using source = openCheckpoint(folder);
  const model = modelWithoutWeights(folder, source, device);
  try {
    readWeights(model, source);
    return model;
  } catch (error) {
    model.dispose();
    throw error;
  }
}

/** The model of a folder as it is before its weights are read. */
export function modelWithoutWeights(folder: string, source: TensorSource, device: Device): CausalModel {
  const config = storedPrediction(readConfig(folder), source.names);
  const generation = readGenerationConfig(folder);
  const model = withoutDrawing(() => new CausalModel(config, device));
  model.generation = generation;
  return model;
}

/**
 * Reads the weights of {@link modelWithoutWeights}, one by one.
 *
 * @param onRead told of each parameter that is there, before the next is read: it may free it
 * @throws Error as {@link loadModel}
 */
export function readWeights(
  model: CausalModel,
  source: TensorSource,
  onRead: (parameter: Parameter) => void = () => {},
): void {
  const { config } = model;
  const known = new Set<string>();
  const problems: string[] = [];
  scope(() =>
    noGrad(() => {
      for (const parameter of model.parameters()) {
        const { name, tensor, disk, copies = [] } = parameter;
        // Both layouts are read: one tensor per expert (the published one), or all experts in one.
        const fused = disk.length > 1 && source.has(name);
        for (const part of fused ? [{ name, view: (whole: Tensor) => whole }] : disk) {
          known.add(part.name);
          if (!source.has(part.name)) {
            problems.push(`${part.name} is missing`);
            continue;
          }
          scope(() => {
            const target = part.view(tensor);
            const { shape } = source.info(part.name);
            if (String(shape) !== String(target.shape)) {
              problems.push(`${part.name} has the shape [${shape}], config.json asks for [${target.shape}]`);
              return;
            }
            target.copy_(source.tensor(part.name));
            // The file's pages and the weights are never both held whole.
            source.forget(part.name);
          });
        }
        for (const copy of copies) {
          known.add(copy);
          if (source.has(copy)) problems.push(...copyFaults(copy, name, source.tensor(copy), tensor));
        }
        onRead(parameter);
      }
    }),
  );
  for (const name of source.names) {
    // A tied head may be stored all the same: it is the embedding again. Zero shared experts may be stored, as matrices without rows.
    const passedOver =
      (config.tie_word_embeddings && name === 'lm_head.weight') ||
      isUnknownPredictionLayer(name, config) ||
      source.info(name).bytes === 0;
    if (!known.has(name) && !passedOver) {
      problems.push(`${name} is in the file but not in a model of this config`);
    }
  }
  if (problems.length === 0) return;
  const more = problems.length > 12 ? `\n  … and ${problems.length - 12} more` : '';
  throw new Error(`${source.path}: does not fit config.json:\n  ${problems.slice(0, 12).join('\n  ')}${more}`);
}

/**
 * What is wrong with a copy of a tensor that a module of multi-token prediction shares with the model. One that differs is
 * refused: there is one matrix here, and to leave the other out would give other predictions than the checkpoint's.
 */
function copyFaults(copy: string, name: string, stored: Tensor, tensor: Tensor): string[] {
  return scope(() => {
    if (String(stored.shape) !== String(tensor.shape)) {
      return [`${copy} has the shape [${stored.shape}], ${name} has [${tensor.shape}]: they are to be equal`];
    }
    if (stored.toDevice(tensor.device, 'float32').eq(tensor).all().item() === 1) return [];
    return [`${copy} differs from ${name}, which it is a copy of: remove it from the file to predict with ${name}`];
  });
}

/** Whether a tensor belongs to a layer behind the last of a DeepSeek-V2, whose prediction modules are not published. */
function isUnknownPredictionLayer(name: string, config: ModelConfig): boolean {
  if (config.model_type !== 'deepseek_v2') return false;
  const layer = Number(/^model\.layers\.(\d+)\./.exec(name)?.[1] ?? -1) - config.num_hidden_layers;
  return layer >= 0 && layer < (config.num_nextn_predict_layers ?? config.num_mtp_layers ?? 0);
}

export interface SaveOptions {
  /** How weights are stored; the router's bias stays float32. Default float32. */
  readonly dtype?: DType;
  readonly maxShardSize?: number;
}

/**
 * Writes config.json, generation_config.json (as it was read, where it was) and the weights into a folder (made if missing),
 * so that transformers loads them.
 */
export async function saveModel(model: CausalModel, folder: string, options: SaveOptions = {}): Promise<void> {
  makeFolder(folder);
  const dtype = options.dtype ?? 'float32';
  scope(() =>
    noGrad(() => {
      const tensors = new Map<string, Tensor>();
      for (const { tensor, disk, copies = [], kind } of model.parameters()) {
        for (const part of disk) {
          const view = part.view(tensor.detach());
          tensors.set(part.name, kind === 'buffer' ? view : view.to(dtype));
        }
        for (const copy of copies) tensors.set(copy, tensor.detach().to(dtype));
      }
      writeCheckpoint(
        folder,
        tensors,
        options.maxShardSize === undefined ? {} : { maxShardSize: options.maxShardSize },
      );
    }),
  );
  const config = { ...huggingFaceConfig(model.config), dtype };
  await writeFileAtomic(join(folder, 'config.json'), configText(config));
  const generation = model.generation ?? generationConfig(model.config);
  await writeFileAtomic(join(folder, 'generation_config.json'), `${JSON.stringify(generation, null, 2)}\n`);
}

/** Keys that transformers declares as float: it refuses `1` where it wants `1.0`, which JSON.stringify cannot write. */
const FLOAT_KEYS = ['initializer_range', 'rms_norm_eps', 'routed_scaling_factor', 'rope_theta', 'attention_dropout'];

/** config.json's text, whole numbers of float keys written as floats. */
export function configText(config: Readonly<Record<string, unknown>>): string {
  const whole = new RegExp(`^(\\s*"(?:${FLOAT_KEYS.join('|')})": -?\\d+)(,?)$`, 'gm');
  return `${JSON.stringify(config, null, 2).replace(whole, '$1.0$2')}\n`;
}

const ARCHITECTURES: Readonly<Record<ModelConfig['model_type'], string>> = {
  deepseek_v3: 'DeepseekV3ForCausalLM',
  deepseek_v2: 'DeepseekV2ForCausalLM',
  qwen2: 'Qwen2ForCausalLM',
  qwen3: 'Qwen3ForCausalLM',
  llama: 'LlamaForCausalLM',
};

/** The config as transformers expects it, the modules of multi-token prediction under DeepSeek's own key. */
export function huggingFaceConfig(config: ModelConfig): Record<string, unknown> {
  const architectures = [ARCHITECTURES[config.model_type]];
  if (!isDeepseek(config)) {
    const derived: readonly string[] = config.model_type === 'llama' ? DERIVED_KEYS : [...DERIVED_KEYS, 'mlp_bias'];
    const own = Object.entries(config).filter(([key]) => !derived.includes(key));
    return { architectures, ...Object.fromEntries(own) };
  }
  const { num_mtp_layers: _, ...kept } = config;
  return {
    architectures,
    ...kept,
    num_nextn_predict_layers: predictionDepth(config),
    qk_head_dim: config.qk_nope_head_dim + config.qk_rope_head_dim,
    head_dim: config.qk_rope_head_dim,
    num_key_value_heads: config.num_attention_heads,
  };
}

function generationConfig(config: ModelConfig): Record<string, unknown> {
  const ids: Record<string, unknown> = {};
  for (const key of ['bos_token_id', 'eos_token_id', 'pad_token_id'] as const) {
    if (config[key] !== undefined && config[key] !== null) ids[key] = config[key];
  }
  return { _from_model_config: true, ...ids };
}

/** @returns null where the folder has none. @throws Error naming the file when it does not hold a JSON object */
function readGenerationConfig(folder: string): Record<string, unknown> | null {
  const path = join(folder, 'generation_config.json');
  if (!existsSync(path)) return null;
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(path, 'utf8'));
  } catch (cause) {
    throw new Error(`${path}: not valid JSON: ${(cause as Error).message}`, { cause });
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new Error(`${path}: must hold a JSON object`);
}

/** Ids that end a generation: generation_config.json's, else config.json's. */
export function endOfTextIds({ config, generation }: Pick<CausalModel, 'config' | 'generation'>): number[] {
  const ids = generation?.eos_token_id ?? config.eos_token_id ?? [];
  return (Array.isArray(ids) ? ids : [ids]).filter((id): id is number => Number.isInteger(id));
}
