import { cat } from './generated/functions.js';
import { scope } from './scope.js';
import type { Tensor } from './tensor.js';

/**
 * The values of several tensors as plain numbers, all in one copy from their device: one wait, where a call of `item()` or
 * `numbers()` for each would be as many. All are on one device; as float64, which holds every float32 and every integer up to 2^53.
 */
export function readNumbers(tensors: readonly Tensor[]): number[][] {
  if (tensors.length === 0) return [];
  const all = scope(() => cat(tensors.map((one) => one.detach().to('float64').reshape([-1]))).numbers());
  let at = 0;
  return tensors.map(({ numel }) => {
    at += numel;
    return all.slice(at - numel, at);
  });
}
