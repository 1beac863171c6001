import { swiglu, type Tensor } from '@dunwu/torch';
import { normal, type Parameter, parameter } from './parameter.js';

/** The dense feed-forward block: down(silu(gate x) · up x). Gate and up are one matrix [2 · inner, hidden] here. */
export class SwigluMlp {
  readonly gateUp: Tensor;
  readonly down: Tensor;
  readonly #inner: number;

  constructor(hidden: number, inner: number, std: number) {
    this.#inner = inner;
    this.gateUp = normal([2 * inner, hidden], std);
    this.down = normal([hidden, inner], std);
  }

  /** [..., hidden] → [..., hidden] */
  forward(x: Tensor): Tensor {
    return swiglu(x.linear(this.gateUp)).linear(this.down);
  }

  parameters(prefix: string): Parameter[] {
    const inner = this.#inner;
    return [
      parameter(`${prefix}.gate_up_proj.weight`, 'matrix', this.gateUp, [
        { name: `${prefix}.gate_proj.weight`, view: (w) => w.narrow(0, 0, inner) },
        { name: `${prefix}.up_proj.weight`, view: (w) => w.narrow(0, inner, inner) },
      ]),
      parameter(`${prefix}.down_proj.weight`, 'matrix', this.down),
    ];
  }
}
