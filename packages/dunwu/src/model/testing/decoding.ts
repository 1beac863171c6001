import { noGrad, scope, type Tensor } from '@dunwu/torch';
import type { CausalModel } from '../causal-model.js';
import type { Decodable } from '../decodable.js';
import { Decoder, type DecoderType } from '../decoder.js';
import { PagedCache, pagesFor } from '../paged-cache.js';
import { TensorDecoder } from '../tensor-decoder.js';
import { adapted } from './adapted.js';
import { ids, tinyDense, tinyModel } from './tiny.js';

export type DecoderKind = typeof Decoder | typeof TensorDecoder;

const V2 = { model_type: 'deepseek_v2', norm_topk_prob: false, topk_method: 'group_limited_greedy' };
const YARN = { type: 'yarn', factor: 4, original_max_position_embeddings: 16, mscale: 0.7, mscale_all_dim: 1 };
const TILES = {
  hidden_size: 64,
  intermediate_size: 64,
  moe_intermediate_size: 32,
  q_lora_rank: 32,
  kv_lora_rank: 64,
  qk_nope_head_dim: 16,
  qk_rope_head_dim: 16,
  v_head_dim: 32,
  initializer_range: 0.1,
};
/** Every family, with what is special in some. */
export const MODELS: [name: string, make: () => CausalModel][] = [
  ['deepseek_v3', () => tinyModel(1)],
  [
    'deepseek_v3, queries not compressed, tied head, YaRN',
    () => tinyModel(2, { q_lora_rank: null, tie_word_embeddings: true, rope_scaling: YARN }),
  ],
  ['deepseek_v3, biases, half rotary layout', () => tinyModel(3, { attention_bias: true, rope_interleave: false })],
  ['deepseek_v3, no shared expert, one head', () => tinyModel(4, { n_shared_experts: null, num_attention_heads: 1 })],
  ['deepseek_v3, dense', () => tinyModel(5, { first_k_dense_replace: 3 })],
  ['deepseek_v3, eleven heads', () => tinyModel(6, { num_attention_heads: 11 })],
  ['deepseek_v2', () => tinyModel(7, V2 as object)],
  [
    'llama, one key for all heads, biases',
    () => tinyDense('llama', 8, { num_key_value_heads: 1, attention_bias: true, mlp_bias: true }),
  ],
  ['qwen2', () => tinyDense('qwen2', 9, { tie_word_embeddings: true })],
  ['qwen3, heads wider than their share', () => tinyDense('qwen3', 10, { head_dim: 6 })],
  // Large enough for matrix units: whole tiles, and heads enough that they read pages together.
  ['deepseek_v3, twelve heads, whole tiles', () => tinyModel(13, { ...TILES, num_attention_heads: 12 })],
  ['deepseek_v3, twenty heads, some of the last tile', () => tinyModel(14, { ...TILES, num_attention_heads: 20 })],
  ['deepseek_v3, experts whose rows are no whole tiles', () => tinyModel(16, { ...TILES, moe_intermediate_size: 20 })],
  [
    'deepseek_v3, wide latents, whole tiles',
    () => tinyModel(17, { ...TILES, kv_lora_rank: 96, num_attention_heads: 6, v_head_dim: 16 }),
  ],
  [
    'llama, seven heads a key, whole tiles',
    () =>
      tinyDense('llama', 15, {
        hidden_size: 64,
        intermediate_size: 96,
        num_attention_heads: 14,
        num_key_value_heads: 2,
        head_dim: 32,
        initializer_range: 0.1,
      }),
  ],
  [
    'qwen2, tied head, whole tiles but for gates and ups',
    () =>
      tinyDense('qwen2', 18, {
        vocab_size: 32,
        hidden_size: 64,
        intermediate_size: 24,
        tie_word_embeddings: true,
        initializer_range: 0.1,
      }),
  ],
  // Widths of 16 and 48 of which 32 are read together, and one, two and four heads a key.
  ...([4, 2, 1] as const).map((num_key_value_heads): [string, () => CausalModel] => [
    `qwen2, heads of 40, ${4 / num_key_value_heads} a key`,
    () => tinyDense('qwen2', 19, { head_dim: 40, num_attention_heads: 4, num_key_value_heads, vocab_size: 90 }),
  ]),
  ['deepseek_v3 with adapters', () => adapted(tinyModel(11))],
  ['qwen2 with adapters', () => adapted(tinyDense('qwen2', 12), { target_modules: ['k_proj', 'up_proj'] })],
];

/** Logits of the whole text at once, [time, vocabulary]. */
export function whole(model: CausalModel, text: readonly number[]): Tensor {
  return noGrad(() => model.logits(model.forward({ tokens: ids([[...text]]) }).hidden));
}

/**
 * Reads the first tokens of each text in pieces, then decodes the others one by one, the sequences side by side.
 * @param before is shown each layer of the cache at the beginning
 * @returns for each sequence, its logits at each position from that of the last token read
 */
export function decode(
  model: Decodable,
  texts: readonly (readonly number[])[],
  read: number,
  {
    dtype = 'float32' as DecoderType,
    piece = read,
    Kind = Decoder as DecoderKind,
    before = (_layer: Tensor): void => {},
  } = {},
): number[][][] {
  const longest = Math.max(...texts.map(({ length }) => length));
  const pagesEach = pagesFor(longest);
  const decoder = new Kind(model, dtype);
  const device = decoder instanceof TensorDecoder ? decoder.device : 'cpu';
  const cache = new PagedCache(model.config, texts.length * pagesEach, dtype, device);
  model.reserve(longest);
  scope(() => {
    // What the plain decoder is given on a device.
    if (Kind === TensorDecoder) for (const layer of cache.layers) layer.fill_(0);
    cache.layers.forEach(before);
  });
  try {
    return scope(() => {
      const pages = Int32Array.from({ length: texts.length * pagesEach }, () => cache.take());
      const found: number[][][] = texts.map(() => []);
      const compute = (columns: readonly { row: number; at: number }[], wanted: readonly number[]): void => {
        const logits = decoder.step(
          {
            tokens: Int32Array.from(columns, ({ row, at }) => texts[row]?.[at] as number),
            lengths: Int32Array.from(columns, ({ at }) => at + 1),
            sequences: Int32Array.from(columns, ({ row }) => row),
            pages,
            pagesEach,
            wanted: Int32Array.from(wanted),
          },
          cache,
        );
        wanted.forEach((column, i) => {
          found[columns[column]?.row as number]?.push(logits.select(0, i).numbers());
        });
      };
      for (let from = 0; from < read; from += piece) {
        const to = Math.min(read, from + piece);
        const columns = texts.flatMap((_, row) => Array.from({ length: to - from }, (_, i) => ({ row, at: from + i })));
        compute(columns, to < read ? [] : columns.flatMap(({ at }, column) => (at === read - 1 ? [column] : [])));
      }
      for (let at = read; at < longest; at++) {
        const columns = texts.flatMap((text, row) => (at < text.length ? [{ row, at }] : []));
        compute(
          columns,
          columns.map((_, i) => i),
        );
      }
      return found;
    });
  } finally {
    cache.dispose();
    decoder.dispose();
  }
}
