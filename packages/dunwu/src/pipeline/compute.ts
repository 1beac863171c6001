import { keepFreedMemory, setFloat32MatmulPrecision, setThreads } from '@dunwu/torch';
import type { Compute } from './recipe.js';

/** Applies a recipe's `compute` block to this process (threads, matrix-product paths). */
export async function useCompute(compute: Compute): Promise<void> {
  setFloat32MatmulPrecision('medium');
  keepFreedMemory(true);
  if (compute.threads !== 'auto') setThreads(compute.threads);
}
