import { existsSync, mkdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { noGrad, openSafetensors, scope, type Tensor, type TensorSource, writeSafetensors } from '@dunwu/torch';
import { z } from 'zod';
import { writeFileAtomic } from '../util/fs.js';
import type { CausalModel } from './causal-model.js';
import type { LinearAdapter } from './linear.js';
import { requireNone } from './lora.js';
import { type LoraConfig, loraScale } from './lora-config.js';
import { allTargets, type LoraTarget, matches, reason, shortNames } from './lora-targets.js';
import { trainable } from './parameter.js';

/** Adapters in PEFT's layout, in and out: adapter_config.json and adapter_model.safetensors. */

export const ADAPTER_CONFIG = 'adapter_config.json';
export const ADAPTER_WEIGHTS = 'adapter_model.safetensors';

const MAX_CONFIG_BYTES = 4 * 2 ** 20;
const MAX_PROBLEMS = 12;

/** Keys of PEFT's LoraConfig that change nothing of what a stored adapter computes. */
const SILENT = [
  'auto_mapping',
  'base_model_name_or_path',
  'ensure_weight_tying',
  'inference_mode',
  'layers_pattern',
  'lora_dropout', // in training only
  'megatron_core',
  'peft_version',
  'qalora_group_size',
  'revision',
  'runtime_config',
];

/** Values of `init_lora_weights` that leave W₀ alone; others (pissa, olora, loftq, corda) take something out of it. */
const HARMLESS_INIT = [true, false, 'gaussian', 'eva', 'orthogonal'];

const fileConfig = z.looseObject({
  peft_type: z.literal('LORA'),
  task_type: z.enum(['CAUSAL_LM']).nullish(),
  r: z.int().positive().max(65_536),
  lora_alpha: z.number(),
  use_rslora: z.boolean().nullish(),
  /** A string is a pattern; which modules it means, the file of weights says. */
  target_modules: z.union([z.array(z.string()), z.string()]).nullish(),
  exclude_modules: z.union([z.array(z.string()), z.string()]).nullish(),
  layers_to_transform: z.union([z.array(z.int()), z.int()]).nullish(),
  init_lora_weights: z
    .union([z.boolean(), z.string()])
    .nullish()
    .refine((value) => value === null || value === undefined || HARMLESS_INIT.includes(value), {
      error: 'changes the weights of the base model, which is not done here',
    }),
});

type FileConfig = z.output<typeof fileConfig>;

/**
 * Puts a stored adapter on a model: what PEFT saved, or {@link saveAdapter}. Nothing is changed when something is wrong.
 *
 * @throws Error naming the file, and every key that cannot be honoured or tensor that does not fit the model.
 */
export function loadAdapter(model: CausalModel, folder: string): void {
  requireNone(model);
  const config = readAdapterConfig(folder);
  using source = openWeights(folder);
  const all = allTargets(model.linears());
  const chosen = checkedTargets(source, config, all);
  const lora: LoraConfig = {
    rank: config.r,
    alpha: config.lora_alpha,
    target_modules: shortNames(all, chosen),
    use_rslora: config.use_rslora ?? false,
  };
  const scale = loraScale(lora);
  const { device } = model;
  for (const { linear } of model.linears()) {
    linear.setAdapters(
      chosen
        .filter((target) => target.linear === linear)
        .map(({ name, part }): LinearAdapter => {
          const read = (which: 'A' | 'B'): Tensor =>
            trainable(
              scope(() => noGrad(() => source.tensor(tensorName(name, which)).toDevice(device, 'float32').clone())),
            );
          return { part, a: read('A'), b: read('B'), scale };
        }),
    );
  }
  model.lora = lora;
  model.setTrainable(true);
}

/**
 * Reads a stored adapter into the one that the model has, whose configuration must be the same: going on with training.
 * @throws Error naming the file and what does not fit.
 */
export function restoreAdapter(model: CausalModel, folder: string): void {
  const { lora } = model;
  if (lora === null) throw new Error(`${folder}: holds an adapter, and the model has none`);
  const config = readAdapterConfig(folder);
  using source = openWeights(folder);
  const all = allTargets(model.linears());
  const chosen = checkedTargets(source, config, all);
  const own = all.filter(({ linear, part }) => linear.adapters.some((adapter) => adapter.part === part));
  const same =
    config.r === lora.rank &&
    config.lora_alpha === lora.alpha &&
    (config.use_rslora ?? false) === lora.use_rslora &&
    String(chosen.map(({ name }) => name)) === String(own.map(({ name }) => name));
  if (!same) {
    throw new Error(`${folder}: its adapter is of another configuration than the model's (rank, alpha, modules)`);
  }
  scope(() =>
    noGrad(() => {
      for (const { name, tensor } of model.trained()) scope(() => tensor.copy_(source.tensor(name)));
    }),
  );
}

export interface SaveAdapterOptions {
  /** Where the model is that the adapter belongs to, for who reads it: a folder or a name. */
  readonly base?: string;
}

/** Writes a model's adapter into a folder (made if missing), so that PEFT loads it. @throws Error when there is none */
export async function saveAdapter(model: CausalModel, folder: string, options: SaveAdapterOptions = {}): Promise<void> {
  const { lora } = model;
  if (lora === null) throw new Error(`${folder}: the model has no adapter to save`);
  mkdirSync(folder, { recursive: true });
  const all = allTargets(model.linears());
  const chosen = all.filter(({ linear, part }) => linear.adapters.some((adapter) => adapter.part === part));
  scope(() => {
    const tensors = new Map(model.trained().map(({ name, tensor }) => [name, tensor.detach()]));
    writeSafetensors(join(folder, ADAPTER_WEIGHTS), tensors, { format: 'pt' });
  });
  const config = {
    peft_type: 'LORA',
    task_type: 'CAUSAL_LM',
    base_model_name_or_path: options.base ?? null,
    r: lora.rank,
    lora_alpha: lora.alpha,
    lora_dropout: 0,
    use_rslora: lora.use_rslora,
    target_modules: shortNames(all, chosen),
    bias: 'none',
    fan_in_fan_out: false,
    inference_mode: true,
    init_lora_weights: true,
    modules_to_save: null,
  };
  await writeFileAtomic(join(folder, ADAPTER_CONFIG), `${JSON.stringify(config, null, 2)}\n`);
}

/** PEFT's name of a tensor. @param module the name of the matrix: model.layers.0.self_attn.q_proj */
function tensorName(module: string, which: 'A' | 'B'): string {
  return `base_model.model.${module}.lora_${which}.weight`;
}

/** @throws Error naming the file and every key that cannot be honoured. */
function readAdapterConfig(folder: string): FileConfig {
  const path = join(folder, ADAPTER_CONFIG);
  if (!existsSync(path)) {
    throw new Error(
      `${path}: there is no such file; an adapter's folder holds ${ADAPTER_CONFIG} and ${ADAPTER_WEIGHTS}`,
    );
  }
  if (statSync(path).size > MAX_CONFIG_BYTES) throw new Error(`${path}: is too large for a configuration`);
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(path, 'utf8'));
  } catch (cause) {
    throw new Error(`${path}: not valid JSON: ${(cause as Error).message}`, { cause });
  }
  const result = fileConfig.safeParse(value);
  const problems = result.success
    ? unsupported(result.data)
    : result.error.issues.map((issue) => `${issue.path.join('.') || '(top level)'}: ${issue.message}`);
  if (problems.length > 0 || !result.success) {
    throw new Error(`${path}: not an adapter that this program can honour:\n  ${problems.join('\n  ')}`);
  }
  return result.data;
}

