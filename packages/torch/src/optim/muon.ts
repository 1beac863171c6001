import { noGrad } from '../autograd.js';
import { type DType, isFloating } from '../dtype.js';
import { zerosLike } from '../generated/functions.js';
import type { NamedTensors } from '../safetensors.js';
import { scope } from '../scope.js';
import type { Tensor } from '../tensor.js';
import {
  type Group,
  Moments,
  type ParameterGroup,
  requireRange,
  resolveGroups,
  withGradient,
  zeroGrad,
} from './parameters.js';

export interface MuonOptions {
  /** Default 0.95. */
  readonly momentum?: number;
  /** Look ahead along the momentum (default), or use it as it is. */
  readonly nesterov?: boolean;
  /** For groups that do not say their own. Default 0.1. */
  readonly weightDecay?: number;
  /** Newton–Schulz iterations. Default 5. */
  readonly iterations?: number;
  /** What the iterations compute in. Default bfloat16, as published: they need no more. */
  readonly computeDtype?: DType;
}

/** The quintic a x + b x³ + c x⁵ that lifts small singular values fastest (Keller Jordan, below). */
const QUINTIC = { a: 3.4445, b: -4.775, c: 2.0315 } as const;

/**
 * Nearly the orthogonal matrix nearest to G = U S Vᵀ: the Newton–Schulz iteration
 * X ← a X + (b A + c A²) X, A = X Xᵀ, from X = G / ‖G‖_F, gives U S' Vᵀ with all S' near 1, roughly 0.7 to 1.3.
 * Keller Jordan, "Muon: An optimizer for hidden layers in neural networks", https://kellerjordan.github.io/posts/muon/
 *
 * @param gradient [rows, cols], or a batch [experts, rows, cols], each matrix on its own; any floating dtype.
 * @returns the same shape, in `dtype`.
 */
export function newtonSchulz(gradient: Tensor, iterations = 5, dtype: DType = 'bfloat16'): Tensor {
  return scope(() => {
    const { a, b, c } = QUINTIC;
    const tall = gradient.size(-2) > gradient.size(-1); // X Xᵀ is the smaller product when X is wide
    const single = gradient.shape.length === 2;
    let x = gradient.to(dtype);
    if (single) x = x.unsqueeze(0);
    if (tall) x = x.transpose(1, 2);
    x = x.div(x.norm(2, [1, 2], true).clampMin(1e-7));
    for (let i = 0; i < iterations; i++) {
      const gram = x.bmm(x.transpose(1, 2));
      // Product and sum in one operator: in bfloat16 a second rounding would be felt.
      const polynomial = gram.baddbmm(gram, gram, { beta: b, alpha: c });
      x = x.baddbmm(polynomial, x, { beta: a });
    }
    if (tall) x = x.transpose(1, 2);
    return single ? x.squeeze(0) : x;
  });
}

/**
 * Muon: momentum, orthogonalised, for hidden matrices; embeddings, heads, norms and biases belong to AdamW. For a matrix
 * θ with gradient g, learning rate η, decay λ and momentum μ (source: see `newtonSchulz`):
 *
 *     m ← μ m + (1 − μ) g,   u = (1 − μ) g + μ m  (Nesterov; else u = m)
 *     θ ← θ − η λ θ − η √max(1, rows/cols) · NewtonSchulz(u)
 *
 * A parameter of three dimensions is a batch of matrices, such as experts [E, out, in]. A parameter whose gradient is
 * null is left alone, its momentum too.
 */
export class Muon implements Disposable {
  readonly #groups: readonly Group[];
  readonly #options: Required<Omit<MuonOptions, 'weightDecay'>>;
  readonly #moments = new Moments('Muon', ['momentum'], (param) => ({ momentum: zerosLike(param) }));

  /** @throws Error for a parameter that is neither a matrix nor a batch of matrices. */
  constructor(groups: readonly ParameterGroup[], options: MuonOptions = {}) {
    const { momentum = 0.95, nesterov = true, weightDecay = 0.1, iterations = 5, computeDtype = 'bfloat16' } = options;
    requireRange('Muon', 'momentum', momentum, 0, 1);
    requireRange('Muon', 'iterations', iterations, 1, 100);
    this.#groups = resolveGroups('Muon', groups, weightDecay);
    for (const { params } of this.#groups) {
      for (const [name, param] of params) {
        const dimensions = param.shape.length;
        if ((dimensions !== 2 && dimensions !== 3) || !isFloating(param.dtype)) {
          throw new Error(
            `Muon: parameter '${name}' is ${param}; expected a floating [rows, cols] or [experts, rows, cols]: give it to AdamW`,
          );
        }
      }
    }
    this.#options = { momentum, nesterov, iterations, computeDtype };
  }

  /** One update of every parameter that has a gradient. */
  step(lr: number): void {
    requireRange('Muon', 'lr', lr, 0, Number.POSITIVE_INFINITY);
    const { momentum: mu, nesterov, iterations, computeDtype } = this.#options;
    noGrad(() => {
      for (const group of this.#groups) {
        const rate = lr * group.lrScale;
        scope(() => {
          for (const { name, param, grad } of withGradient(group)) {
            scope(() => {
              const { momentum } = this.#moments.of(name, param);
              momentum.lerp_(grad, 1 - mu);
              const direction = nesterov ? grad.mul(1 - mu).add(momentum, { alpha: mu }) : momentum;
              const update = newtonSchulz(direction, iterations, computeDtype);
              const scale = Math.sqrt(Math.max(1, param.size(-2) / param.size(-1)));
              if (group.weightDecay !== 0) param.mul_(1 - rate * group.weightDecay);
              param.add_(update, { alpha: -rate * scale });
            });
          }
        });
      }
    });
  }

  /** Forgets every parameter's gradient. */
  zeroGrad(): void {
    zeroGrad(this.#groups);
  }

  /** `NAME.momentum` of every parameter that has had a gradient: the tensors themselves, see `AdamW.state`. */
  state(): Record<string, Tensor> {
    return this.#moments.state();
  }

  /** Takes over a state, copied. @throws Error for an unknown or differently shaped tensor; nothing is changed. */
  load(state: NamedTensors): void {
    noGrad(() => this.#moments.load(state, this.#groups));
  }

  /** Frees the momentum, not the parameters. */
  dispose(): void {
    this.#moments.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
