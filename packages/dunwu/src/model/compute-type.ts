/** What networks compute in. Weights, their gradients, the residual stream and all sums are float32 in either. */
export type ComputeType = 'float32' | 'bfloat16';

let current: ComputeType = 'float32';

/** Of this process: {@link setComputeType}. */
export function computeType(): ComputeType {
  return current;
}

/** Set once, at the start, from the recipe's `compute` block. @returns what it was */
export function setComputeType(type: ComputeType): ComputeType {
  const before = current;
  current = type;
  return before;
}
