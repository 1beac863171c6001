import { describe, expect, it } from 'vitest';
import { Random } from '../util/random.js';
import {
  estimatorFacts,
  exactKl,
  exactKlGradient,
  type KlLabRow,
  type KlLabSettings,
  klLab,
  LAB_ESTIMATORS,
  labPolicies,
} from './kl-lab.js';

const SETTINGS: KlLabSettings = {
  distances: [0.01, 0.5],
  staleness: 0.05,
  vocabulary: 12,
  policies: 3,
  samples: 4000,
  seed: 1,
};
const NAMES = Object.keys(LAB_ESTIMATORS);

const row = (rows: readonly KlLabRow[], kl: number, of: KlLabRow['samples_of'], estimator: string): KlLabRow => {
  const found = rows.find((one) => one.kl === kl && one.samples_of === of && one.estimator === estimator);
  if (found === undefined) throw new Error(`no row ${kl} ${of} ${estimator}`);
  return found;
};

describe('policies', () => {
  it('stand at the distances asked for', () => {
    for (const kl of [1e-4, 0.01, 0.3, 1.5]) {
      const { policy, reference, old } = labPolicies(kl, { vocabulary: 16, staleness: 0.02 }, new Random(kl));
      expect(exactKl(policy, reference)).toBeCloseTo(kl, 12);
      expect(exactKl(old, policy)).toBeCloseTo(0.02, 12);
      for (const logs of [policy, reference, old]) {
        expect(logs.reduce((sum, log) => sum + Math.exp(log), 0)).toBeCloseTo(1, 12);
      }
    }
  });

  it('that cannot be are named', async () => {
    expect(() => labPolicies(9, { vocabulary: 4, staleness: 0.1 }, new Random(1))).toThrow(
      'no policy at a KL of 9 nats was found over 4 tokens',
    );
    await expect(klLab({ ...SETTINGS, distances: [9], vocabulary: 4 })).rejects.toThrow(RangeError);
  });
});

describe('exact numbers by hand: p = (½, ¼, ¼), q = (¼, ½, ¼)', () => {
  const logs = (values: readonly number[]): number[] => values.map(Math.log);
  const policies = {
    policy: logs([0.5, 0.25, 0.25]),
    reference: logs([0.25, 0.5, 0.25]),
    old: logs([0.5, 0.25, 0.25]),
  };

  it('KL = ½ ln 2 − ¼ ln 2, and its gradient p (log p/q − KL)', () => {
    expect(exactKl(policies.policy, policies.reference)).toBeCloseTo(Math.LN2 / 4, 14);
    const gradient = exactKlGradient(policies.policy, policies.reference);
    const expected = [0.5 * 0.75, 0.25 * -1.25, 0.25 * -0.25].map((x) => x * Math.LN2);
    for (const [v, value] of gradient.entries()) expect(value).toBeCloseTo(expected[v] as number, 14);
  });

  it('k1: value log p/q of each token, gradient e_v − p; exact: the KL and its gradient, whatever the token', () => {
    const k1 = estimatorFacts(LAB_ESTIMATORS.k1 as never, policies);
    for (const [v, value] of [Math.LN2, -Math.LN2, 0].entries()) expect(k1.values[v]).toBeCloseTo(value, 14);
    const own = [0.5, -0.25, -0.25];
    for (const [v, value] of own.entries()) expect(k1.gradients[0]?.[v]).toBeCloseTo(value, 14);
    const exact = estimatorFacts(LAB_ESTIMATORS.exact as never, policies);
    const right = exactKlGradient(policies.policy, policies.reference);
    for (const token of [0, 1, 2]) {
      expect(exact.values[token]).toBeCloseTo(Math.LN2 / 4, 14);
      for (const [v, value] of right.entries()) expect(exact.gradients[token]?.[v]).toBeCloseTo(value, 14);
    }
  });
});

