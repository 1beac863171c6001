import { noGrad } from './autograd.js';
import { foreachMul_, foreachMulTensor_, foreachNorm, full, stack, zeros } from './generated/functions.js';
import { scope } from './scope.js';
import type { Tensor } from './tensor.js';

/** Parameters without a gradient are skipped. Gradients live on one device. */
function gradients(params: Iterable<Tensor>): Tensor[] {
  const found: Tensor[] = [];
  for (const param of params) {
    const { grad } = param;
    if (grad !== null) found.push(grad);
  }
  return found;
}

/** One element, on the gradients' device. */
function totalNorm(grads: readonly Tensor[]): Tensor {
  if (grads.length === 0) return zeros([]);
  // In float32 also for bfloat16 gradients, whose squares would lose all but three digits.
  const dtype = grads.every((grad) => grad.dtype === 'float64') ? 'float64' : 'float32';
  return stack(foreachNorm(grads, 2, dtype)).norm();
}

/** The L2 norm over all gradients together; 0 when there is none. One wait for the device. */
export function gradNorm(params: Iterable<Tensor>): number {
  return scope(() => totalNorm(gradients(params)).item());
}

/**
 * Scales all gradients by min(1, maxNorm / (norm + 1e-6)), where norm is the L2 norm over all of them together (as
 * torch.nn.utils.clip_grad_norm_ does; Pascanu et al. 2013, arXiv 1211.5063, algorithm 1). Nothing is waited for.
 *
 * When the norm is not finite nothing is scaled: the gradients stay as they are. Always check the norm.
 *
 * @param maxNorm above 0; Infinity measures only.
 * @returns the norm before clipping, one element on the gradients' device; 0 when no parameter has a gradient.
 */
export function clipGradients(params: Iterable<Tensor>, maxNorm: number): Tensor {
  if (!(maxNorm > 0)) throw new RangeError(`clipGradients: maxNorm must be above 0, got ${maxNorm}`);
  return noGrad(() =>
    scope(() => {
      const grads = gradients(params);
      const norm = totalNorm(grads);
      if (norm.device === 'cpu') {
        // To look costs nothing here, and saves going through all gradients where nothing is scaled.
        const length = norm.item();
        const factor = maxNorm / (length + 1e-6);
        if (Number.isFinite(length) && factor < 1) foreachMul_(grads, factor);
        return norm;
      }
      // The same on the device, in float64 so that the factor is rounded once.
      const factor = full([], maxNorm, { dtype: 'float64', device: norm.device })
        .div(norm.to('float64').add(1e-6))
        .clampMax(1)
        .maskedFill(norm.isfinite().logicalNot(), 1);
      foreachMulTensor_(grads, factor.to(norm.dtype));
      return norm;
    }),
  );
}

/** {@link clipGradients}, the norm read: one wait for the device. */
export function clipGradNorm(params: Iterable<Tensor>, maxNorm: number): number {
  return scope(() => clipGradients(params, maxNorm).item());
}
