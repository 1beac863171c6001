import type { Tensor } from '@dunwu/torch';

/**
 * What a module gives to the fused decoder: its tensors by the names of native/kernels/decoder.cpp, null where it has none. One
 * that has to be made for it is made when it is asked for, so that never all of them are there in more than one type.
 */
export type DecoderParts = Readonly<Record<string, Tensor | (() => Tensor) | null>>;

/** A module's parts under a prefix. */
export function prefixed(prefix: string, parts: DecoderParts): DecoderParts {
  return Object.fromEntries(Object.entries(parts).map(([name, tensor]) => [`${prefix}${name}`, tensor]));
}
