import { type Tensor, tensor } from '@dunwu/torch';
import { describe, expect, it } from 'vitest';
import { combineMetrics } from './metrics.js';
import { valueLoss } from './value-loss.js';

const doubles = (values: readonly number[], requiresGrad = false): Tensor =>
  tensor(new Float64Array(values), { requiresGrad });

/** Values, old values, returns: unclipped; clipped and counted; clipped on the side where the clip is idle. */
const V = [1, 2, -1];
const OLD = [0.9, 1, 0];
const R = [2, 3, 1];

describe('valueLoss', () => {
  it('by hand, with ε = ½', () => {
    const values = doubles(V, true);
    const { loss, metrics } = valueLoss(
      { values, oldValues: doubles(OLD), returns: doubles(R) },
      { clip: 0.5, tokensInBatch: 3 },
    );
    // Plain (V − R)²: 1, 1, 4. Clipped V: 1, 1.5, −0.5, so 1, 2.25, 2.25. The larger: 1, 2.25, 4.
    expect(loss.item()).toBeCloseTo((0.5 * (1 + 2.25 + 4)) / 3, 12);
    expect(combineMetrics([metrics])).toEqual({
      'loss/value': expect.closeTo(7.25 / 6, 12),
      'value/clip': expect.closeTo(1 / 3, 12),
      'value/mean': expect.closeTo(2 / 3, 12),
    });
    loss.backward();
    // (V − R)/N, and nothing where the clipped term counts: V went far enough towards R.
    const expected = [-1 / 3, 0, -2 / 3];
    values.grad?.numbers().forEach((value, i) => {
      expect(value).toBeCloseTo(expected[i] as number, 12);
    });
  });

  it('its gradient is that of finite differences', () => {
    const at = (numbers: readonly number[], requiresGrad = false) => {
      const values = doubles(numbers, requiresGrad);
      const inputs = { values, oldValues: doubles(OLD), returns: doubles(R) };
      return { values, loss: valueLoss(inputs, { clip: 0.3, tokensInBatch: 3 }).loss };
    };
    const { values, loss } = at(V, true);
    loss.backward();
    V.forEach((_, i) => {
      const moved = (by: number) => at(V.map((value, k) => (k === i ? value + by : value))).loss.item();
      expect(values.grad?.numbers()[i]).toBeCloseTo((moved(1e-6) - moved(-1e-6)) / 2e-6, 7);
    });
  });

  it('without clip: half the mean square', () => {
    const { loss, metrics } = valueLoss(
      { values: doubles(V), oldValues: doubles(OLD), returns: doubles(R) },
      { clip: null, tokensInBatch: 3 },
    );
    expect(loss.item()).toBeCloseTo(1, 12); // ½ (1 + 1 + 4)/3
    expect(metrics['value/clip']).toBeUndefined();
  });

  it('adds up over micro-batches', () => {
    const part = (from: number, to: number) =>
      valueLoss(
        {
          values: doubles(V.slice(from, to)),
          oldValues: doubles(OLD.slice(from, to)),
          returns: doubles(R.slice(from, to)),
        },
        { clip: 0.5, tokensInBatch: 3 },
      ).metrics;
    const together = combineMetrics([part(0, 1), part(1, 3)]);
    for (const [name, value] of Object.entries(combineMetrics([part(0, 3)]))) {
      expect(together[name], name).toBeCloseTo(value, 12);
    }
  });

  it('refuses what does not fit', () => {
    const inputs = { values: doubles([1, 2]), oldValues: doubles([1]), returns: doubles([1, 2]) };
    expect(() => valueLoss(inputs, { clip: 1, tokensInBatch: 2 })).toThrow(/oldValues float64\[1\]/);
    const fits = { ...inputs, oldValues: doubles([1, 2]) };
    expect(() => valueLoss(fits, { clip: 1, tokensInBatch: 1 })).toThrow('tokensInBatch is 1, fewer than the 2');
  });
});
