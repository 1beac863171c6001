/**
 * What networks compute in. Weights, their gradients, the residual stream and the sums of products are float32 in either. Modules of
 * multi-token prediction compute in float32 always.
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

/**
 * Float32 products in training: 'highest' are products of float32; 'high' may be three of bfloat16, an error of about 4e-6 of the
 * result where float32 has 4e-7; 'medium' may be one, an error of about 2e-3, and is libtorch's fast path where there are no such units.
 */
export type ProductPrecision = 'highest' | 'high' | 'medium';

let precision: ProductPrecision = 'highest';

/** Of this process: {@link setProductPrecision}. */
export function productPrecision(): ProductPrecision {
  return precision;
}

/** Set once, at the start, from the recipe's `compute` block. @returns what it was */
export function setProductPrecision(wanted: ProductPrecision): ProductPrecision {
  const before = precision;
  precision = wanted;
  return before;
}
