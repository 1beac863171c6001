import { cat, fusedRmsNorm, latentAttention, rope, ropePart, type Tensor } from '@dunwu/torch';
import { type Attention, type AttentionContext, type CacheView, requireMask } from './attention.js';
import type { DecoderParts } from './decoder-parts.js';
import type { DeepseekConfig } from './deepseek-config.js';
import { Linear } from './linear.js';
import { filled, type Parameter, parameter } from './parameter.js';
import { attentionScale } from './rope.js';
import type { TokenCache } from './token-cache.js';

/**
 * Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434 §2.1; V3 §2.1.1). Keys and values of all heads come from one
 * latent of kv_lora_rank numbers, next to one rotary key shared by the heads; the cache holds just those.
 *
 * `forward` spells keys and values out for every head (best when many queries share them: training, prefill);
 * `absorbed` moves the up-projections to the query and output side and attends in the latent space (best when a
 * query is alone: decoding). Both compute the same function.
 */
export class LatentAttention implements Attention {
  readonly #config: DeepseekConfig;
  readonly #scale: number;
  readonly #queryA: Linear | null;
  readonly #queryNorm: Tensor | null;
  readonly #queryB: Linear;
  readonly #kvA: Linear;
  readonly #kvNorm: Tensor;
  readonly #kvB: Linear;
  readonly #output: Linear;

  constructor(config: DeepseekConfig) {
    this.#config = config;
    this.#scale = attentionScale(config);
    const { hidden_size, num_attention_heads: heads, q_lora_rank, kv_lora_rank, initializer_range: std } = config;
    const queryWidth = heads * (config.qk_nope_head_dim + config.qk_rope_head_dim);
    const compressed = q_lora_rank !== undefined && q_lora_rank !== null;
    const bias = config.attention_bias;
    const linear = (name: string, outputs: number, inputs: number, withBias = false): Linear =>
      new Linear({ name, inputs, outputs, std, bias: withBias });
    this.#queryA = compressed ? linear('q_a_proj', q_lora_rank, hidden_size, bias) : null;
    this.#queryNorm = compressed ? filled([q_lora_rank], 1) : null;
    this.#queryB = compressed ? linear('q_b_proj', queryWidth, q_lora_rank) : linear('q_proj', queryWidth, hidden_size);
    this.#kvA = linear('kv_a_proj_with_mqa', kv_lora_rank + config.qk_rope_head_dim, hidden_size, bias);
    this.#kvNorm = filled([kv_lora_rank], 1);
    this.#kvB = linear('kv_b_proj', heads * (config.qk_nope_head_dim + config.v_head_dim), kv_lora_rank);
    this.#output = linear('o_proj', hidden_size, heads * config.v_head_dim, bias);
  }

