import { isDeepseek, type ModelConfig } from './config.js';
import type { DeepseekConfig } from './deepseek-config.js';
import type { DenseConfig } from './dense-config.js';
import type { ModelMemory } from './size.js';

/** What adapters on every projection (`all-linear`) take, by shapes: nothing is allocated. */
export interface LoraSize {
  /** Numbers in A and B of all of them: r · (inputs + outputs) for each matrix. */
  readonly parameters: number;
  /** Numbers in the matrices that they are put on. */
  readonly under: number;
}

export function loraSize(config: ModelConfig, rank: number): LoraSize {
  const shapes = isDeepseek(config) ? latentShapes(config) : denseShapes(config);
  return {
    parameters: shapes.reduce((sum, [count, inputs, outputs]) => sum + count * rank * (inputs + outputs), 0),
    under: shapes.reduce((sum, [count, inputs, outputs]) => sum + count * inputs * outputs, 0),
  };
}

/** Memory in bytes, as computed here (float32), without what a batch needs. */
export interface LoraMemory {
  readonly rank: number;
  /** Weights of the adapters. */
  readonly parameters: number;
  /** The model's weights; adapters with gradients and AdamW's two moments. */
  readonly training: number;
  /** While adapters are merged for decoding in float32: the matrices under them once more. In bfloat16 they are rounded in any case. */
  readonly merging: number;
}

export function loraMemory({ weights }: ModelMemory, { parameters, under }: LoraSize, rank: number): LoraMemory {
  return { rank, parameters, training: weights + 16 * parameters, merging: 4 * under };
}

/** How many matrices of so many inputs and outputs. */
type Shape = readonly [count: number, inputs: number, outputs: number];

const feedForward = (layers: number, hidden: number, inner: number): Shape[] => [
  [2 * layers, hidden, inner],
  [layers, inner, hidden],
];

function latentShapes(config: DeepseekConfig): Shape[] {
  const { hidden_size: hidden, num_attention_heads: heads, num_hidden_layers: layers, q_lora_rank } = config;
  const { kv_lora_rank: latent, qk_nope_head_dim: nope, qk_rope_head_dim: rope, v_head_dim: value } = config;
  const query = heads * (nope + rope);
  const compressed = q_lora_rank ?? 0;
  const first = Math.min(config.first_k_dense_replace, layers);
  const shared = config.n_shared_experts * config.moe_intermediate_size;
  return [
    ...((compressed === 0
      ? [[layers, hidden, query]]
      : [
          [layers, hidden, compressed],
          [layers, compressed, query],
        ]) as Shape[]),
    [layers, hidden, latent + rope],
    [layers, latent, heads * (nope + value)],
    [layers, heads * value, hidden],
    ...feedForward(first, hidden, config.intermediate_size),
    ...(shared === 0 ? [] : feedForward(layers - first, hidden, shared)),
  ];
}

function denseShapes(config: DenseConfig): Shape[] {
  const { hidden_size: hidden, num_attention_heads: heads, num_key_value_heads: groups, head_dim: width } = config;
  const { num_hidden_layers: layers } = config;
  return [
    [layers, hidden, heads * width],
    [2 * layers, hidden, groups * width],
    [layers, heads * width, hidden],
    ...feedForward(layers, hidden, config.intermediate_size),
  ];
}
