import type { DType } from './dtype.js';
import type { HeadOptions } from './fused.js';
import { cat, zerosLike } from './generated/functions.js';
import type { Tensor } from './tensor.js';

/** The fused operators again, in plain tensor operators: slow, obvious, and what the fused ones are tested against. */

export function swigluReference(gateUp: Tensor): Tensor {
  const [gate, up] = gateUp.chunk(2, -1) as [Tensor, Tensor];
  return gate.silu().mul(up);
}

export function rmsNormReference(x: Tensor, weight: Tensor, eps: number): Tensor {
  return x.mul(x.square().mean(-1, true).add(eps).rsqrt()).mul(weight);
}

export function shortLinearReference(x: Tensor, weight: Tensor, bias: Tensor | null = null): Tensor {
  return x.linear(weight.to(x.dtype), bias?.to(x.dtype) ?? null);
}

export function addRmsNormReference(
  x: Tensor,
  delta: Tensor | null,
  weight: Tensor,
  eps: number,
  dtype: DType = delta?.dtype ?? x.dtype,
): [sum: Tensor, normed: Tensor] {
  const sum = delta === null ? x : x.add(delta.to(x.dtype));
  return [sum, rmsNormReference(sum, weight, eps).to(dtype)];
}

export function groupedExpertsReference(
  x: Tensor,
  indices: Tensor,
  weights: Tensor,
  gateUp: Tensor,
  down: Tensor,
): Tensor {
  let sum = zerosLike(x);
  for (let expert = 0; expert < gateUp.size(0); expert++) {
    // Weight of this expert for every token, 0 where it was not chosen.
    const share = weights.mul(indices.eq(expert).to(weights.dtype)).sum(-1, true);
    const inner = swigluReference(x.matmul(gateUp.select(0, expert).t()));
    sum = sum.add(inner.matmul(down.select(0, expert).t()).mul(share));
  }
  return sum;
}

export function tokenLogprobsReference(
  hidden: Tensor,
  weight: Tensor,
  targets: Tensor,
  { temperature = 1 }: HeadOptions = {},
): [Tensor, Tensor] {
  const logP = hidden.matmul(weight.t()).div(temperature).logSoftmax(-1);
  const entropy = logP.exp().mul(logP).sum(-1).neg();
  return [logP.gather(1, targets.unsqueeze(1)).squeeze(1), entropy];
}

export function tokenKlReference(
  hidden: Tensor,
  weight: Tensor,
  referenceHidden: Tensor,
  referenceWeight: Tensor,
  { temperature = 1 }: HeadOptions = {},
): Tensor {
  const logP = hidden.matmul(weight.t()).div(temperature).logSoftmax(-1);
  const logQ = referenceHidden.matmul(referenceWeight.t()).div(temperature).logSoftmax(-1);
  return logP.exp().mul(logP.sub(logQ)).sum(-1);
}

export function ropeReference(x: Tensor, cosine: Tensor, sine: Tensor, interleaved: boolean): Tensor {
  const width = x.size(-1);
  const a = interleaved ? x.slice(-1, 0, width, 2) : x.narrow(-1, 0, width / 2);
  const b = interleaved ? x.slice(-1, 1, width, 2) : x.narrow(-1, width / 2, width / 2);
  const [c, s] = [cosine.unsqueeze(1), sine.unsqueeze(1)];
  return cat([a.mul(c).sub(b.mul(s)), b.mul(c).add(a.mul(s))], -1);
}