  /**
   * Queries and latents of x. The norms on both latents use eps 1e-6 whatever rms_norm_eps says, as the published code.
   * @returns query [B·T, H, nope + rope], its last numbers rotated; latent [B·T, kv_lora_rank]; rotary key [B·T, rope]
   */
  #project(x: Tensor, { cosine, sine }: AttentionContext): { query: Tensor; latent: Tensor; key: Tensor } {
    const { num_attention_heads: heads, qk_nope_head_dim: nope, qk_rope_head_dim: width, kv_lora_rank } = this.#config;
    const interleaved = this.#config.rope_interleave;
    const rows = x.size(0);
    const compressed = this.#queryA === null ? x : this.#queryA.forward(x);
    const query = this.#queryB
      .forward(this.#queryNorm === null ? compressed : fusedRmsNorm(compressed, this.#queryNorm, 1e-6))
      .view([rows, heads, nope + width]);
    const kv = this.#kvA.forward(x);
    return {
      query: ropePart(query, cosine, sine, interleaved, 0, heads),
      latent: fusedRmsNorm(kv.narrow(-1, 0, kv_lora_rank), this.#kvNorm, 1e-6),
      key: rope(kv.narrow(-1, kv_lora_rank, width).unsqueeze(1), cosine, sine, interleaved).squeeze(1),
    };
  }

  /**
   * @param x [B · T, hidden]
   * @param cache when given, receives the latents of these T tokens at positions 0..T−1 of its rows
   * @returns [B · T, hidden]
   */
  forward(x: Tensor, batch: number, context: AttentionContext, cache?: TokenCache, layer = 0): Tensor {
    const {
      num_attention_heads: heads,
      qk_nope_head_dim: nopeWidth,
      qk_rope_head_dim: ropeWidth,
      v_head_dim,
    } = this.#config;
    const rows = x.size(0);
    const time = rows / batch;
    const { query, latent, key } = this.#project(x, context);
    cache?.fill(layer, cat([latent, key], -1).view([batch, time, -1]));
    const kv = this.#kvB.forward(latent).view([batch, time, heads, nopeWidth + v_head_dim]);
    if (context.mask === null) {
      const each = kv.view([rows, heads, nopeWidth + v_head_dim]);
      return this.#output.forward(
        latentAttention(query, each, key, context.starts, time, this.#scale, context.sequences),
      );
    }
    const keys = cat(
      [kv.narrow(-1, 0, nopeWidth), key.view([batch, time, 1, ropeWidth]).expand([batch, time, heads, ropeWidth])],
      -1,
    ).permute([0, 2, 3, 1]);
    const queries = query.view([batch, time, heads, nopeWidth + ropeWidth]).transpose(1, 2);
    const values = kv.narrow(-1, nopeWidth, v_head_dim).transpose(1, 2);
    const weights = queries.mul(this.#scale).matmul(keys).add(context.mask).softmax(-1).to(values.dtype);
    const mixed = weights
      .matmul(values)
      .transpose(1, 2)
      .reshape([rows, heads * v_head_dim]);
    return this.#output.forward(mixed);
  }

  /**
   * The same function in latent space: score = (q_nope W_k) · latent + q_rope · key.
   * @param x [B · T, hidden]
   * @param cache when given, the T new tokens are appended at `positions` and all `keys` of it are attended to
   */
  absorbed(x: Tensor, batch: number, context: AttentionContext, cache?: CacheView, layer = 0): Tensor {
    const { num_attention_heads: heads, qk_nope_head_dim: nopeWidth, v_head_dim, kv_lora_rank: rank } = this.#config;
    const rows = x.size(0);
    const time = rows / batch;
    const { query, latent, key } = this.#project(x, context);
    let entries = cat([latent, key], -1).view([batch, time, -1]);
    if (cache !== undefined) {
      cache.store.append(layer, entries, cache.positions);
      entries = cache.store.read(layer, cache.keys);
    }
    const kvB = this.#kvB.effectiveWeight().view([heads, nopeWidth + v_head_dim, rank]);
    // [H, B·T, nope] × [H, nope, rank]: the query, moved into the latent space.
    const latentQuery = query
      .narrow(-1, 0, nopeWidth)
      .transpose(0, 1)
      .bmm(kvB.narrow(1, 0, nopeWidth))
      .transpose(0, 1);
    const queries = cat([latentQuery, query.narrow(-1, nopeWidth, this.#config.qk_rope_head_dim)], -1)
      .mul(this.#scale)
      .view([batch, time, heads, -1])
      .transpose(1, 2)
      .reshape([batch, heads * time, -1]);
    const keys = entries.size(1);
    const scores = queries.bmm(entries.transpose(1, 2)).view([batch, heads, time, keys]);
    const weights = scores
      .add(requireMask(context))
      .softmax(-1)
      .view([batch, heads * time, keys]);
    const mixed = weights
      .bmm(entries.narrow(-1, 0, rank))
      .view([batch, heads, time, rank])
      .permute([1, 0, 2, 3])
      .reshape([heads, rows, rank]);
    const values = mixed.bmm(kvB.narrow(1, nopeWidth, v_head_dim).transpose(1, 2));
    return this.#output.forward(values.transpose(0, 1).reshape([rows, heads * v_head_dim]));
  }

  decode(x: Tensor, batch: number, context: AttentionContext, cache: CacheView, layer: number): Tensor {
    return this.absorbed(x, batch, context, cache, layer);
  }

  decoderParts(): DecoderParts {
    return {
      ...this.#queryA?.decoderParts('query_a'),
      query_norm: this.#queryNorm,
      ...this.#queryB.decoderParts('query_b'),
      ...this.#kvA.decoderParts('kv_a'),
      kv_norm: this.#kvNorm,
      ...this.#kvB.decoderParts('kv_b'),
      ...this.#output.decoderParts('output'),
    };
  }

  linears(): Linear[] {
    return [...(this.#queryA === null ? [] : [this.#queryA]), this.#queryB, this.#kvA, this.#kvB, this.#output];
  }

  parameters(prefix: string): Parameter[] {
    const norm = (name: string, tensor: Tensor | null): Parameter[] =>
      tensor === null ? [] : [parameter(`${prefix}.${name}.weight`, 'vector', tensor)];
    return [
      ...(this.#queryA?.parameters(prefix) ?? []),
      ...norm('q_a_layernorm', this.#queryNorm),
      ...this.#queryB.parameters(prefix),
      ...this.#kvA.parameters(prefix),
      ...norm('kv_a_layernorm', this.#kvNorm),
      ...this.#kvB.parameters(prefix),
      ...this.#output.parameters(prefix),
    ];
  }
}

/** Numbers a cache holds per token and layer: kv_lora_rank + qk_rope_head_dim (576 for DeepSeek-V3). */
export function latentWidth(config: DeepseekConfig): number {
  return config.kv_lora_rank + config.qk_rope_head_dim;
}

/**
 * Numbers that plain multi-head attention of the same heads would hold per token and layer: every head's key and value
 * (40,960 for DeepSeek-V3).
 */
export function plainCacheWidth(config: DeepseekConfig): number {
  return config.num_attention_heads * (config.qk_nope_head_dim + config.qk_rope_head_dim + config.v_head_dim);
}
