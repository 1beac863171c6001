import { groupedExpertsReference, noGrad, swigluReference, type Tensor, tensor } from '@dunwu/torch';
import { describe, expect, it } from 'vitest';
import { MoeLayer, Router } from './moe.js';
import { difference, type TinyOverrides, tinyConfig } from './testing/tiny.js';

const logit = (p: number): number => Math.log(p / (1 - p));

/** A router that sees its input as the logits: as many inputs as experts, weight = 1. */
function gate(experts: number, overrides: TinyOverrides, bias: readonly number[] = []): Router {
  const router = new Router(tinyConfig({ hidden_size: experts, n_routed_experts: experts, ...overrides }));
  noGrad(() => {
    router.weight.zero_();
    for (let e = 0; e < experts; e++) router.weight.narrow(0, e, 1).narrow(1, e, 1).fill_(1);
    if (bias.length > 0) router.bias.copy_(tensor(bias));
  });
  return router;
}

/** Expert → weight of one token with these sigmoid scores. */
function choose(router: Router, scores: readonly number[]): Record<number, number> {
  const { indices, weights } = noGrad(() => router.forward(tensor([scores.map(logit)])));
  const values = weights.numbers();
  return Object.fromEntries(indices.numbers().map((expert, i) => [expert, Number((values[i] as number).toFixed(5))]));
}

const flat = { n_group: 1, topk_group: 1, routed_scaling_factor: 2.5, num_experts_per_tok: 2 };

describe('Router', () => {
  it('takes the best by score; weights are normalised and scaled', () => {
    // 2.5 · .8/1.4 and 2.5 · .6/1.4
    expect(choose(gate(4, flat), [0.8, 0.6, 0.5, 0.3])).toEqual({ 0: 1.42857, 1: 1.07143 });
  });

  it('the bias changes the choice but not the weights', () => {
    // biased .8 .6 .5 .7: experts 0 and 3 are chosen, weighted by .8 and .3
    expect(choose(gate(4, flat, [0, 0, 0, 0.4]), [0.8, 0.6, 0.5, 0.3])).toEqual({ 0: 1.81818, 3: 0.68182 });
  });

  it('without norm_topk_prob the weights are the scores, scaled', () => {
    expect(choose(gate(4, { ...flat, norm_topk_prob: false }), [0.8, 0.6, 0.5, 0.3])).toEqual({ 0: 2, 1: 1.5 });
  });

  it('groups are scored by the sum of their two best, and only the best groups are open', () => {
    // Sums 1.0, 1.1, 1.05: group B wins, though the best experts, 0 and 4, are in A and C.
    const scores = [0.9, 0.1, 0.6, 0.5, 0.7, 0.35];
    const groups = { ...flat, routed_scaling_factor: 1, n_group: 3 };
    expect(Object.keys(choose(gate(6, groups), scores))).toEqual(['2', '3']);
    expect(Object.keys(choose(gate(6, { ...groups, topk_group: 2 }), scores))).toEqual(['2', '4']);
    expect(Object.keys(choose(gate(6, { ...groups, topk_group: 3 }), scores))).toEqual(['0', '4']);
  });

  it('the group scores are biased too', () => {
    const groups = { ...flat, routed_scaling_factor: 1, n_group: 3 };
    expect(choose(gate(6, groups, [0.2, 0, 0, 0, 0, 0]), [0.9, 0.1, 0.6, 0.5, 0.7, 0.35])).toEqual({ 0: 0.9, 1: 0.1 });
  });

  it('of groups of four, two count', () => {
    // .5 + .5 = 1.0 against .6 + .45 = 1.05, though all four sum to 2 and 1.07.
    const scores = [0.5, 0.5, 0.5, 0.5, 0.6, 0.45, 0.01, 0.01];
    expect(Object.keys(choose(gate(8, { ...flat, n_group: 2 }), scores))).toEqual(['4', '5']);
  });

  it('a closed group stays closed when every open score is negative', () => {
    const bias = new Array(6).fill(-5);
    expect(Object.keys(choose(gate(6, { ...flat, n_group: 3 }, bias), [0.9, 0.1, 0.6, 0.5, 0.7, 0.35]))).toEqual([
      '2',
      '3',
    ]);
  });

  it('the scores carry gradient to the gate, the choice and the bias none', () => {
    const router = gate(4, flat, [0, 0, 0, 0.4]);
    const { weights } = router.forward(tensor([[0.8, 0.6, 0.5, 0.3].map(logit)]));
    weights.select(1, 0).sum().backward();
    // w₀ = 2.5 s₀/(s₀ + s₃): ∂/∂z₀ = 2.5 s₃/(s₀ + s₃)² · s₀(1 − s₀), and the input of row 0 is x₀ = logit .8
    const expected = ((2.5 * 0.3) / 1.1 ** 2) * 0.8 * 0.2 * logit(0.8);
    const gradient = (router.weight.grad as Tensor).numbers();
    expect(gradient[0]).toBeCloseTo(expected, 5);
    expect(gradient.slice(4, 12).map(Math.abs)).toEqual(new Array(8).fill(0)); // experts 1 and 2 were not chosen
    expect(router.bias.grad).toBeNull();
    expect(router.bias.requiresGrad).toBe(false);
  });
});

describe('MoeLayer', () => {
  it('is the weighted sum of the chosen experts plus the shared ones', () => {
    const layer = new MoeLayer(tinyConfig({ n_shared_experts: 2 }));
    const x = tensor(
      Float32Array.from({ length: 5 * 16 }, (_, i) => Math.sin(3 * i)),
      { shape: [5, 16] },
    );
    noGrad(() => {
      const { output, router } = layer.forward(x);
      const routed = groupedExpertsReference(x, router.indices, router.weights, layer.gateUp, layer.down);
      const { shared } = layer;
      if (shared === null) throw new Error('no shared expert');
      // Two shared experts are one block of twice the width.
      expect(shared.gateUp.weight.shape).toEqual([48, 16]);
      const both = swigluReference(x.matmul(shared.gateUp.weight.t())).matmul(shared.down.weight.t());
      expect(difference(output, routed.add(both))).toBeLessThan(1e-5);
    });
  });

  it('names its tensors as checkpoints do', () => {
    const layer = new MoeLayer(tinyConfig({ n_routed_experts: 2, n_group: 1, num_experts_per_tok: 1 }));
    expect(layer.parameters('m').flatMap(({ disk }) => disk.map(({ name }) => name))).toEqual([
      'm.gate.weight',
      'm.gate.e_score_correction_bias',
      'm.experts.0.gate_proj.weight',
      'm.experts.0.up_proj.weight',
      'm.experts.1.gate_proj.weight',
      'm.experts.1.up_proj.weight',
      'm.experts.0.down_proj.weight',
      'm.experts.1.down_proj.weight',
      'm.shared_experts.gate_proj.weight',
      'm.shared_experts.up_proj.weight',
      'm.shared_experts.down_proj.weight',
    ]);
  });
});
