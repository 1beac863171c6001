import type { Device } from '@dunwu/torch';
import { chooseCompute } from '../train/compute.js';
import type { Compute } from './recipe.js';

/**
 * Applies a recipe's `compute` block to this process (threads, the path of float32 products, kept memory).
 * @returns where models go
 * @throws UsageError when the device is not there
 */
export function useCompute(compute: Compute): Device {
  return chooseCompute(compute).device;
}
