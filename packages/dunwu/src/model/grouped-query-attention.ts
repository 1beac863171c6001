import { cat, fusedRmsNorm, groupedAttention, ropePart, type Tensor } from '@dunwu/torch';
import { type Attention, type AttentionContext, type CacheView, requireMask } from './attention.js';
import type { DecoderParts } from './decoder-parts.js';
import type { DenseConfig } from './dense-config.js';
import { Linear } from './linear.js';
import { filled, type Parameter, parameter } from './parameter.js';
import type { TokenCache } from './token-cache.js';

/**
 * Grouped-query attention (Ainslie et al. 2023, arXiv 2305.13245): several heads share one key and value. The cache holds
 * the rotated keys, then the values, of every group: 2 · num_key_value_heads · head_dim numbers a token and layer.
 */
export class GroupedQueryAttention implements Attention {
  readonly #config: DenseConfig;
  readonly #scale: number;
  /** Queries, keys and values are one matrix here, three on disk. */
  readonly #qkv: Linear;
  readonly #queryNorm: Tensor | null;
  readonly #keyNorm: Tensor | null;
  readonly #output: Linear;

  constructor(config: DenseConfig) {
    this.#config = config;
    const { hidden_size: hidden, num_attention_heads: heads, num_key_value_heads: groups, head_dim: width } = config;
    this.#scale = width ** -0.5;
    const std = config.initializer_range;
    const outputs = { q_proj: heads * width, k_proj: groups * width, v_proj: groups * width };
    this.#qkv = new Linear({ name: 'qkv_proj', inputs: hidden, outputs, std, bias: config.qkv_bias });
    this.#queryNorm = config.qk_norm ? filled([width], 1) : null;
    this.#keyNorm = config.qk_norm ? filled([width], 1) : null;
    this.#output = new Linear({
      name: 'o_proj',
      inputs: heads * width,
      outputs: hidden,
      std,
      bias: config.output_bias,
    });
  }

  /** @returns [B·T, H + 2 · groups, width]: queries, keys and values, queries and keys normalised and rotated */
  #project(x: Tensor, { cosine, sine }: AttentionContext): Tensor {
    const { num_attention_heads: heads, num_key_value_heads: groups, head_dim: width, rms_norm_eps } = this.#config;
    let all = this.#qkv.forward(x).view([x.size(0), heads + 2 * groups, width]);
    if (this.#queryNorm !== null && this.#keyNorm !== null) {
      const query = fusedRmsNorm(all.narrow(1, 0, heads), this.#queryNorm, rms_norm_eps);
      const key = fusedRmsNorm(all.narrow(1, heads, groups), this.#keyNorm, rms_norm_eps);
      all = cat([query, key, all.narrow(1, heads + groups, groups)], 1);
    }
    return ropePart(all, cosine, sine, false, 0, heads + groups);
  }

  forward(x: Tensor, batch: number, context: AttentionContext, cache?: TokenCache, layer = 0): Tensor {
    const { num_attention_heads: heads, num_key_value_heads: groups, head_dim: width } = this.#config;
    const time = x.size(0) / batch;
    const all = this.#project(x, context);
    const entries = (): Tensor => all.narrow(1, heads, 2 * groups).reshape([batch, time, 2 * groups * width]);
    cache?.fill(layer, entries());
    if (context.mask === null) {
      const { starts, sequences } = context;
      return this.#output.forward(groupedAttention(all, heads, groups, starts, time, this.#scale, sequences));
    }
    return this.#attend(all.narrow(1, 0, heads), entries(), context.mask);
  }

  decode(x: Tensor, batch: number, context: AttentionContext, cache: CacheView, layer: number): Tensor {
    const { num_attention_heads: heads, num_key_value_heads: groups, head_dim: width } = this.#config;
    const time = x.size(0) / batch;
    const all = this.#project(x, context);
    const { store, positions, keys } = cache;
    store.append(layer, all.narrow(1, heads, 2 * groups).reshape([batch, time, 2 * groups * width]), positions);
    return this.#attend(all.narrow(1, 0, heads), store.read(layer, keys), requireMask(context));
  }

  /** @param entries [batch, keys, 2 · groups · width]: every group's key, then every group's value */
  #attend(query: Tensor, entries: Tensor, mask: Tensor): Tensor {
    const { num_attention_heads: heads, num_key_value_heads: groups, head_dim: width } = this.#config;
    const rows = query.size(0);
    const [batch, keys] = entries.shape as [number, number];
    const time = rows / batch;
    const shared = heads / groups;
    const byGroup = entries.view([batch, keys, 2 * groups, width]).transpose(1, 2);
    const [key, value] = [byGroup.narrow(1, 0, groups), byGroup.narrow(1, groups, groups)];
    // The heads of a group stand one after another: their queries are more rows of the same product.
    const queries = query
      .mul(this.#scale)
      .view([batch, time, groups, shared, width])
      .permute([0, 2, 3, 1, 4])
      .reshape([batch, groups, shared * time, width]);
    const weights = queries
      .matmul(key.transpose(2, 3))
      .view([batch, heads, time, keys])
      .add(mask)
      .softmax(-1)
      .view([batch, groups, shared * time, keys]);
    const mixed = weights
      .matmul(value)
      .view([batch, heads, time, width])
      .transpose(1, 2)
      .reshape([rows, heads * width]);
    return this.#output.forward(mixed);
  }

  linears(): Linear[] {
    return [this.#qkv, this.#output];
  }

  decoderParts(): DecoderParts {
    return {
      ...this.#qkv.decoderParts('qkv'),
      query_norm: this.#queryNorm,
      key_norm: this.#keyNorm,
      ...this.#output.decoderParts('output'),
    };
  }

  parameters(prefix: string): Parameter[] {
    const list = this.#qkv.parameters(prefix);
    if (this.#queryNorm !== null) list.push(parameter(`${prefix}.q_norm.weight`, 'vector', this.#queryNorm));
    if (this.#keyNorm !== null) list.push(parameter(`${prefix}.k_norm.weight`, 'vector', this.#keyNorm));
    return [...list, ...this.#output.parameters(prefix)];
  }
}
