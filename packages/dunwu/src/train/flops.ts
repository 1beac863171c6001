import type { CausalModel } from '../model/causal-model.js';
import { isDeepseek, type ModelConfig } from '../model/config.js';
import { predictionDepth } from '../model/mtp.js';
import { layerProducts, predictionProducts } from '../model/size.js';

/**
 * Floating-point operations by formula (2 per multiply-add), as papers count them: matrix products and attention, the
 * causal half of attention only, no norms or softmaxes.
 */
export interface FlopCount {
  /** Parameters that take part in a token's matrix products (active ones; the embedding look-up is none). */
  readonly activeParameters: number;
  /** Forward operations of one token at `context` tokens of attention. */
  forward(context: number): number;
  /** Forward and backward: three times forward (Kaplan et al. 2020, arXiv 2001.08361, §2.1). */
  training(context: number): number;
}

/** Width of a query and a value, all heads of a layer together. */
function attentionWidths(config: ModelConfig): number {
  const heads = config.num_attention_heads;
  if (!isDeepseek(config)) return heads * 2 * config.head_dim;
  return heads * (config.qk_nope_head_dim + config.qk_rope_head_dim + config.v_head_dim);
}

/** @param outputs numbers that the head gives for a token: the vocabulary, or 1 of a reward model or value function */
export function countFlops(config: ModelConfig, outputs = config.vocab_size): FlopCount {
  const activeParameters = layerProducts(config) + config.hidden_size * outputs;
  const attention = config.num_hidden_layers * attentionWidths(config);
  const forward = (context: number): number => 2 * activeParameters + 2 * attention * context;
  return { activeParameters, forward, training: (context) => 3 * forward(context) };
}

/**
 * Those of a model with what it has: adapters (LoRA) are more matrices that every token meets, and the frozen ones under
 * them cost no gradient of their own, a third of training.
 */
export function modelFlops(model: CausalModel): FlopCount {
  const base = countFlops(model.config);
  if (model.lora === null) return base;
  const adapters = model.trained().reduce((sum, { tensor }) => sum + tensor.numel, 0);
  return {
    activeParameters: base.activeParameters + adapters,
    forward: (context) => base.forward(context) + 2 * adapters,
    training: (context) => base.training(context) - 2 * base.activeParameters + 6 * adapters,
  };
}

/** What the modules of multi-token prediction add to it: their blocks, projections, and the head once for each. */
export function countPredictionFlops(config: ModelConfig): FlopCount {
  const depth = predictionDepth(config);
  const activeParameters = predictionProducts(config) + depth * config.hidden_size * config.vocab_size;
  const attention = depth * attentionWidths(config);
  const forward = (context: number): number => 2 * activeParameters + 2 * attention * context;
  return { activeParameters, forward, training: (context) => 3 * forward(context) };
}
