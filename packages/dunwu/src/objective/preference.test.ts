import { type Tensor, tensor } from '@dunwu/torch';
import { describe, expect, it } from 'vitest';
import { combineMetrics } from './metrics.js';
import { preferenceLoss, safetyLoss } from './preference.js';

const doubles = (values: readonly number[], requiresGrad = false): Tensor =>
  tensor(new Float64Array(values), { requiresGrad });
const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

describe('preferenceLoss', () => {
  it('is −log σ of the difference, by hand', () => {
    const { loss, metrics } = preferenceLoss(doubles([2, 0, -1]), doubles([0, 0, 2]), { pairsInBatch: 3 });
    // σ(2) = 0.8807971, σ(0) = ½, σ(−3) = 0.0474259
    expect(loss.item()).toBeCloseTo((0.126928 + Math.LN2 + 3.0485874) / 3, 6);
    const { accuracy, margin, ...scores } = combineMetrics([metrics]);
    expect(accuracy).toBeCloseTo((1 + 0.5 + 0) / 3, 12);
    expect(margin).toBeCloseTo((2 + 0 - 3) / 3, 12);
    expect(scores).toMatchObject({
      'score/chosen': expect.closeTo(1 / 3, 12),
      'score/rejected': expect.closeTo(2 / 3, 12),
    });
  });

  it('its gradient is −σ(−difference) for the chosen and the opposite for the rejected', () => {
    const [chosen, rejected] = [doubles([2, -1], true), doubles([0, 2], true)];
    preferenceLoss(chosen, rejected, { pairsInBatch: 2 }).loss.backward();
    const expected = [-sigmoid(-2) / 2, -sigmoid(3) / 2];
    chosen.grad?.numbers().forEach((value, i) => {
      expect(value).toBeCloseTo(expected[i] as number, 12);
    });
    rejected.grad?.numbers().forEach((value, i) => {
      expect(value).toBeCloseTo(-(expected[i] as number), 12);
    });
  });

  it('label smoothing: (1 − ε) and ε of the two losses; its least is at log((1 − ε)/ε)', () => {
    const at = (x: number): number =>
      preferenceLoss(doubles([x]), doubles([0]), { pairsInBatch: 1, labelSmoothing: 0.1 }).loss.item();
    expect(at(1)).toBeCloseTo(-0.9 * Math.log(sigmoid(1)) - 0.1 * Math.log(sigmoid(-1)), 12);
    const best = Math.log(9);
    expect(at(best)).toBeLessThan(at(best - 0.01));
    expect(at(best)).toBeLessThan(at(best + 0.01));
  });

  it('shifting all scores changes nothing; far scores stay finite', () => {
    const loss = (shift: number): number =>
      preferenceLoss(doubles([1 + shift, 2 + shift]), doubles([0 + shift, 3 + shift]), { pairsInBatch: 2 }).loss.item();
    expect(loss(100)).toBeCloseTo(loss(0), 12);
    expect(preferenceLoss(doubles([-800]), doubles([800]), { pairsInBatch: 1 }).loss.item()).toBe(1600);
    expect(preferenceLoss(doubles([800]), doubles([-800]), { pairsInBatch: 1 }).loss.item()).toBe(0);
  });

  it('adds up over micro-batches', () => {
    const [a, b] = [
      [3, 1, -2],
      [1, 2, 0],
    ] as const;
    const whole = preferenceLoss(doubles(a), doubles(b), { pairsInBatch: 3 });
    const parts = [
      [0, 2],
      [2, 3],
    ].map(([from, to]) => preferenceLoss(doubles(a.slice(from, to)), doubles(b.slice(from, to)), { pairsInBatch: 3 }));
    expect(parts.reduce((sum, { loss }) => sum + loss.item(), 0)).toBeCloseTo(whole.loss.item(), 12);
    const together = combineMetrics(parts.map(({ metrics }) => metrics));
    for (const [name, value] of Object.entries(combineMetrics([whole.metrics]))) {
      expect(together[name], name).toBeCloseTo(value, 12);
    }
  });

  it('refuses shapes that differ and counts that cannot be', () => {
    expect(() => preferenceLoss(doubles([1, 2]), doubles([1]), { pairsInBatch: 2 })).toThrow(
      /float64\[2\], .*float64\[1\]/,
    );
    expect(() => preferenceLoss(doubles([1, 2]), doubles([1, 2]), { pairsInBatch: 1 })).toThrow(
      'this micro-batch alone has 2',
    );
    expect(() => preferenceLoss(doubles([]), doubles([]), { pairsInBatch: 1 })).toThrow('at least one entry');
  });
});

describe('safetyLoss', () => {
  it('is binary cross-entropy, by hand; its gradient is σ(score) − label', () => {
    const scores = doubles([2, -1, 0.5], true);
    const { loss, metrics } = safetyLoss(scores, tensor([true, true, false]), { rowsInBatch: 3 });
    const expected = -(Math.log(sigmoid(2)) + Math.log(sigmoid(-1)) + Math.log(1 - sigmoid(0.5))) / 3;
    expect(loss.item()).toBeCloseTo(expected, 12);
    expect(combineMetrics([metrics])).toEqual({
      loss: expect.closeTo(expected, 12),
      accuracy: expect.closeTo(1 / 3, 12),
      'score/safe': 0.5,
      'score/unsafe': 0.5,
    });
    loss.backward();
    const gradient = [(sigmoid(2) - 1) / 3, (sigmoid(-1) - 1) / 3, sigmoid(0.5) / 3];
    scores.grad?.numbers().forEach((value, i) => {
      expect(value).toBeCloseTo(gradient[i] as number, 12);
    });
  });

  it('adds up over micro-batches, also when a label is missing in one', () => {
    const whole = safetyLoss(doubles([1, -2, 3]), tensor([1, 0, 0]), { rowsInBatch: 3 });
    const parts = [
      safetyLoss(doubles([1]), tensor([1]), { rowsInBatch: 3 }),
      safetyLoss(doubles([-2, 3]), tensor([0, 0]), { rowsInBatch: 3 }),
    ];
    expect(parts.reduce((sum, { loss }) => sum + loss.item(), 0)).toBeCloseTo(whole.loss.item(), 12);
    const together = combineMetrics(parts.map(({ metrics }) => metrics));
    for (const [name, value] of Object.entries(combineMetrics([whole.metrics]))) {
      expect(together[name], name).toBeCloseTo(value, 12);
    }
    expect(combineMetrics([(parts[0] as (typeof parts)[0]).metrics])['score/unsafe']).toBeNaN();
  });
});
