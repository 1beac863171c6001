/**
 * What networks compute in. Weights, their gradients, the residual stream and the sums of products are float32 in either; in bfloat16 the
 * logits that losses read are rounded to it too. Modules of multi-token prediction compute in float32 always.
 */
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
