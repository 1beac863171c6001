import type { Tensor } from '@dunwu/torch';

/** What a module gives to the fused decoder: its tensors by the names of native/kernels/decoder.cpp; null where it has none. */
export type DecoderParts = Readonly<Record<string, Tensor | null>>;

/** A module's parts under a prefix. */
export function prefixed(prefix: string, parts: DecoderParts): DecoderParts {
  return Object.fromEntries(Object.entries(parts).map(([name, tensor]) => [`${prefix}${name}`, tensor]));
}