describe('the comparison', () => {
  it('sampled biases agree with the enumerated ones, as closely as their standard errors say', async () => {
    for (const samples of [400, 40_000]) {
      const rows = await klLab({ ...SETTINGS, samples });
      expect(rows).toHaveLength(2 * 2 * NAMES.length);
      for (const { estimator, value } of rows) {
        const off = Math.abs(value.sampled_bias - value.bias);
        expect(off, estimator).toBeLessThanOrEqual(4 * value.standard_error + 1e-12);
        // The error of a mean of 3 · samples values: the spread over the root of their number.
        expect(value.standard_error).toBeCloseTo(value.standard_deviation / Math.sqrt(3 * samples), 12);
      }
    }
  });

  it('sampled gradients come to the enumerated ones', async () => {
    const [few, many] = await Promise.all([100, 60_000].map((samples) => klLab({ ...SETTINGS, samples })));
    for (const [i, { estimator, samples_of, kl, gradient }] of (many ?? []).entries()) {
      if (estimator === 'exact') continue;
      const left = Math.abs(gradient.sampled_error - gradient.error);
      expect(left, `${estimator} ${samples_of} ${kl}`).toBeLessThan(0.02 + 5 * (gradient.noise / Math.sqrt(60_000)));
      const before = few?.[i]?.gradient.sampled_error as number;
      if (gradient.error < 1e-9) expect(gradient.sampled_error).toBeLessThan(before / 5);
    }
  });

  it('finds what is known: who is unbiased, and whose gradient is that of the KL', async () => {
    const rows = await klLab(SETTINGS);
    for (const kl of SETTINGS.distances) {
      const on = (name: string) => row(rows, kl, 'policy', name);
      const off = (name: string) => row(rows, kl, 'old', name);
      for (const name of ['k1', 'k3', 'k3-unbiased', 'exact']) expect(on(name).value.bias).toBeCloseTo(0, 12);
      for (const name of ['k3-unbiased', 'exact']) expect(off(name).value.bias).toBeCloseTo(0, 12);
      for (const name of ['k1', 'k3']) expect(Math.abs(off(name).value.bias)).toBeGreaterThan(1e-4);
      expect(Math.abs(on('k2').value.bias)).toBeGreaterThan(1e-6);
      expect(on('k1').gradient).toMatchObject({ cosine: null });
      expect(on('k1').gradient.norm).toBeCloseTo(0, 12);
      expect(on('k1').gradient.error).toBeCloseTo(1, 12);
      for (const found of [on('k2'), on('k3-unbiased'), on('exact'), off('k3-unbiased'), off('exact')]) {
        expect(found.gradient.cosine).toBeCloseTo(1, 12);
        expect(found.gradient.error).toBeCloseTo(0, 12);
      }
      expect(on('k3').gradient.error).toBeGreaterThan(0.01); // KL(π_ref ‖ π_θ) pulls elsewhere
      for (const name of ['k1', 'k2', 'k3']) expect(off(name).gradient.error).toBeGreaterThan(0.01);
      expect(on('exact')).toMatchObject({ gradient: { noise: expect.closeTo(0, 10) } });
      // The slip: KL(π_ref ‖ π_θ) − 1 instead of KL(π_θ ‖ π_ref).
      expect(on('notes-slip').value.bias).toBeCloseTo(-1, kl < 0.1 ? 2 : 0);
    }
    expect(row(rows, 0.01, 'policy', 'k1').value.standard_deviation).toBeGreaterThan(
      3 * row(rows, 0.01, 'policy', 'k3').value.standard_deviation,
    );
  });

  it('gives the same numbers again, and others with another seed', async () => {
    const small = { ...SETTINGS, samples: 50 };
    const rows = await klLab(small);
    expect(await klLab(small)).toEqual(rows);
    expect(await klLab({ ...small, seed: 2 })).not.toEqual(rows);
    expect(rows.slice(0, NAMES.length).map(({ estimator }) => estimator)).toEqual(NAMES);
  });
});