/** Keys that are not known here and ask for something. */
function unsupported(config: FileConfig): string[] {
  const known = [...SILENT, ...Object.keys(fileConfig.shape)];
  const empty = (value: unknown): boolean =>
    value === null ||
    value === false ||
    value === 'none' ||
    (typeof value === 'object' && Object.keys(value as object).length === 0);
  return Object.entries(config).flatMap(([key, value]) =>
    known.includes(key) || empty(value) ? [] : [`${key}: ${JSON.stringify(value).slice(0, 80)} is not supported`],
  );
}

function openWeights(folder: string): TensorSource {
  const path = join(folder, ADAPTER_WEIGHTS);
  if (existsSync(path)) return openSafetensors(path);
  const pickle = existsSync(join(folder, 'adapter_model.bin'))
    ? '; adapter_model.bin can run code when it is read, and is not: save it again with safe_serialization=True'
    : '';
  throw new Error(`${path}: there is no such file${pickle}`);
}

/** The matrices that a file has adapters for. @throws Error with all that does not fit */
function checkedTargets(source: TensorSource, config: FileConfig, all: readonly LoraTarget[]): LoraTarget[] {
  const problems: string[] = [];
  const byName = new Map(all.map((target) => [target.name, target]));
  const found = new Set<LoraTarget>();
  for (const name of source.names) {
    const module = /^base_model\.model\.(.+)\.lora_[AB]\.weight$/.exec(name)?.[1];
    const target = byName.get(module ?? '');
    if (module === undefined) problems.push(`${name} is no tensor of a LoRA adapter on a matrix`);
    else if (target === undefined) problems.push(`${name}: ${reason(all, module)}`);
    else found.add(target);
  }
  for (const target of found) problems.push(...pairProblems(source, target, config.r));
  const { target_modules: wanted } = config;
  // What a list means is known, unless other keys take some of it away again.
  if (Array.isArray(wanted) && isEmpty(config.exclude_modules) && isEmpty(config.layers_to_transform)) {
    for (const target of all) {
      const meant = wanted.some((one) => matches(target.name, one));
      if (meant && !found.has(target)) problems.push(`${tensorName(target.name, 'A')} is missing`);
      if (!meant && found.has(target)) problems.push(`${target.name} is not among the target_modules of the config`);
    }
  }
  if (found.size === 0 && problems.length === 0) problems.push('it has no tensors');
  if (problems.length > 0) {
    const more = problems.length > MAX_PROBLEMS ? `\n  … and ${problems.length - MAX_PROBLEMS} more` : '';
    throw new Error(
      `${source.path}: does not fit the model and ${ADAPTER_CONFIG}:\n  ${problems.slice(0, MAX_PROBLEMS).join('\n  ')}${more}`,
    );
  }
  return all.filter((target) => found.has(target));
}

const isEmpty = (value: unknown): boolean =>
  value === null || value === undefined || (Array.isArray(value) && value.length === 0);

function pairProblems(source: TensorSource, { name, linear, part }: LoraTarget, rank: number): string[] {
  const shapes = { A: [rank, linear.weight.size(1)], B: [part.length, rank] };
  return (['A', 'B'] as const).flatMap((which) => {
    const key = tensorName(name, which);
    if (!source.has(key)) return [`${key} is missing`];
    const { dtype, shape } = source.info(key);
    if (!['float32', 'bfloat16', 'float16', 'float64'].includes(dtype)) {
      return [`${key} is ${dtype}; expected float32, bfloat16, float16 or float64`];
    }
    if (String(shape) !== String(shapes[which])) {
      return [`${key} has the shape [${shape}], the model and r ask for [${shapes[which]}]`];
    }
    const finite = scope(() => noGrad(() => source.tensor(key).to('float32').isfinite().all().item()));
    return Number(finite) === 1 ? [] : [`${key} has values that are not finite`];
  });
}
