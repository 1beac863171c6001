import { scope, type Tensor } from '@dunwu/torch';
import type { CausalModel } from './causal-model.js';

/**
 * What a module gives to the fused decoder: its tensors by the names of native/kernels/decoder.cpp, null where it has none. One
 * that has to be made for it is made when it is asked for, so that never all of them are there in more than one type.
 */
export type DecoderParts = Readonly<Record<string, Tensor | (() => Tensor) | null>>;

/** A module's parts under a prefix. */
export function prefixed(prefix: string, parts: DecoderParts): DecoderParts {
  return Object.fromEntries(Object.entries(parts).map(([name, tensor]) => [`${prefix}${name}`, tensor]));
}

/**
 * The tensors of a model, contiguous, in the type that a decoder reads them as. What has that type already is the model's own;
 * a tied head, which is the embedding, is rounded once.
 * @param exact names of those that stay in float32 whatever the type
 */
export function decoderTensors(
  model: CausalModel,
  dtype: 'float32' | 'bfloat16',
  exact: RegExp,
): ReadonlyMap<string, Tensor> {
  const rounded = new Map<Tensor, Tensor>();
  const parts = new Map<string, Tensor>();
  for (const [name, given] of Object.entries(model.decoderParts())) {
    if (given === null) continue;
    const wanted = exact.test(name) ? 'float32' : dtype;
    const fitting = (tensor: Tensor): Tensor =>
      tensor.dtype === wanted && tensor.isContiguous ? tensor : tensor.to(wanted).contiguous();
    const made = typeof given === 'function';
    const part = made ? scope(() => fitting(given())) : (rounded.get(given) ?? fitting(given));
    if (!made) rounded.set(given, part);
    parts.set(name, part);
  }
  return parts;
}
