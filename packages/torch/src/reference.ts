import type { DType } from './dtype.js';
import type { HeadOptions } from './fused.js';
import { arange, cat, full, zerosLike } from './generated/functions.js';
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

export function ropePartReference(
  x: Tensor,
  cosine: Tensor,
  sine: Tensor,
  interleaved: boolean,
  first: number,
  count: number,
): Tensor {
  const [, heads, width] = x.shape as [number, number, number];
  const turned = 2 * cosine.size(1);
  const part = x.narrow(1, first, count);
  const rotated = ropeReference(part.narrow(2, width - turned, turned), cosine, sine, interleaved);
  const whole = cat([part.narrow(2, 0, width - turned), rotated], 2);
  return cat([x.narrow(1, 0, first), whole, x.narrow(1, first + count, heads - first - count)], 1);
}

/** Attention with all scores at once: query [rows, heads, width], key and value [rows, groups, ·] → [rows, heads · v]. */
function attentionReference(
  query: Tensor,
  key: Tensor,
  value: Tensor,
  starts: Tensor | null,
  time: number,
  scale: number,
): Tensor {
  const [rows, heads] = query.shape as [number, number];
  const batch = rows / time;
  // A group's key stands for each of its heads.
  const everyHead = (x: Tensor): Tensor =>
    x
      .view([batch, time, x.size(1), 1, x.size(2)])
      .expand([batch, time, x.size(1), heads / x.size(1), x.size(2)])
      .reshape([batch, time, heads, x.size(2)])
      .transpose(1, 2);
  const place = arange(0, time, 1, { dtype: 'int64', device: query.device });
  const all = starts === null || starts.numel === 0;
  const first = (all ? full([rows], 0, { dtype: 'int64', device: query.device }) : starts).reshape([batch, 1, time, 1]);
  const seen = place.unsqueeze(0).le(place.unsqueeze(1)).logicalAnd(place.ge(first));
  return everyHead(query)
    .mul(scale)
    .matmul(everyHead(key).transpose(2, 3))
    .maskedFill(seen.logicalNot(), Number.NEGATIVE_INFINITY)
    .softmax(-1)
    .matmul(everyHead(value))
    .transpose(1, 2)
    .reshape([rows, heads * value.size(2)]);
}

export function latentAttentionReference(
  query: Tensor,
  kv: Tensor,
  key: Tensor,
  starts: Tensor | null,
  time: number,
  scale: number,
): Tensor {
  const [rows, heads] = query.shape as [number, number];
  const nope = query.size(2) - key.size(1);
  const keys = cat([kv.narrow(2, 0, nope), key.unsqueeze(1).expand([rows, heads, key.size(1)])], 2);
  return attentionReference(query, keys, kv.narrow(2, nope, kv.size(2) - nope), starts, time, scale);
}

export function groupedAttentionReference(
  qkv: Tensor,
  heads: number,
  groups: number,
  starts: Tensor | null,
  time: number,
  scale: number,
): Tensor {
  const [query, key, value] = [
    qkv.narrow(1, 0, heads),
    qkv.narrow(1, heads, groups),
    qkv.narrow(1, heads + groups, groups),
  ];
  return attentionReference(query, key, value, starts, time, scale);
}
