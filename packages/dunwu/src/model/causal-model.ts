import {
  addRmsNorm,
  arange,
  type Device,
  type DType,
  full,
  fusedRmsNorm,
  noGrad,
  type Sequences,
  scope,
  type Tensor,
  zeros,
} from '@dunwu/torch';
import type { Attention, AttentionContext, CacheView } from './attention.js';
import { computeType } from './compute-type.js';
import { isDeepseek, type ModelConfig } from './config.js';
import { type DecoderParts, prefixed } from './decoder-parts.js';
import { GroupedQueryAttention } from './grouped-query-attention.js';
import { adapterParameters, type Linear } from './linear.js';
import type { LoraConfig } from './lora-config.js';
import { LatentAttention, latentWidth } from './mla.js';
import { SwigluMlp } from './mlp.js';
import { MoeLayer, type RouterOutput } from './moe.js';
import { PredictionModule, predictionDepth, predictionPrefix } from './mtp.js';
import { filled, normal, type Parameter, parameter, weightsOn } from './parameter.js';
import { RopeTable } from './rope.js';
import { TokenCache } from './token-cache.js';

/** Token ids and how they may see each other. */
export interface ModelInput {
  /** int64 [batch, time] */
  readonly tokens: Tensor;
  /** int64 [batch, time]; default 0..time−1 in every row. */
  readonly positions?: Tensor;
  /**
   * Of rows that hold several sequences: the place in its row (with bundles, in its bundle) where each token's sequence begins,
   * int64 [batch, time].
   */
  readonly starts?: Tensor;
  /** What `starts` say, as whole sequences: flash attention on a GPU wants them; or bundles of sequences with one beginning. */
  readonly sequences?: Sequences;
  /** More than any of `positions`, for rows that hold several sequences: the model's limit is one sequence's. Default time. */
  readonly length?: number;
  /** Added to attention scores, broadcast to [batch, heads, time, time]; default causal, within `starts`. */
  readonly mask?: Tensor;
}

export interface ModelOutput {
  /** After the final norm, [batch · time, hidden]. */
  readonly hidden: Tensor;
  /** One per mixture-of-experts layer, in order. */
  readonly routers: RouterOutput[];
  /** When asked for: embeddings, the output of every layer but the last, and the final norm's, each [batch, time, hidden]. */
  readonly hiddenStates: Tensor[];
}

export interface ForwardOptions {
  readonly hiddenStates?: boolean;
  /** Attention in latent space, of models that have it. */
  readonly absorbed?: boolean;
  /** Receives what decoding needs of these tokens. */
  readonly cache?: TokenCache;
  /** A token whose embedding gets no gradient from being looked up. */
  readonly paddingId?: number;
}

/** A projection, and the module that it is in: `model.layers.0.self_attn`. */
export interface NamedLinear {
  readonly prefix: string;
  readonly linear: Linear;
}

/** The residual stream, and what is yet to be added to it. */
interface Flow {
  readonly stream: Tensor;
  readonly delta: Tensor | null;
}

/** What a block hands on. */
interface BlockFlow extends Flow {
  /** Null where the feed-forward part is dense. */
  readonly router: RouterOutput | null;
}

/** What a module of multi-token prediction says of every token. */
export interface Prediction {
  /** Ready for the head, [batch · time, hidden]. */
  readonly hidden: Tensor;
  /** Of the module's mixture-of-experts layer; none when its block is dense. */
  readonly routers: RouterOutput[];
}

/** One transformer block. */
export class Layer {
  readonly attention: Attention;
  readonly mlp: SwigluMlp | MoeLayer;
  readonly #inputNorm: Tensor;
  readonly #postNorm: Tensor;
  readonly #eps: number;

  constructor(config: ModelConfig, index: number) {
    this.#eps = config.rms_norm_eps;
    this.#inputNorm = filled([config.hidden_size], 1);
    this.#postNorm = filled([config.hidden_size], 1);
    const { hidden_size, intermediate_size, initializer_range } = config;
    if (isDeepseek(config)) {
      this.attention = new LatentAttention(config);
      this.mlp =
        index < config.first_k_dense_replace
          ? new SwigluMlp(hidden_size, intermediate_size, initializer_range)
          : new MoeLayer(config);
    } else {
      this.attention = new GroupedQueryAttention(config);
      this.mlp = new SwigluMlp(hidden_size, intermediate_size, initializer_range, config.mlp_bias);
    }
  }

