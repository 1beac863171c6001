import type { CausalModel } from './causal-model.js';

/** What decoders and rollouts ask of a model: a {@link CausalModel}, or one that can do nothing else (`DecodingModel`). */
export type Decodable = Pick<
  CausalModel,
  'config' | 'generation' | 'device' | 'dtype' | 'rotary' | 'reserve' | 'decoderParts' | 'dispose'
>;
