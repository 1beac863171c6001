import type { DType } from './dtype.js';
import { native } from './native.js';
import { adopt } from './scope.js';
import type { Tensor } from './tensor.js';

/** Runs `body` without recording operations for gradients. */
export function noGrad<T>(body: () => T): T {
  return withGrad(false, body);
}

/** Runs `body` with recording on, also inside `noGrad`. */
export function enableGrad<T>(body: () => T): T {
  return withGrad(true, body);
}

function withGrad<T>(enabled: boolean, body: () => T): T {
  const before = native.setGradEnabled(enabled);
  try {
    const result = body();
    if (result instanceof Promise) {
      throw new Error('noGrad/enableGrad: the function returned a promise; the setting would not follow it');
    }
    return result;
  } finally {
    native.setGradEnabled(before);
  }
}

export interface GradOptions {
  /** Gradients flowing into the outputs, one per output; null for scalars means 1. */
  readonly gradients?: readonly (Tensor | null)[];
  readonly retainGraph?: boolean;
  /** Record the gradient's own computation, for second derivatives. */
  readonly createGraph?: boolean;
  /** Give null for inputs the outputs do not depend on, instead of throwing. */
  readonly allowUnused?: boolean;
}

/** d outputs / d inputs, without touching any `grad`. One tensor (or null, see `allowUnused`) per input. */
export function grad(
  outputs: readonly Tensor[],
  inputs: readonly Tensor[],
  options: GradOptions = {},
): (Tensor | null)[] {
  const {
    gradients = outputs.map(() => null),
    retainGraph = false,
    createGraph = false,
    allowUnused = false,
  } = options;
  return native
    .grad(outputs, inputs, gradients, retainGraph || createGraph, createGraph, allowUnused)
    .map((handle) => (handle === null ? null : adopt(handle)));
}

/** One backward pass from several outputs at once. */
export function backward(
  outputs: readonly Tensor[],
  gradients: readonly (Tensor | null)[] = outputs.map(() => null),
): void {
  native.backward(outputs, gradients, false);
}

/**
 * Runs `body` with matrix products and the like computed in `dtype` (weights stay as they are), as torch.autocast does.
 * @param device type of device, 'cpu' or 'cuda'.
 */
export function autocast<T>(device: string, dtype: DType, body: () => T): T {
  // Off and on again: turning it off drops the weights that libtorch has cached in another dtype.
  const before = native.setAutocast(device, null);
  try {
    native.setAutocast(device, dtype);
    const result = body();
    if (result instanceof Promise) {
      throw new Error('autocast: the function returned a promise; the setting would not follow it');
    }
    return result;
  } finally {
    native.setAutocast(device, null);
    if (before !== null) native.setAutocast(device, before);
  }
}
