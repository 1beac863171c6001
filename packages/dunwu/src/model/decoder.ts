import { noGrad, op, scope, type Tensor, tensor } from '@dunwu/torch';
import { computeType } from './compute-type.js';
import { isDeepseek, type ModelConfig } from './config.js';
import type { Decodable } from './decodable.js';
import { isMerged } from './decoder-parts.js';
import type { PagedCache } from './paged-cache.js';
import { attentionScale } from './rope.js';

/** What weights are read as while decoding: bfloat16 halves what a step reads of memory. */
export type DecoderType = 'float32' | 'bfloat16';

/** Tokens to compute; a column each. */
export interface DecoderStep {
  readonly tokens: Int32Array;
  /** How many tokens the column's sequence has up to this one, it included. */
  readonly lengths: Int32Array;
  /** Which row of `pages` the column's sequence is. */
  readonly sequences: Int32Array;
  /** Where each sequence's entries lie in the cache, page after page: [sequences, pagesEach]. */
  readonly pages: Int32Array;
  readonly pagesEach: number;
  /** Columns whose logits are wanted. */
  readonly wanted: Int32Array;
}

/**
 * Decodes with the weights of a model as they are now: a whole step, all layers and the head, in one call. The same function
 * as `CausalModel.step`, which is its reference. In float32 a sequence's logits do not depend on what else is in the
 * batch, nor on the number of threads, bit for bit.
 *
 * In the type that weights are kept in nothing is copied. Matrices that are read in another, or have adapters beside them
 * (W + scale · B A), are copied when the decoder is made: after an update of the weights it takes a new one.
 */
export class Decoder {
  readonly #model: Decodable;
  readonly #number: number;
  /** What weights are read as, and what its caches hold. */
  readonly dtype: DecoderType;

  /** @param dtype default as the model computes */
  constructor(model: Decodable, dtype: DecoderType = decoderType(model)) {
    this.#model = model;
    this.dtype = dtype;
    this.#number = scope(() =>
      noGrad(() => {
        const names: string[] = [];
        const tensors: Tensor[] = [];
        for (const [name, given] of Object.entries(model.decoderParts())) {
          if (given === null) continue;
          const [called, part] = scope(() => {
            const tensor = isMerged(given) ? given.merged() : given;
            // An embedding is rounded when it is read.
            return name === 'embedding' ? [name, tensor.contiguous()] : readyPart(name, tensor, dtype);
          });
          names.push(called);
          tensors.push(part);
        }
        const settings = decoderSettings(model.config);
        // Here, while matrices that were made for it (rounded, or with adapters merged in) are there: it keeps hold of them.
        return create(tensors, names, Object.keys(settings), Object.values(settings), dtype) as number;
      }),
    );
  }

  /**
   * Computes some tokens: the next one of each of many sequences, or several neighbours of one, or both. Their entries go into
   * the cache, and each token sees its own sequence's entries up to itself.
   * @returns logits float32 [wanted, vocabulary]
   * @throws Error when a token, a length or a page is beyond the model or the cache
   */
  step({ tokens, lengths, sequences, pages, pagesEach, wanted }: DecoderStep, cache: PagedCache): Tensor {
    const [cosine, sine] = this.#model.rotary;
    return scope(() =>
      step(
        this.#number,
        tensor(tokens),
        tensor(lengths),
        tensor(sequences),
        tensor(pages, { shape: [pages.length / pagesEach, pagesEach] }),
        tensor(wanted),
        cosine,
        sine,
        cache.layers,
      ),
    ) as Tensor;
  }

  dispose(): void {
    free(this.#number);
  }
}

/** What stays in float32: what is added to or multiplied with float32 numbers, and the router, whose scores a rounding could reorder. */
const EXACT = /(norm|bias|router)$/;
/** Matrices that are not multiplied with on matrix units. */
const NO_TILES = /(embedding|kv_b)$/;

/**
 * A part as decoder.cpp takes it, given as it is kept. Matrices that are to be read as bfloat16 are brought into the matrix units' order
 * where that costs no memory: where they are copied anyway, because they are kept in float32.
 */
export function readyPart(name: string, tensor: Tensor, dtype: DecoderType): [name: string, tensor: Tensor] {
  if (tensor.dtype === dtype || EXACT.test(name)) return [name, tensor.contiguous()];
  if (dtype === 'bfloat16' && !NO_TILES.test(name)) {
    // Gates and ups are multiplied side by side: each of them in whole tiles.
    const tiles = tilesOf(/(^|\.)gate_up$/.test(name) ? tensor.reshape([2, -1, tensor.size(1)]) : tensor) as Tensor;
    if (tiles.numel > 0) return [`${name}_tiles`, tiles];
  }
  return [name, tensor.to(dtype).contiguous()];
}

const tilesOf = op('dunwu::decoder_tiles');
const create = op('dunwu::decoder_create');
const step = op('dunwu::decoder_step');
const free = op('dunwu::decoder_free');

/** Numbers of a model that decoder.cpp asks for. */
function decoderSettings(config: ModelConfig): Record<string, number> {
  const common = {
    layers: config.num_hidden_layers,
    hidden: config.hidden_size,
    eps: config.rms_norm_eps,
    heads: config.num_attention_heads,
  };
  if (!isDeepseek(config)) {
    return {
      ...common,
      latent: 0,
      scale: config.head_dim ** -0.5,
      rope_interleaved: 0,
      rope_width: config.head_dim,
      groups: config.num_key_value_heads,
      head_width: config.head_dim,
      experts: 0,
    };
  }
  const greedy = config.topk_method === 'greedy';
  return {
    ...common,
    latent: 1,
    scale: attentionScale(config),
    rope_interleaved: config.rope_interleave ? 1 : 0,
    rope_width: config.qk_rope_head_dim,
    nope_width: config.qk_nope_head_dim,
    rank: config.kv_lora_rank,
    value_width: config.v_head_dim,
    experts: config.n_routed_experts,
    top_k: config.num_experts_per_tok,
    expert_groups: greedy ? 1 : config.n_group,
    open_groups: greedy ? 1 : config.topk_group,
    normalise_weights: config.norm_topk_prob ? 1 : 0,
    routed_scale: config.routed_scaling_factor,
    expert_width: config.moe_intermediate_size,
  };
}

/** What a model's weights are read as where nothing else is asked for: as it computes. */
export function decoderType(model: Pick<Decodable, 'dtype'>): DecoderType {
  return model.dtype === 'bfloat16' ? 'bfloat16' : computeType();
}
