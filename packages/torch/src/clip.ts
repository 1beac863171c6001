import { noGrad } from './autograd.js';
import { foreachMul_, foreachNorm, stack } from './generated/functions.js';
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

function totalNorm(grads: readonly Tensor[]): number {
  // In float32 also for bfloat16 gradients, whose squares would lose all but three digits.
  const dtype = grads.every((grad) => grad.dtype === 'float64') ? 'float64' : 'float32';
  return stack(foreachNorm(grads, 2, dtype))
    .norm()
    .item();
}

/** The L2 norm over all gradients together; 0 when there is none. One wait for the device. */
export function gradNorm(params: Iterable<Tensor>): number {
  return scope(() => {
    const grads = gradients(params);
    return grads.length === 0 ? 0 : totalNorm(grads);
  });
}

/**
 * Scales all gradients by min(1, maxNorm / (norm + 1e-6)), where norm is the L2 norm over all of them together (as
 * torch.nn.utils.clip_grad_norm_ does; Pascanu et al. 2013, arXiv 1211.5063, algorithm 1).
 *
 * When the norm is not finite nothing is scaled: the gradients stay as they are, for the caller to look at and to skip
 * the step. Always check the returned number with `Number.isFinite`.
 *
 * @param maxNorm above 0; Infinity measures only.
 * @returns the norm before clipping; 0 when no parameter has a gradient. One wait for the device.
 */
export function clipGradNorm(params: Iterable<Tensor>, maxNorm: number): number {
  if (!(maxNorm > 0)) throw new RangeError(`clipGradNorm: maxNorm must be above 0, got ${maxNorm}`);
  return noGrad(() =>
    scope(() => {
      const grads = gradients(params);
      if (grads.length === 0) return 0;
      const norm = totalNorm(grads);
      const factor = maxNorm / (norm + 1e-6);
      if (Number.isFinite(norm) && factor < 1) foreachMul_(grads, factor);
      return norm;
    }),
  );
}
