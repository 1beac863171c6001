import { manualSeed, noGrad, scope, setThreads, type Tensor, tensor } from '@dunwu/torch';
import type { z } from 'zod';
import { CausalModel } from '../causal-model.js';
import { type ModelConfig, parseConfig } from '../config.js';
import type { DeepseekV3Config, deepseekV3Schema } from '../deepseek-config.js';

// Too small to share out: on a busy machine the threads' waiting for each other costs ten times the work.
setThreads(1);

/** A model of a few thousand weights with everything in it: q compression, groups, a dense layer, a shared expert. */
export const TINY: z.input<typeof deepseekV3Schema> = {
  model_type: 'deepseek_v3',
  vocab_size: 24,
  hidden_size: 16,
  intermediate_size: 24,
  moe_intermediate_size: 12,
  num_hidden_layers: 3,
  num_attention_heads: 2,
  n_shared_experts: 1,
  n_routed_experts: 8,
  num_experts_per_tok: 2,
  n_group: 2,
  topk_group: 1,
  first_k_dense_replace: 1,
  routed_scaling_factor: 2.5,
  q_lora_rank: 10,
  kv_lora_rank: 8,
  qk_nope_head_dim: 6,
  qk_rope_head_dim: 4,
  v_head_dim: 5,
  max_position_embeddings: 64,
  // Large, so that attention and routing are far from uniform and a mistake shows.
  initializer_range: 0.3,
};

export type TinyOverrides = Partial<z.input<typeof deepseekV3Schema>>;

export const tinyConfig = (overrides: TinyOverrides = {}): DeepseekV3Config =>
  parseConfig({ ...TINY, ...overrides }) as DeepseekV3Config;

/** Seeded; vectors and router biases too are away from their 1 and 0, where some mistakes would not show. */
export function tinyModel(seed: number, overrides: TinyOverrides = {}): CausalModel {
  return seededModel(seed, tinyConfig(overrides));
}

/** A model of a few thousand weights of another family. */
export function tinyDense(model_type: 'qwen2' | 'qwen3' | 'llama', seed: number, overrides: object = {}): CausalModel {
  const shape = {
    vocab_size: 24,
    hidden_size: 16,
    intermediate_size: 24,
    num_hidden_layers: 2,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    max_position_embeddings: 64,
    initializer_range: 0.3,
  };
  return seededModel(seed, parseConfig({ model_type, ...shape, ...overrides }));
}

function seededModel(seed: number, config: ModelConfig): CausalModel {
  manualSeed(seed);
  const model = new CausalModel(config);
  scope(() =>
    noGrad(() => {
      for (const { kind, tensor: weight } of model.parameters()) {
        if (kind === 'vector' || kind === 'buffer') weight.add_(weight.mul(0).normal_(0, 0.1));
      }
    }),
  );
  return model;
}

/** Token ids as int64 [rows, time]. */
export function ids(rows: readonly (readonly number[])[]): Tensor {
  return tensor(BigInt64Array.from(rows.flat(), BigInt), { shape: [rows.length, rows[0]?.length ?? 0] });
}

/** Deterministic tokens, no two rows alike: value of row r, place t. */
export function rows(count: number, time: number, vocabulary = 24): number[][] {
  return Array.from({ length: count }, (_, r) =>
    Array.from({ length: time }, (_, t) => (7 * t + 5 * r + t * t * (r + 1)) % vocabulary),
  );
}

/** The largest absolute difference of two tensors of one shape. */
export function difference(a: Tensor, b: Tensor): number {
  if (String(a.shape) !== String(b.shape)) throw new Error(`shapes differ: ${a} and ${b}`);
  return scope(() => a.detach().to('float64').sub(b.detach().to('float64')).abs().amax().item());
}

/** Every weight's gradient by name, as plain numbers; then the gradients are cleared. */
export function takeGradients(model: CausalModel): Map<string, number[]> {
  return new Map(
    model.parameters().flatMap(({ name, tensor: weight, kind }) => {
      if (kind === 'buffer') return [];
      const { grad } = weight;
      const numbers = grad?.numbers() ?? [];
      grad?.dispose();
      weight.grad = null;
      return [[name, numbers] as const];
    }),
  );
}

/** The largest difference of two sets of gradients, relative to the largest gradient. @throws when one is missing. */
export function gradientDifference(a: ReadonlyMap<string, number[]>, b: ReadonlyMap<string, number[]>): number {
  let worst = 0;
  let largest = 0;
  for (const [name, ours] of a) {
    const theirs = b.get(name) ?? [];
    if (ours.length !== theirs.length || ours.length === 0) throw new Error(`${name}: a gradient is missing`);
    ours.forEach((value, i) => {
      worst = Math.max(worst, Math.abs(value - (theirs[i] as number)));
      largest = Math.max(largest, Math.abs(value));
    });
  }
  return worst / largest;
}
