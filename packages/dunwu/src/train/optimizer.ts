import { AdamW, clipGradients, Muon, type Tensor } from '@dunwu/torch';
import type { Parameter } from '../model/parameter.js';
import { requireFinite } from './gradient.js';
import type { OptimizerConfig } from './optimizer-config.js';

/** The trainable parameters of a model under one optimiser. Weight decay falls on matrices only. */
export class Optimizer {
  readonly #config: OptimizerConfig;
  readonly #adamw: AdamW;
  readonly #muon: Muon | null;
  readonly #weights: Tensor[];

  constructor(parameters: readonly Parameter[], config: OptimizerConfig) {
    this.#config = config;
    const trained = parameters.filter(({ kind }) => kind !== 'buffer');
    this.#weights = trained.map(({ tensor }) => tensor);
    const named = (list: readonly Parameter[]): Record<string, Tensor> =>
      Object.fromEntries(list.map(({ name, tensor }) => [name, tensor]));
    const matrices = trained.filter(({ kind }) => kind === 'matrix');
    const routers = trained.filter(({ kind }) => kind === 'router');
    const others = trained.filter(({ kind }) => kind !== 'matrix' && kind !== 'router');
    const { betas, eps, weight_decay: weightDecay } = config;
    const muon = config.kind === 'muon';
    this.#adamw = new AdamW(
      [
        { params: named(muon ? routers : [...matrices, ...routers]), weightDecay },
        { params: named(others), weightDecay: 0 },
      ],
      { betas, eps },
    );
    this.#muon = muon ? new Muon([{ params: named(matrices), weightDecay }], { momentum: config.momentum }) : null;
  }

  zeroGrad(): void {
    for (const weight of this.#weights) weight.grad = null;
  }

  /**
   * Clips the gradient to `maxNorm` and returns its norm before that, one element: not waited for, so it is for the caller to look
   * at it when the step is read. On the CPU, where there is nothing to wait for, one that is not finite stops here.
   * @param n the training step, for the message
   * @throws Error when the norm is not finite, on the CPU
   */
  clip(maxNorm: number, n: number): Tensor {
    const norm = clipGradients(this.#weights, maxNorm);
    if (norm.device === 'cpu') requireFinite([norm.item()], n);
    return norm;
  }

  /** One update with the peak rates times `factor`. */
  step(factor: number): void {
    if (this.#config.kind === 'muon') {
      this.#muon?.step(this.#config.learning_rate * factor);
      this.#adamw.step(this.#config.adamw_learning_rate * factor);
    } else {
      this.#adamw.step(this.#config.learning_rate * factor);
    }
  }

  /** The moments, by parameter name. */
  state(): Record<string, Tensor> {
    const state: Record<string, Tensor> = {};
    for (const [name, value] of Object.entries(this.#adamw.state())) state[`adamw.${name}`] = value;
    for (const [name, value] of Object.entries(this.#muon?.state() ?? {})) state[`muon.${name}`] = value;
    return state;
  }

  load(state: ReadonlyMap<string, Tensor>): void {
    const part = (prefix: string): Record<string, Tensor> =>
      Object.fromEntries(
        [...state]
          .filter(([name]) => name.startsWith(prefix))
          .map(([name, value]) => [name.slice(prefix.length), value]),
      );
    this.#adamw.load(part('adamw.'));
    this.#muon?.load(part('muon.'));
  }

  dispose(): void {
    this.#adamw.dispose();
    this.#muon?.dispose();
  }
}
