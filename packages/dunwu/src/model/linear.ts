import { noGrad, scope, shortLinear, type Tensor, withFloat32MatmulPrecision } from '@dunwu/torch';
import { productPrecision } from './compute-type.js';
import type { DecoderParts } from './decoder-parts.js';
import { copied, filled, normal, type Parameter, parameter } from './parameter.js';

/** Output rows of a matrix that checkpoints know by a name of their own: `q_proj` within `qkv_proj`. */
export interface LinearPart {
  readonly name: string;
  readonly from: number;
  readonly length: number;
}

/** What is added to a part's rows: scale · B A (LoRA: Hu et al. 2021, arXiv 2106.09685, eq. 3). */
export interface LinearAdapter {
  readonly part: LinearPart;
  /** [rank, inputs] */
  readonly a: Tensor;
  /** [rows of the part, rank] */
  readonly b: Tensor;
  readonly scale: number;
}

export interface LinearShape {
  /** In memory: of several parts, that of transformers' fused matrix. */
  readonly name: string;
  readonly inputs: number;
  /** Rows; where they are several matrices on disk, the name and rows of each, in order. */
  readonly outputs: number | Readonly<Record<string, number>>;
  /** Standard deviation of fresh weights. */
  readonly std: number;
  readonly bias?: boolean;
}

/**
 * A projection y = x Wᵀ + b, with adapters on its parts or without. Adapters work beside W, or merged into it; off,
 * everything is as if there were none.
 */
export class Linear {
  readonly name: string;
  readonly weight: Tensor;
  readonly bias: Tensor | null;
  readonly parts: readonly LinearPart[];
  #adapters: readonly LinearAdapter[] = [];
  #on = true;
  /** While merged: W as it was. */
  #unmerged: Tensor | null = null;

  /** Fresh weights from N(0, std²), drawn from the default generator; a bias of zeros. */
  constructor({ name, inputs, outputs, std, bias = false }: LinearShape) {
    this.name = name;
    let from = 0;
    this.parts = Object.entries(typeof outputs === 'number' ? { [name]: outputs } : outputs).map(([part, length]) => {
      from += length;
      return { name: part, from: from - length, length };
    });
    this.weight = normal([from, inputs], std);
    this.bias = bias ? filled([from], 0) : null;
  }

  get adapters(): readonly LinearAdapter[] {
    return this.#adapters;
  }

  get merged(): boolean {
    return this.#unmerged !== null;
  }

  /** Whether adapters do anything. */
  get on(): boolean {
    return this.#on;
  }

  set on(on: boolean) {
    this.#on = on;
  }

  /** Owned from here on: freed with this, or by the next call. None takes them away. @throws Error while merged */
  setAdapters(adapters: readonly LinearAdapter[]): void {
    if (this.merged) throw new Error(`${this.name}: its adapters are merged: unmerge first`);
    this.#disposeAdapters();
    this.#adapters = adapters;
  }

  /** [..., inputs] → [..., rows]: x Wᵀ + b, and for each adapter's rows scale · (x Aᵀ) Bᵀ more. */
  forward(x: Tensor): Tensor {
    // In x's type: weights are kept in float32, and rounded where the network computes in a shorter one.
    const weight = this.#weight;
    const plain = weight.dtype === x.dtype && productPrecision() === 'highest';
    const y = plain ? x.linear(weight, this.bias) : shortLinear(x, weight, this.bias);
    // In place: y is nobody else's yet, and its backward does not look at it.
    for (const { part, a, b, scale } of this.#beside) {
      // A scope of its own: the product is as large as y, and nobody looks at it again.
      scope(() => {
        y.narrow(-1, part.from, part.length).add_(x.linear(a.to(x.dtype)).mul(scale).linear(b.to(x.dtype)));
      });
    }
    return y;
  }

  /**
   * The matrix that `forward` multiplies with, for those who do it otherwise: W, with adapters beside it a new
   * W + scale · B A.
   */
  effectiveWeight(): Tensor {
    if (this.#beside.length === 0) return this.#weight;
    const weight = this.#weight.clone();
    for (const adapter of this.#beside) addProduct(weight, adapter);
    return weight;
  }

  /** What the fused decoder is given: adapters are merged for it. */
  decoderParts(name: string): DecoderParts {
    return {
      [name]: this.#beside.length === 0 ? this.#weight : { weight: this.weight, merged: () => this.effectiveWeight() },
      [`${name}_bias`]: this.bias,
    };
  }

  /** Puts the adapters into W, whose old values are kept beside. Twice is once. */
  merge(): void {
    if (this.#adapters.length === 0 || this.merged) return;
    const before = copied(this.weight);
    this.#mergeInto();
    this.#unmerged = before;
  }

  /** Takes the adapters out again: W is bit for bit what it was. */
  unmerge(): void {
    const before = this.#unmerged;
    if (before === null) return;
    noGrad(() => scope(() => this.weight.copy_(before)));
    before.dispose();
    this.#unmerged = null;
  }

  /** W becomes W + scale · B A for good, and the adapters are gone. */
  absorbAdapters(): void {
    if (this.merged) {
      this.#unmerged?.dispose();
      this.#unmerged = null;
    } else {
      this.#mergeInto();
    }
    this.setAdapters([]);
  }

  /** Weight and bias, as checkpoints have them. @param prefix that of the module they are in */
  parameters(prefix: string): Parameter[] {
    const list = (kind: 'weight' | 'bias', tensor: Tensor | null): Parameter[] =>
      tensor === null
        ? []
        : [
            parameter(
              `${prefix}.${this.name}.${kind}`,
              kind === 'weight' ? 'matrix' : 'vector',
              tensor,
              this.parts.map(({ name, from, length }) => ({
                name: `${prefix}.${name}.${kind}`,
                view: (whole: Tensor) => (this.parts.length === 1 ? whole : whole.narrow(0, from, length)),
              })),
            ),
          ];
    return [...list('weight', this.weight), ...list('bias', this.bias)];
  }

  /** Frees the adapters; weight and bias are freed by who frees `parameters`. */
  disposeAdapters(): void {
    this.#unmerged?.dispose();
    this.#unmerged = null;
    this.#disposeAdapters();
  }

  /** Adapters that work beside W now. */
  get #beside(): readonly LinearAdapter[] {
    return this.#on && !this.merged ? this.#adapters : [];
  }

  get #weight(): Tensor {
    return this.#on ? this.weight : (this.#unmerged ?? this.weight);
  }

  #mergeInto(): void {
    noGrad(() => {
      for (const adapter of this.#adapters) addProduct(this.weight, adapter);
    });
  }

  #disposeAdapters(): void {
    for (const { a, b } of this.#adapters) {
      a.dispose();
      b.dispose();
    }
    this.#adapters = [];
  }
}

/**
 * weight += scale · B A, in the part's rows, at float32's whole precision: what is merged is decoded with and saved. The product is as
 * large as they are: freed before the next.
 */
function addProduct(weight: Tensor, { part, a, b, scale }: LinearAdapter): void {
  withFloat32MatmulPrecision('highest', () =>
    scope(() => {
      weight.narrow(0, part.from, part.length).add_(b.mm(a).mul(scale));
    }),
  );
}

/** The tensors of a projection's adapters, named as PEFT names them. @param prefix that of the module they are in */
export function adapterParameters(prefix: string, { adapters }: Linear): Parameter[] {
  return adapters.flatMap(({ part, a, b }) => [
    parameter(`base_model.model.${prefix}.${part.name}.lora_A.weight`, 'matrix', a),
    parameter(`base_model.model.${prefix}.${part.name}.lora_B.weight`, 'matrix', b),
  ]);
}
