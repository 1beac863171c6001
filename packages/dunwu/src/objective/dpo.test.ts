import { type Tensor, tensor } from '@dunwu/torch';
import { describe, expect, it } from 'vitest';
import { dpoLoss } from './dpo.js';
import { combineMetrics } from './metrics.js';

const doubles = (values: readonly number[], requiresGrad = false): Tensor =>
  tensor(new Float64Array(values), { requiresGrad });
const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

const C = [-10, -4];
const R = [-12, -3];
const REF_C = [-11, -4];
const REF_R = [-11, -5];

const inputs = (chosen: readonly number[], rejected: readonly number[], requiresGrad = false) => ({
  policyChosen: doubles(chosen, requiresGrad),
  policyRejected: doubles(rejected, requiresGrad),
  referenceChosen: doubles(REF_C),
  referenceRejected: doubles(REF_R),
});

describe('dpoLoss', () => {
  it('by hand, β = ½', () => {
    const { loss, metrics } = dpoLoss(inputs(C, R), { beta: 0.5, pairsInBatch: 2 });
    // r_chosen = ½·(1, 0), r_rejected = ½·(−1, 2): Δ = 1, −1
    const expected = -(Math.log(sigmoid(1)) + Math.log(sigmoid(-1))) / 2;
    expect(loss.item()).toBeCloseTo(expected, 12);
    expect(combineMetrics([metrics])).toEqual({
      loss: expect.closeTo(expected, 12),
      accuracy: 0.5,
      margin: 0,
      'rewards/chosen': 0.25,
      'rewards/rejected': 0.25,
      'logprob/chosen': -7,
      'logprob/rejected': -7.5,
    });
  });

  it('eq. 7’s gradient: −β σ(−Δ) for the chosen, + for the rejected; none for the reference', () => {
    const given = inputs(C, R, true);
    const reference = doubles(REF_C, true);
    dpoLoss({ ...given, referenceChosen: reference }, { beta: 0.5, pairsInBatch: 2 }).loss.backward();
    const expected = [-0.25 * sigmoid(-1), -0.25 * sigmoid(1)];
    given.policyChosen.grad?.numbers().forEach((value, i) => {
      expect(value).toBeCloseTo(expected[i] as number, 12);
    });
    given.policyRejected.grad?.numbers().forEach((value, i) => {
      expect(value).toBeCloseTo(-(expected[i] as number), 12);
    });
    expect(reference.grad).toBeNull();
  });

  it('its gradient is that of finite differences, with label smoothing too', () => {
    const options = { beta: 0.3, pairsInBatch: 2, labelSmoothing: 0.2 };
    const given = inputs(C, R, true);
    dpoLoss(given, options).loss.backward();
    C.forEach((_, i) => {
      const at = (by: number) =>
        dpoLoss(
          inputs(
            C.map((value, k) => (k === i ? value + by : value)),
            R,
          ),
          options,
        ).loss.item();
      expect(given.policyChosen.grad?.numbers()[i]).toBeCloseTo((at(1e-6) - at(-1e-6)) / 2e-6, 8);
    });
  });

  it('is ln 2 where the policy is the reference', () => {
    expect(dpoLoss(inputs(REF_C, REF_R), { beta: 0.1, pairsInBatch: 2 }).loss.item()).toBeCloseTo(Math.LN2, 12);
  });

  it('label smoothing: (1 − ε) log σ(Δ) + ε log σ(−Δ)', () => {
    const { loss } = dpoLoss(inputs([-10, -10], [-12, -12]), { beta: 0.5, pairsInBatch: 2, labelSmoothing: 0.1 });
    // Δ = ½((1) − (−1)) = 1 and ½((−6) − (−7)) = ½
    const one = (x: number) => -0.9 * Math.log(sigmoid(x)) - 0.1 * Math.log(sigmoid(-x));
    expect(loss.item()).toBeCloseTo((one(1) + one(0.5)) / 2, 12);
  });

  it('adds up over micro-batches; refuses what does not fit', () => {
    const part = (i: number) =>
      dpoLoss(
        {
          policyChosen: doubles([C[i] as number]),
          policyRejected: doubles([R[i] as number]),
          referenceChosen: doubles([REF_C[i] as number]),
          referenceRejected: doubles([REF_R[i] as number]),
        },
        { beta: 0.5, pairsInBatch: 2 },
      ).loss.item();
    const whole = dpoLoss(inputs(C, R), { beta: 0.5, pairsInBatch: 2 }).loss.item();
    expect(part(0) + part(1)).toBeCloseTo(whole, 12);
    expect(() => dpoLoss({ ...inputs(C, R), policyRejected: doubles([1]) }, { beta: 1, pairsInBatch: 2 })).toThrow(
      /policyRejected float64\[1\]/,
    );
    expect(() => dpoLoss(inputs(C, R), { beta: 1, pairsInBatch: 1 })).toThrow('this micro-batch alone has 2');
  });
});
