import { scope, type Tensor } from '@dunwu/torch';

/**
 * A weight with its adapters, which has to be made for the decoder: when it is asked for, so that never all of them are there in
 * more than one type.
 */
export interface MergedPart {
  readonly weight: Tensor;
  merged(): Tensor;
}

export type DecoderPart = Tensor | MergedPart;

/** What a module gives to the fused decoder: its tensors by the names of native/kernels/decoder.cpp, null where it has none. */
export type DecoderParts = Readonly<Record<string, DecoderPart | null>>;

/** A module's parts under a prefix. */
export function prefixed(prefix: string, parts: DecoderParts): DecoderParts {
  return Object.fromEntries(Object.entries(parts).map(([name, tensor]) => [`${prefix}${name}`, tensor]));
}

export function isMerged(part: DecoderPart): part is MergedPart {
  return 'merged' in part;
}

/** Vectors that are added to or multiplied with float32 numbers, and the router, whose scores a rounding could reorder. */
const EXACT = /(norm|router|router_bias)$/;

/**
 * The parts as `TensorDecoder` reads them: contiguous, in its type. What has that type already is the model's own; a tied head, which
 * is the embedding, is rounded once.
 */
export function decoderTensors(parts: DecoderParts, dtype: 'float32' | 'bfloat16'): ReadonlyMap<string, Tensor> {
  const rounded = new Map<Tensor, Tensor>();
  const tensors = new Map<string, Tensor>();
  for (const [name, given] of Object.entries(parts)) {
    if (given === null) continue;
    const wanted = EXACT.test(name) ? 'float32' : dtype;
    const fitting = (tensor: Tensor): Tensor =>
      tensor.dtype === wanted && tensor.isContiguous ? tensor : tensor.to(wanted).contiguous();
    const made = isMerged(given);
    const part = made ? scope(() => fitting(given.merged())) : (rounded.get(given) ?? fitting(given));
    if (!made) rounded.set(given, part);
    tensors.set(name, part);
  }
  return tensors;
}
