import { type Tensor, tensor } from '@dunwu/torch';
import { describe, expect, it } from 'vitest';
import type { RouterOutput } from '../model/moe.js';
import { tinyModel } from '../model/testing/tiny.js';
import { ExpertLoad, loadMetrics, sequenceBalanceLoss, updateBalanceBias } from './balance.js';

/** A router's output with these scores and choices. */
function router(scores: number[][], chosen: number[][], requiresGrad = false): RouterOutput {
  const indices = tensor(chosen, { dtype: 'int64' });
  const made = tensor(scores);
  made.requiresGrad = requiresGrad;
  return { logits: made, scores: made, indices, weights: made };
}

const even = (tokens: number): number[][] => Array.from({ length: tokens }, () => [0.5, 0.5, 0.5, 0.5]);

describe('ExpertLoad', () => {
  it('counts over micro-batches, by layer', () => {
    const load = new ExpertLoad(2, 4, 'cpu');
    load.add([
      router(even(3), [
        [0, 1],
        [0, 2],
        [0, 1],
      ]),
      router(even(1), [[3, 2]]),
    ]);
    load.add([router(even(1), [[0, 3]]), router(even(1), [[3, 1]])]);
    const counts = load.counts.numbers();
    expect(counts).toEqual([4, 2, 1, 1, 0, 1, 1, 2]);
    expect(loadMetrics(counts, 4)).toEqual({
      expert_imbalance: 2, // 4 over a mean of 2, and 2 over a mean of 1
      'expert_load/0': [0.5, 0.25, 0.125, 0.125],
      'expert_load/1': [0, 0.25, 0.25, 0.5],
    });
  });

  it('padding does not count', () => {
    const load = new ExpertLoad(1, 4, 'cpu');
    load.add(
      [
        router(even(3), [
          [0, 1],
          [2, 3],
          [2, 1],
        ]),
      ],
      tensor([true, false, true]),
    );
    expect(load.counts.numbers()).toEqual([1, 2, 1, 0]);
  });

  it('nothing counted yet', () => {
    const { counts } = new ExpertLoad(1, 4, 'cpu');
    expect(loadMetrics(counts.numbers(), 4)).toEqual({ expert_imbalance: 1, 'expert_load/0': [0, 0, 0, 0] });
    expect(loadMetrics(new ExpertLoad(0, 0, 'cpu').counts.numbers(), 0)).toEqual({ expert_imbalance: 1 });
  });
});

describe('updateBalanceBias', () => {
  it('above the mean down by γ, below it up by γ, at the mean not at all', () => {
    const model = tinyModel(1);
    const biases = (): number[][] => model.moeLayers.map(({ router: { bias } }) => bias.numbers());
    const before = biases();
    const load = new ExpertLoad(2, 8, 'cpu');
    const first = router(even(4), [
      [0, 1],
      [0, 2],
      [0, 3],
      [0, 1],
    ]); // 4 2 1 1 0 0 0 0, mean 1
    load.add([first, router(even(1), [[7, 6]])]);
    updateBalanceBias(model, load, 0.01);
    const steps = biases().map((layer, l) =>
      layer.map((value, e) => Number((value - (before[l]?.[e] as number)).toFixed(6))),
    );
    expect(steps).toEqual([
      [-0.01, -0.01, 0, 0, 0.01, 0.01, 0.01, 0.01],
      [0.01, 0.01, 0.01, 0.01, 0.01, 0.01, -0.01, -0.01],
    ]);
    updateBalanceBias(model, load, 0);
    expect(biases()[1]?.[7]).toBeCloseTo((before[1]?.[7] as number) - 0.01, 6);
    model.dispose();
  });
});

describe('sequenceBalanceLoss', () => {
  it('even routing costs 1 a layer', () => {
    // Each of 4 experts is one of the top 2 in half of the tokens: f = 4/(2·2) · 1 = 1; P = ¼.
    const one = router(even(2), [
      [0, 1],
      [2, 3],
    ]);
    expect(sequenceBalanceLoss([one], 1)?.item()).toBeCloseTo(1, 6);
    expect(sequenceBalanceLoss([one, one, one], 1)?.item()).toBeCloseTo(3, 6);
  });

  it('the worst routing costs N/K', () => {
    // All tokens to experts 0 and 1, with all of the score there: f = [2, 2, 0, 0], P = [½, ½, 0, 0].
    const scores = [
      [1, 1, 0, 0],
      [1, 1, 0, 0],
    ];
    expect(
      sequenceBalanceLoss(
        [
          router(scores, [
            [0, 1],
            [1, 0],
          ]),
        ],
        1,
      )?.item(),
    ).toBeCloseTo(2, 6);
  });

  it('by hand: scores are normalised per token, rows are averaged', () => {
    // Row 1: P = mean of [.8,.2,0,0]/1 and [.1,.1,.1,.1]/.4 = [.525, .225, .125, .125]; top-1 choices 0 and 1:
    // f = 4/(1·2) [1, 1, 0, 0]; loss 2 (.525 + .225) = 1.5. Row 2: both tokens to expert 3, P₃ = ¼, f₃ = 4: loss 1.
    const scores = [
      [0.8, 0.2, 0, 0],
      [0.1, 0.1, 0.1, 0.1],
      [0.5, 0.5, 0.5, 0.5],
      [1, 1, 1, 1],
    ];
    expect(sequenceBalanceLoss([router(scores, [[0], [1], [3], [3]])], 2)?.item()).toBeCloseTo(1.25, 5);
    // As one sequence of four tokens it is another number: f = [1, 1, 0, 2], P = [.3875, .2375, .1875, .1875]
    expect(sequenceBalanceLoss([router(scores, [[0], [1], [3], [3]])], 1)?.item()).toBeCloseTo(1, 5);
  });

  it('its gradient lowers the scores of what was chosen often', () => {
    const made = router(
      even(2),
      [
        [0, 1],
        [0, 1],
      ],
      true,
    );
    sequenceBalanceLoss([made], 1)?.backward();
    // ∂/∂s_j = Σ_i f_i (δ_ij − p_i)/Σs /T = (f_j − 1)/2/2 with f = [2, 2, 0, 0]
    const gradient = (made.scores.grad as Tensor).numbers();
    gradient.forEach((value, i) => {
      expect(value).toBeCloseTo(i % 4 < 2 ? 0.25 : -0.25, 6);
    });
  });

  it('a dense model has none', () => {
    expect(sequenceBalanceLoss([], 4)).toBeNull();
  });
});
