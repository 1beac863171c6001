import { swiglu, type Tensor } from '@dunwu/torch';
import type { DecoderParts } from './decoder-parts.js';
import { Linear } from './linear.js';
import type { Parameter } from './parameter.js';

/** The dense feed-forward block: down(silu(gate x) · up x). Gate and up are one matrix [2 · inner, hidden] here. */
export class SwigluMlp {
  readonly gateUp: Linear;
  readonly down: Linear;

  constructor(hidden: number, inner: number, std: number, bias = false) {
    const outputs = { gate_proj: inner, up_proj: inner };
    this.gateUp = new Linear({ name: 'gate_up_proj', inputs: hidden, outputs, std, bias });
    this.down = new Linear({ name: 'down_proj', inputs: inner, outputs: hidden, std, bias });
  }

  /** [..., hidden] → [..., hidden] */
  forward(x: Tensor): Tensor {
    return this.down.forward(swiglu(this.gateUp.forward(x)));
  }

  linears(): Linear[] {
    return [this.gateUp, this.down];
  }

  decoderParts(): DecoderParts {
    return { ...this.gateUp.decoderParts('gate_up'), ...this.down.decoderParts('down') };
  }

  parameters(prefix: string): Parameter[] {
    const all = this.linears().flatMap((linear) => linear.parameters(prefix));
    // Matrices first: the order is that of sums over all weights, whose last digits depend on it.
    return ['matrix', 'vector'].flatMap((kind) => all.filter((one) => one.kind === kind));
  }
}
