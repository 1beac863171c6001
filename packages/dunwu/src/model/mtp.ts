import { cat, fusedRmsNorm, type Tensor } from '@dunwu/torch';
import type { Attention } from './attention.js';
import type { Layer, Prediction } from './causal-model.js';
import { isDeepseek, type ModelConfig } from './config.js';
import { filled, normal, type Parameter, parameter } from './parameter.js';

/**
 * A module of multi-token prediction (DeepSeek-V3, arXiv 2412.19437 §2.2). Module k turns the states of depth k − 1 and the
 * tokens k places further on into states that predict the tokens k + 1 places further on:
 *
 *     h'ᵏᵢ = M_k [RMSNorm(hᵏ⁻¹ᵢ) ; RMSNorm(Emb(tᵢ₊ₖ))]      (eq. 21)
 *     hᵏ   = TRM_k(h'ᵏ)                                      (eq. 22)
 *     Pᵏᵢ₊ₖ₊₁ = OutHead(hᵏᵢ)                                 (eq. 23)
 *
 * Embedding and output head are the main model's. What the paper leaves open is done as the programs that run the released
 * weights do it (transformers' MtpModel, vLLM's deepseek_mtp.py, SGLang's deepseek_nextn.py): h⁰ is the main model's state
 * *after* its final norm; the released M_k has the columns of the embedding first, [enorm(Emb) ; hnorm(h)]; the head is
 * behind a norm of the module's own, `shared_head.norm`. From module to module goes what stands behind that norm, as with h⁰
 * (transformers, SGLang, Megatron-LM; early vLLM took what is before it): only one module was ever released.
 */
export class PredictionModule {
  readonly block: Layer;
  readonly #embeddingNorm: Tensor;
  readonly #hiddenNorm: Tensor;
  readonly #projection: Tensor;
  readonly #headNorm: Tensor;
  readonly #eps: number;

  /** @param block the transformer block: a layer as those behind the first dense ones */
  constructor(config: ModelConfig, block: Layer) {
    const { hidden_size: hidden } = config;
    this.block = block;
    this.#eps = config.rms_norm_eps;
    this.#embeddingNorm = filled([hidden], 1);
    this.#hiddenNorm = filled([hidden], 1);
    this.#projection = normal([hidden, 2 * hidden], config.initializer_range);
    this.#headNorm = filled([hidden], 1);
  }

  /**
   * States of this depth.
   * @param previous hᵏ⁻¹ of every token, [tokens, hidden]; `embedded`: Emb of the tokens k places further on, alike
   * @param attend the block's attention over the tokens
   * @returns hᵏ behind the module's norm
   */
  forward(previous: Tensor, embedded: Tensor, attend: (normed: Tensor, attention: Attention) => Tensor): Prediction {
    const joined = cat(
      [fusedRmsNorm(embedded, this.#embeddingNorm, this.#eps), fusedRmsNorm(previous, this.#hiddenNorm, this.#eps)],
      -1,
    );
    const { output, router } = this.block.forward(joined.linear(this.#projection), (normed) =>
      attend(normed, this.block.attention),
    );
    return { hidden: fusedRmsNorm(output, this.#headNorm, this.#eps), routers: router === null ? [] : [router] };
  }

  parameters(prefix: string): Parameter[] {
    return [
      parameter(`${prefix}.enorm.weight`, 'vector', this.#embeddingNorm),
      parameter(`${prefix}.hnorm.weight`, 'vector', this.#hiddenNorm),
      parameter(`${prefix}.eh_proj.weight`, 'matrix', this.#projection),
      ...this.block.parameters(prefix),
      parameter(`${prefix}.shared_head.norm.weight`, 'vector', this.#headNorm),
    ];
  }
}

/**
 * D, how many modules a config asks for: `num_nextn_predict_layers`, DeepSeek's key, else `num_mtp_layers`, that of
 * transformers 5. Of DeepSeek-V3 only.
 */
export function predictionDepth(config: ModelConfig): number {
  if (!isDeepseek(config) || config.model_type !== 'deepseek_v3') return 0;
  return config.num_nextn_predict_layers ?? config.num_mtp_layers ?? 0;
}

/** The name in a checkpoint of module k (from 1): it stands behind the layers, as layer 61 of DeepSeek-V3. */
export function predictionPrefix(config: ModelConfig, k: number): string {
  return `model.layers.${config.num_hidden_layers + k - 1}`;
}

/**
 * The config without the modules when a checkpoint has no tensor of theirs: transformers drops them when it saves, and
 * leaves the key as it was.
 * @param names all tensors of the checkpoint
 */
export function storedPrediction(config: ModelConfig, names: readonly string[]): ModelConfig {
  const depth = predictionDepth(config);
  if (depth === 0 || !isDeepseek(config)) return config;
  const prefixes = Array.from({ length: depth }, (_, k) => `${predictionPrefix(config, k + 1)}.`);
  if (names.some((name) => prefixes.some((prefix) => name.startsWith(prefix)))) return config;
  const { num_mtp_layers: _, ...rest } = config;
  return { ...rest, num_nextn_predict_layers: 0 };
}
