import { chooseCompute } from '../train/compute.js';
import type { Compute } from './recipe.js';

/** Applies a recipe's `compute` block to this process (threads, the path of float32 products, kept memory). */
export function useCompute(compute: Compute): void {
  chooseCompute(compute);
}
