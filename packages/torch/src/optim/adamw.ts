import { noGrad } from '../autograd.js';
import { isFloating } from '../dtype.js';
import { foreachAdd_, fusedAdamw_, zeros, zerosLike } from '../generated/functions.js';
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

export interface AdamWOptions {
  /** Decay rates of the two moments. Default [0.9, 0.999]; language models often take [0.9, 0.95]. */
  readonly betas?: readonly [number, number];
  /** Default 1e-8. */
  readonly eps?: number;
  /** For groups that do not say their own. Default 0.01. */
  readonly weightDecay?: number;
  /** libtorch's fused operator (default), or the same arithmetic in plain operators, for devices that lack it. */
  readonly fused?: boolean;
}

interface Hyper {
  readonly lr: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly eps: number;
  readonly weightDecay: number;
}

interface Lists {
  readonly params: Tensor[];
  readonly grads: Tensor[];
  readonly averages: Tensor[];
  readonly squares: Tensor[];
  /** How many steps each parameter has made, this one included; one number each. */
  readonly steps: Tensor[];
}

/**
 * AdamW, decoupled weight decay (Loshchilov and Hutter 2019, arXiv 1711.05101, algorithm 2). For step t of a parameter θ
 * with gradient g, learning rate η and decay λ:
 *
 *     θ ← θ − η λ θ
 *     m ← β₁ m + (1 − β₁) g,   v ← β₂ v + (1 − β₂) g²
 *     θ ← θ − η · m/(1 − β₁ᵗ) / (√(v/(1 − β₂ᵗ)) + ε)
 *
 * A parameter whose gradient is null is left alone, its moments and its step count too.
 */
export class AdamW implements Disposable {
  readonly #groups: readonly Group[];
  readonly #betas: readonly [number, number];
  readonly #eps: number;
  readonly #update: (lists: Lists, hyper: Hyper) => void;
  readonly #moments = new Moments('AdamW', ['exp_avg', 'exp_avg_sq', 'step'], (param) => ({
    exp_avg: zerosLike(param),
    exp_avg_sq: zerosLike(param),
    step: zeros([], { dtype: 'float32', device: param.device }),
  }));

  constructor(groups: readonly ParameterGroup[], options: AdamWOptions = {}) {
    const { betas = [0.9, 0.999], eps = 1e-8, weightDecay = 0.01, fused = true } = options;
    for (const beta of betas) requireRange('AdamW', 'each of betas', beta, 0, 1);
    requireRange('AdamW', 'eps', eps, 0, Number.POSITIVE_INFINITY);
    this.#groups = resolveGroups('AdamW', groups, weightDecay);
    for (const { params } of this.#groups) {
      for (const [name, param] of params) {
        if (!isFloating(param.dtype))
          throw new Error(`AdamW: parameter '${name}' is ${param}; expected a floating dtype`);
      }
    }
    this.#betas = betas;
    this.#eps = eps;
    this.#update = fused ? updateFused : updatePlain;
  }

  /** One update of every parameter that has a gradient. */
  step(lr: number): void {
    requireRange('AdamW', 'lr', lr, 0, Number.POSITIVE_INFINITY);
    const [beta1, beta2] = this.#betas;
    noGrad(() =>
      scope(() => {
        for (const group of this.#groups) {
          const lists: Lists = { params: [], grads: [], averages: [], squares: [], steps: [] };
          for (const { name, param, grad } of withGradient(group)) {
            const moments = this.#moments.of(name, param);
            lists.params.push(param);
            lists.grads.push(grad);
            lists.averages.push(moments.exp_avg);
            lists.squares.push(moments.exp_avg_sq);
            lists.steps.push(moments.step);
          }
          if (lists.params.length === 0) continue;
          foreachAdd_(lists.steps, 1);
          this.#update(lists, { lr: lr * group.lrScale, beta1, beta2, eps: this.#eps, weightDecay: group.weightDecay });
        }
      }),
    );
  }

  /** Forgets every parameter's gradient. */
  zeroGrad(): void {
    zeroGrad(this.#groups);
  }

  /**
   * `NAME.exp_avg`, `NAME.exp_avg_sq` and `NAME.step` of every parameter that has had a gradient: the tensors
   * themselves, to be written (`writeSafetensors`) or cloned before the next step. Loading them continues bit for bit.
   */
  state(): Record<string, Tensor> {
    return this.#moments.state();
  }

  /** Takes over a state, copied. @throws Error for a missing, unknown or differently shaped tensor; nothing is changed. */
  load(state: NamedTensors): void {
    noGrad(() => this.#moments.load(state, this.#groups));
  }

  /** Frees the moments, not the parameters. */
  dispose(): void {
    this.#moments.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

function updateFused({ params, grads, averages, squares, steps }: Lists, hyper: Hyper): void {
  fusedAdamw_(params, grads, averages, squares, [], steps, { ...hyper, amsgrad: false, maximize: false });
}

/** The formula above, operator by operator. */
function updatePlain({ params, grads, averages, squares, steps }: Lists, hyper: Hyper): void {
  const { lr, beta1, beta2, eps, weightDecay } = hyper;
  for (const [i, param] of params.entries()) {
    const [grad, average, square, step] = [grads[i], averages[i], squares[i], steps[i]];
    if (grad === undefined || average === undefined || square === undefined || step === undefined) continue;
    const t = step.item();
    if (weightDecay !== 0) param.mul_(1 - lr * weightDecay);
    average.lerp_(grad, 1 - beta1);
    square.mul_(beta2).addcmul_(grad, grad, { value: 1 - beta2 });
    const denominator = square
      .sqrt()
      .div_(Math.sqrt(1 - beta2 ** t))
      .add_(eps);
    param.addcdiv_(average, denominator, { value: -lr / (1 - beta1 ** t) });
  }
}
