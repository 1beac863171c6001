import { swiglu, type Tensor } from '@dunwu/torch';
import type { DecoderParts } from './decoder-parts.js';
import { filled, normal, type Parameter, parameter } from './parameter.js';

/** The dense feed-forward block: down(silu(gate x) · up x). Gate and up are one matrix [2 · inner, hidden] here. */
export class SwigluMlp {
  readonly gateUp: Tensor;
  readonly down: Tensor;
  readonly #inner: number;
  readonly #gateUpBias: Tensor | null;
  readonly #downBias: Tensor | null;

  constructor(hidden: number, inner: number, std: number, bias = false) {
    this.#inner = inner;
    this.gateUp = normal([2 * inner, hidden], std);
    this.down = normal([hidden, inner], std);
    this.#gateUpBias = bias ? filled([2 * inner], 0) : null;
    this.#downBias = bias ? filled([hidden], 0) : null;
  }

  /** [..., hidden] → [..., hidden] */
  forward(x: Tensor): Tensor {
    return swiglu(x.linear(this.gateUp, this.#gateUpBias)).linear(this.down, this.#downBias);
  }

  decoderParts(): DecoderParts {
    return {
      gate_up: this.gateUp,
      gate_up_bias: this.#gateUpBias,
      down: this.down,
      down_bias: this.#downBias,
    };
  }

  parameters(prefix: string): Parameter[] {
    const inner = this.#inner;
    const halves = (kind: 'weight' | 'bias') => [
      { name: `${prefix}.gate_proj.${kind}`, view: (both: Tensor) => both.narrow(0, 0, inner) },
      { name: `${prefix}.up_proj.${kind}`, view: (both: Tensor) => both.narrow(0, inner, inner) },
    ];
    const list = [
      parameter(`${prefix}.gate_up_proj.weight`, 'matrix', this.gateUp, halves('weight')),
      parameter(`${prefix}.down_proj.weight`, 'matrix', this.down),
    ];
    if (this.#gateUpBias !== null) {
      list.push(parameter(`${prefix}.gate_up_proj.bias`, 'vector', this.#gateUpBias, halves('bias')));
    }
    if (this.#downBias !== null) list.push(parameter(`${prefix}.down_proj.bias`, 'vector', this.#downBias));
    return list;
  }
}