  forward(x: Tensor, attend: (normed: Tensor) => Tensor): { output: Tensor; router: RouterOutput | null } {
    const { stream, delta, router } = this.flow({ stream: x, delta: null }, attend, x.dtype);
    return { output: delta === null ? stream : stream.add(delta), router };
  }

  /**
   * The same, with the addition at the end left to the norm that follows it. Of what it computes only the result has a handle
   * afterwards: the rest lives as long as the backward pass wants it, and is freed by that as it goes.
   * @param type what is computed in
   */
  flow({ stream, delta }: Flow, attend: (normed: Tensor) => Tensor, type: Tensor['dtype']): BlockFlow {
    return scope(() => {
      const [read, normed] = addRmsNorm(stream, delta, this.#inputNorm, this.#eps, type);
      const [attended, input] = addRmsNorm(read, attend(normed), this.#postNorm, this.#eps, type);
      if (this.mlp instanceof SwigluMlp) return { stream: attended, delta: this.mlp.forward(input), router: null };
      const { output, router } = this.mlp.forward(input);
      return { stream: attended, delta: output, router };
    });
  }

  decoderParts(): DecoderParts {
    return {
      input_norm: this.#inputNorm,
      ...this.attention.decoderParts(),
      post_norm: this.#postNorm,
      ...this.mlp.decoderParts(),
    };
  }

  linears(prefix: string): NamedLinear[] {
    const shared = this.mlp instanceof MoeLayer ? '.shared_experts' : '';
    return [
      ...this.attention.linears().map((linear) => ({ prefix: `${prefix}.self_attn`, linear })),
      ...this.mlp.linears().map((linear) => ({ prefix: `${prefix}.mlp${shared}`, linear })),
    ];
  }

  parameters(prefix: string): Parameter[] {
    return [
      parameter(`${prefix}.input_layernorm.weight`, 'vector', this.#inputNorm),
      ...this.attention.parameters(`${prefix}.self_attn`),
      parameter(`${prefix}.post_attention_layernorm.weight`, 'vector', this.#postNorm),
      ...this.mlp.parameters(`${prefix}.mlp`),
    ];
  }
}

/**
 * A causal language model of any family that config.ts knows: DeepSeek-V3 (arXiv 2412.19437) and V2 with latent attention,
 * dense first layers and a mixture of experts after; Llama, Qwen2, Qwen3 with grouped-query attention, all layers dense.
 */
export class CausalModel {
  readonly config: ModelConfig;
  readonly #embedding: Tensor;
  readonly #layers: Layer[];
  readonly #norm: Tensor;
  readonly #head: Tensor | null;
  readonly #rope: RopeTable;
  /** Modules of multi-token prediction, by depth; most models have none. */
  readonly #prediction: PredictionModule[];
  #parameters: Parameter[] | null = null;
  /** Of the adapters that it has (lora.ts). */
  lora: LoraConfig | null = null;
  /** generation_config.json of the folder that it was read from, unknown keys included; null where there is none. */
  generation: Readonly<Record<string, unknown>> | null = null;

  /**
   * Fresh weights from N(0, initializer_range²), drawn from the default generator: seed it first. A seed gives the same
   * weights on every device.
   */
  constructor(config: ModelConfig, device: Device = 'cpu') {
    using _ = weightsOn(device);
    this.config = config;
    this.#embedding = normal([config.vocab_size, config.hidden_size], config.initializer_range);
    this.#layers = Array.from({ length: config.num_hidden_layers }, (_, i) => new Layer(config, i));
    this.#norm = filled([config.hidden_size], 1);
    this.#head = config.tie_word_embeddings
      ? null
      : normal([config.vocab_size, config.hidden_size], config.initializer_range);
    this.#rope = new RopeTable(config, isDeepseek(config) ? config.qk_rope_head_dim : config.head_dim, device);
    // Last, so that a seed gives the rest the weights that it gives a model without them.
    this.#prediction = Array.from(
      { length: predictionDepth(config) },
      (_, k) => new PredictionModule(config, new Layer(config, config.num_hidden_layers + k)),
    );
  }

  /** Where the weights are: 'cpu', 'cuda:0'. Inputs have to be there too. */
  get device(): Device {
    return this.#embedding.device;
  }

  /** What the weights are kept in. */
  get dtype(): DType {
    return this.#embedding.dtype;
  }

  /** The matrix of the language-model head, [vocab_size, hidden]. */
  get headWeight(): Tensor {
    return this.#head ?? this.#embedding;
  }

  /** Mixture-of-experts layers in order. */
  get moeLayers(): MoeLayer[] {
    return this.#layers.flatMap((layer) => (layer.mlp instanceof MoeLayer ? [layer.mlp] : []));
  }

  /** D: modules of multi-token prediction (arXiv 2412.19437 §2.2). Only `predictions` and `predictionStep` use them. */
  get predictionDepth(): number {
    return this.#prediction.length;
  }

  /** Mixture-of-experts layers of the modules of multi-token prediction, by depth; {@link moeLayers} has the others. */
  get predictionMoeLayers(): MoeLayer[] {
    return this.#prediction.flatMap(({ block }) => (block.mlp instanceof MoeLayer ? [block.mlp] : []));
  }

  /** Routed experts of each of {@link moeLayers}; 0 in a dense model. */
  get expertCount(): number {
    return isDeepseek(this.config) ? this.config.n_routed_experts : 0;
  }

  /** What {@link Decoder} computes with. */
  decoderParts(): DecoderParts {
    return Object.assign(
      { embedding: this.#embedding, head: this.headWeight, norm: this.#norm },
      ...this.#layers.map((layer, i) => prefixed(`layers.${i}.`, layer.decoderParts())),
    ) as DecoderParts;
  }

  /** Rotary cosines and sines of the positions that there is room for ({@link reserve}), [positions, rotated width / 2] each. */
  get rotary(): readonly [cosine: Tensor, sine: Tensor] {
    return this.#rope.tables;
  }

  /** Room for `rows` sequences of up to `capacity` tokens, of what decoding needs of them. */
  cache(rows: number, capacity: number): TokenCache {
    const { config } = this;
    return TokenCache.create(config.num_hidden_layers, rows, capacity, cacheWidth(config));
  }

  /** As `cache`, of what the modules of multi-token prediction need: depth k is layer k − 1. */
  predictionCache(rows: number, capacity: number): TokenCache {
    return TokenCache.create(this.#prediction.length, rows, capacity, cacheWidth(this.config));
  }

  /** Every named tensor, buffers included. */
  parameters(): Parameter[] {
    const modules = this.#prediction.map((_, i) => predictionPrefix(this.config, i + 1));
    const embeddingCopies = modules.map((prefix) => `${prefix}.embed_tokens.weight`);
    const headCopies = modules.map((prefix) => `${prefix}.shared_head.head.weight`);
    this.#parameters ??= [
      {
        ...parameter('model.embed_tokens.weight', 'embedding', this.#embedding),
        copies: this.#head === null ? [...embeddingCopies, ...headCopies] : embeddingCopies,
      },
      ...this.#layers.flatMap((layer, i) => layer.parameters(`model.layers.${i}`)),
      parameter('model.norm.weight', 'vector', this.#norm),
      ...(this.#head === null ? [] : [{ ...parameter('lm_head.weight', 'embedding', this.#head), copies: headCopies }]),
      ...this.#prediction.flatMap((module, i) => module.parameters(modules[i] as string)),
    ];
    return this.#parameters;
  }

  /** The projections of all layers, which adapters can be put on: not experts, routers, embedding or head. */
  linears(): NamedLinear[] {
    return this.#layers.flatMap((layer, i) => layer.linears(`model.layers.${i}`));
  }

  /**
   * What an optimiser moves: the adapters where there are any, every weight otherwise. A checkpoint holds `parameters`
   * in either case.
   */
  trained(): Parameter[] {
    const adapters = this.linears().flatMap(({ prefix, linear }) => adapterParameters(prefix, linear));
    return adapters.length > 0 ? adapters : this.parameters().filter(({ kind }) => kind !== 'buffer');
  }

  #context(
    positions: Tensor,
    mask: Tensor | null,
    input: Pick<ModelInput, 'starts' | 'sequences'> = {},
  ): AttentionContext {
    const [cosine, sine] = this.#rope.at(positions.reshape([-1]));
    return { cosine, sine, mask, starts: input.starts ?? null, sequences: input.sequences ?? null };
  }

  /** The whole batch at once, for training, scoring and prefill. */
  forward(input: ModelInput, options: ForwardOptions = {}): ModelOutput {
    return scope(() => this.#forward(input, options));
  }

  #forward(input: ModelInput, options: ForwardOptions): ModelOutput {
    const [batch, time] = input.tokens.shape as [number, number];
    this.#checkLength(input.length ?? time);
    const device = input.tokens.device;
    const positions = input.positions ?? rowPositions(batch, time, device);
    if (input.starts !== undefined && (input.mask !== undefined || options.absorbed === true)) {
      throw new Error('forward: starts go neither with a mask nor with absorbed; give a mask alone there');
    }
    // In latent space scores are added to a mask; otherwise the fused operators need none.
    const mask = input.mask ?? (options.absorbed === true ? causalMask(time, device) : null);
    const context = this.#context(positions, mask, input);
    const routers: RouterOutput[] = [];
    const hiddenStates: Tensor[] = [];
    const shape = [batch, time, this.config.hidden_size];
    const ids = input.tokens.reshape([-1]);
    const { paddingId } = options;
    const x = paddingId === undefined ? this.#embedding.indexSelect(0, ids) : this.#embedding.embedding(ids, paddingId);
    // A network that is not float32 (float64 in tests) computes in its own type.
    const type = x.dtype === 'float32' ? computeType() : x.dtype;
    let flow: Flow = { stream: x, delta: null };
    this.#layers.forEach((layer, i) => {
      const { stream, delta } = flow;
      if (options.hiddenStates === true) hiddenStates.push((delta === null ? stream : stream.add(delta)).view(shape));
      const { router, ...next } = layer.flow(
        flow,
        (normed) =>
          options.absorbed === true && layer.attention instanceof LatentAttention
            ? layer.attention.absorbed(normed, batch, context)
            : layer.attention.forward(normed, batch, context, options.cache, i),
        type,
      );
      if (router !== null) routers.push(router);
      // The layer has added it, and no backward pass wants it.
      delta?.dispose();
      flow = next;
    });
    const [, hidden] = addRmsNorm(flow.stream, flow.delta, this.#norm, this.config.rms_norm_eps, type);
    if (options.hiddenStates === true) hiddenStates.push(hidden.view(shape));
    return { hidden, routers, hiddenStates };
  }

  /**
   * One decoding step: a token per row, attending to the cache.
   * @param tokens int64 [rows]; `positions` int64 [rows, 1]: where each token stands in its row
   * @param keys how many cache entries to look at: at least the largest position + 1
   * @param mask additive, broadcast to [rows, heads, 1, keys]: −inf beyond each row's length
   * @returns hidden [rows, hidden] after the final norm
   */
  step(tokens: Tensor, positions: Tensor, cache: TokenCache, keys: number, mask: Tensor): Tensor {
    return this.steps(tokens.unsqueeze(1), positions, cache, keys, mask);
  }

  /**
   * A decoding step of T tokens per row, each attending to the cache and to those of the T before it.
   * @param tokens int64 [rows, T], `positions` alike; of T tokens that stand one after another
   * @param keys how many cache entries to look at: at least the largest position + 1
   * @param mask additive, broadcast to [rows, heads, T, keys]: −inf beyond each token's own position
   * @returns hidden [rows · T, hidden] after the final norm
   */
  steps(tokens: Tensor, positions: Tensor, cache: TokenCache, keys: number, mask: Tensor): Tensor {
    const rows = tokens.size(0);
    const context = this.#context(positions, mask);
    const view: CacheView = { store: cache, positions, keys };
    let x = this.#embedding.indexSelect(0, tokens.reshape([-1]));
    this.#layers.forEach((layer, i) => {
      x = layer.forward(x, (normed) => layer.attention.decode(normed, rows, context, view, i)).output;
    });
    return fusedRmsNorm(x, this.#norm, this.config.rms_norm_eps);
  }

  /**
   * What the modules of multi-token prediction say of whole rows (eqs. 21–23), for as many depths as tokens are given:
   * module k at place i has read the tokens up to i + k and predicts that at i + k + 1.
   * @param hidden of `forward` for the same input
   * @param following int64 [batch, time] for each depth: the token k places further on; anything where there is none, for
   *   what such a place says reaches only places that lack theirs too
   * @param cache when given, also remembers what `predictionStep` needs
   */
  predictions(hidden: Tensor, input: ModelInput, following: readonly Tensor[], cache?: TokenCache): Prediction[] {
    const [batch, time] = input.tokens.shape as [number, number];
    const device = input.tokens.device;
    const positions = input.positions ?? rowPositions(batch, time, device);
    const context = this.#context(positions, input.mask ?? null, input);
    let states = hidden;
    return following.map((tokens, i) => {
      const prediction = this.#module(i).forward(
        states,
        this.#embedding.indexSelect(0, tokens.reshape([-1])),
        (normed, attention) => attention.forward(normed, batch, context, cache, i),
      );
      states = prediction.hidden;
      return prediction;
    });
  }

  /**
   * Module 1 for T further tokens per row, on top of its own cache.
   * @param hidden of `forward` or `steps` for these places, [rows · T, hidden]
   * @param following int64 [rows, T]: the token behind each place; `positions`, `keys`, `mask` as of `steps`
   * @param cache of `predictionCache`
   * @returns ready for the head, [rows · T, hidden]
   */
  predictionStep(
    hidden: Tensor,
    following: Tensor,
    positions: Tensor,
    cache: TokenCache,
    keys: number,
    mask: Tensor,
  ): Tensor {
    const module = this.#module(0);
    const context = this.#context(positions, mask);
    const view: CacheView = { store: cache, positions, keys };
    return module.forward(hidden, this.#embedding.indexSelect(0, following.reshape([-1])), (normed, attention) =>
      attention.decode(normed, following.size(0), context, view, 0),
    ).hidden;
  }

  #module(index: number): PredictionModule {
    const module = this.#prediction[index];
    if (module !== undefined) return module;
    throw new Error(
      `multi-token prediction at depth ${index + 1}: this model has ${this.#prediction.length} modules ` +
        '(num_nextn_predict_layers)',
    );
  }

  /** hidden [rows, hidden] → logits [rows, vocab_size] in float32. For few rows; losses use the chunked head. */
  logits(hidden: Tensor): Tensor {
    return hidden.linear(this.headWeight.to(hidden.dtype)).to('float32');
  }

  /** Makes room in the rotary tables; call once before working with sequences of this length. */
  reserve(length: number): void {
    if (length > this.config.max_position_embeddings) {
      throw new Error(
        `sequences of ${length} tokens exceed max_position_embeddings ${this.config.max_position_embeddings} of this model`,
      );
    }
    this.#rope.reserve(length);
  }

  #checkLength(length: number): void {
    if (length > this.#rope.length) this.reserve(length);
  }

  /** Marks what is trained as (not) wanting gradients: all weights, or with adapters only those; buffers never do. */
  setTrainable(trainable: boolean): void {
    const trained = new Set(this.trained().map(({ tensor }) => tensor));
    for (const { kind, tensor } of this.parameters()) {
      if (kind !== 'buffer') tensor.requiresGrad = trainable && trained.has(tensor);
    }
    for (const tensor of trained) tensor.requiresGrad = trainable;
  }

  /** Copies all weights of another model of the same config, without gradients. */
  copyFrom(other: CausalModel): void {
    const theirs = new Map(other.parameters().map((entry) => [entry.name, entry.tensor]));
    scope(() =>
      noGrad(() => {
        for (const { name, tensor } of this.parameters()) {
          const source = theirs.get(name);
          if (source === undefined) throw new Error(`copyFrom: the other model has no ${name}`);
          tensor.copy_(source.detach());
        }
      }),
    );
  }

  /** Frees weights and adapters; positions are still rotated. */
  disposeWeights(): void {
    for (const { linear } of this.linears()) linear.disposeAdapters();
    for (const { tensor } of this.parameters()) tensor.dispose();
  }

  dispose(): void {
    this.disposeWeights();
    this.#rope.dispose();
  }
}

/** Numbers a cache holds per token and layer: a latent and a rotary key, or keys and values of every group. */
export function cacheWidth(config: ModelConfig): number {
  return isDeepseek(config) ? latentWidth(config) : 2 * config.num_key_value_heads * config.head_dim;
}

function rowPositions(batch: number, time: number, device: string): Tensor {
  return zeros([batch, time], { dtype: 'int64', device }).add(arange(0, time, 1, { dtype: 'int64', device }));
}

/** 0 on and below the diagonal, −inf above: [time, time]. */
export function causalMask(time: number, device = 'cpu'): Tensor {
  return full([time, time], Number.NEGATIVE_INFINITY, { dtype: 'float32', device }).triu(1);
}
