import { eye, grad, manualSeed, randn, type Tensor, tensor, tokenKl, tokenLogprobs } from '@dunwu/torch';
import { describe, expect, it } from 'vitest';
import { K3_LIMIT, KL_ESTIMATOR_NAMES, type KlEstimatorName, klNeeds, klPerToken, klSchema } from './kl.js';

const doubles = (values: readonly number[], requiresGrad = false) => tensor(new Float64Array(values), { requiresGrad });

/** KL per token of plain numbers. */
function perToken(name: KlEstimatorName, logprobs: Tensor, reference: Tensor, exact: Tensor | null = null): Tensor {
  return klPerToken(name, {
    logprobs,
    oldLogprobs: logprobs.detach(),
    referenceLogprobs: reference,
    exactKl: exact,
  });
}

function expectClose(actual: readonly number[] | undefined, expected: readonly number[], digits = 12): void {
  expect(actual).toHaveLength(expected.length);
  for (const [i, value] of expected.entries()) expect(actual?.[i]).toBeCloseTo(value, digits);
}

// A vocabulary of three tokens: the policy p, the reference q. KL(p ‖ q) = ½ ln(½ / ⅕) + 0 + ⅕ ln(⅕ / ½) = 0.3 ln 2.5.
const P = [0.5, 0.3, 0.2];
const Q = [0.2, 0.3, 0.5];
const LN = Math.log(2.5);
const KL = 0.3 * LN; // 0.27488…

/** What each estimator says of each of the three tokens; d = ln(q/p) = −LN, 0, LN and e^d = 0.4, 1, 2.5. */
const BY_HAND: Record<KlEstimatorName, number[]> = {
  k1: [LN, 0, -LN],
  k2: [(LN * LN) / 2, 0, (LN * LN) / 2],
  k3: [0.4 - 1 + LN, 0, 2.5 - 1 - LN],
  'k3-unbiased': [0.4 - 1 + LN, 0, 2.5 - 1 - LN], // on-policy ρ is 1
  exact: [KL, KL, KL],
};

/** Expected gradient of each, as a loss, for samples of p, with respect to the policy's logits. */
const TRUE_KL_GRADIENT = P.map((p, v) => p * (Math.log(p / (Q[v] ?? 0)) - KL)); // ∂KL(p‖q)/∂logit_v
const GRADIENT_BY_HAND: Record<KlEstimatorName, number[]> = {
  k1: [0, 0, 0],
  k2: TRUE_KL_GRADIENT,
  k3: P.map((p, v) => p - (Q[v] ?? 0)), // ∂KL(q‖p)/∂logit_v = p_v − q_v
  'k3-unbiased': TRUE_KL_GRADIENT, // ρ's own gradient brings back what k3 misses
  exact: TRUE_KL_GRADIENT,
};

/** A policy whose logits are ln p, with every token of the vocabulary enumerated: logits need no gradient elsewhere. */
function enumerated(): { logits: Tensor; logprobs: Tensor; reference: Tensor; exact: Tensor } {
  const logits = doubles(P.map(Math.log), true);
  const logprobs = logits.logSoftmax(-1);
  const reference = doubles(Q.map(Math.log));
  const head = eye(3, { dtype: 'float64' });
  const exact = tokenKl(logits.unsqueeze(0), head, reference.unsqueeze(0), head).expand([3]);
  return { logits, logprobs, reference, exact };
}

it('every estimator has its numbers by hand', () => {
  expect(Object.keys(BY_HAND)).toEqual([...KL_ESTIMATOR_NAMES]);
  expect(Object.keys(GRADIENT_BY_HAND)).toEqual([...KL_ESTIMATOR_NAMES]);
});

describe.each([...KL_ESTIMATOR_NAMES])('%s', (name) => {
  it('gives the numbers worked out by hand', () => {
    const { logprobs, reference, exact } = enumerated();
    expectClose(perToken(name, logprobs, reference, exact).numbers(), BY_HAND[name]);
  });

  it('as a loss, pulls as worked out by hand (expectation over all tokens)', () => {
    const { logits, logprobs, reference, exact } = enumerated();
    const expected = perToken(name, logprobs, reference, exact).mul(doubles(P)).sum();
    expectClose(grad([expected], [logits])[0]?.numbers(), GRADIENT_BY_HAND[name]);
  });

  it('is 0 at every token where the policy is the reference', () => {
    const same = doubles([-0.1, -2, -30]);
    expectClose(perToken(name, same, same, doubles([0, 0, 0])).numbers(), [0, 0, 0], 15);
  });
});

describe('expected value under the policy', () => {
  const mean = (name: KlEstimatorName): number => {
    const { logprobs, reference, exact } = enumerated();
    return perToken(name, logprobs, reference, exact).mul(doubles(P)).sum().item();
  };

  it.each(['k1', 'k3', 'k3-unbiased', 'exact'] as const)('%s is unbiased', (name) =>
    expect(mean(name)).toBeCloseTo(KL, 12),
  );

  it('k2 is not: 0.7 · ½ ln² 2.5', () => expect(mean('k2')).toBeCloseTo(0.35 * LN * LN, 12));

  it('holds for a head of the model too: Σ p k1 = Σ p k3 = tokenKl', () => {
    manualSeed(5);
    const [hidden, weight, referenceHidden] = [
      [1, 4],
      [6, 4],
      [1, 4],
    ].map((shape) => randn(shape, { dtype: 'float64' }));
    if (!hidden || !weight || !referenceHidden) throw new Error('unreachable');
    const every = tensor([0, 1, 2, 3, 4, 5], { dtype: 'int64' });
    const [logprobs] = tokenLogprobs(hidden.expand([6, 4]).contiguous(), weight, every);
    const [reference] = tokenLogprobs(referenceHidden.expand([6, 4]).contiguous(), weight, every);
    const exact = tokenKl(hidden, weight, referenceHidden, weight).item();
    expect(exact).toBeGreaterThan(0.01);
    for (const name of ['k1', 'k3'] as const) {
      expect(perToken(name, logprobs, reference).mul(logprobs.exp()).sum().item()).toBeCloseTo(exact, 12);
    }
  });
});

describe('off-policy: samples of another policy, every token enumerated', () => {
  const OLD = [0.1, 0.2, 0.7];

  /** Value and gradient with respect to the policy's logits, in expectation over OLD. */
  const underOld = (name: KlEstimatorName): { value: number; gradient: number[] } => {
    const { logits, logprobs, reference, exact } = enumerated();
    const old = doubles(OLD.map(Math.log));
    const inputs = { logprobs, oldLogprobs: old, referenceLogprobs: reference, exactKl: exact };
    const expected = klPerToken(name, inputs).mul(doubles(OLD)).sum();
    return { value: expected.item(), gradient: grad([expected], [logits])[0]?.numbers() ?? [] };
  };

  it.each(['k3-unbiased', 'exact'] as const)('%s: value and gradient are those of KL(π_θ ‖ π_ref)', (name) => {
    const { value, gradient } = underOld(name);
    expect(value).toBeCloseTo(KL, 12);
    expectClose(gradient, TRUE_KL_GRADIENT);
  });

  it.each(['k1', 'k2', 'k3'] as const)('%s: neither', (name) => {
    const { value, gradient } = underOld(name);
    expect(Math.abs(value - KL)).toBeGreaterThan(0.05);
    expect(Math.max(...gradient.map((g, v) => Math.abs(g - (TRUE_KL_GRADIENT[v] ?? 0))))).toBeGreaterThan(0.05);
  });
});

describe('single tokens', () => {
  const logprobs = [-0.01, -0.5, -3, -9, -21, -25.5];
  const reference = [-4, -0.6, -2.9999, -1, -0.5, -0.25];

  it.each(['k1', 'k2', 'k3', 'k3-unbiased'] as const)('%s: gradient by finite differences', (name) => {
    const kl = (at: Tensor, index: readonly number[]): Tensor =>
      klPerToken(name, {
        logprobs: at,
        oldLogprobs: doubles(index.map((i) => (logprobs[i] ?? 0) - 0.3)),
        referenceLogprobs: doubles(index.map((i) => reference[i] ?? 0)),
        exactKl: null,
      });
    const at = doubles(logprobs, true);
    const gradient = grad([kl(at, [...logprobs.keys()]).sum()], [at])[0]?.numbers() ?? [];
    const step = 1e-6;
    for (const [i, value] of logprobs.entries()) {
      const side = (sign: number) => kl(doubles([value + sign * step]), [i]).item();
      const numeric = (side(1) - side(-1)) / (2 * step);
      expect(Math.abs((gradient[i] ?? 0) - numeric)).toBeLessThan(1e-6 * Math.max(1, Math.abs(numeric)));
    }
  });

  it('no gradient reaches the reference or the old policy', () => {
    const [at, old, ref] = [doubles(logprobs, true), doubles(logprobs, true), doubles(reference, true)];
    const kl = klPerToken('k3', { logprobs: at, oldLogprobs: old, referenceLogprobs: ref, exactKl: null }).sum();
    expect(grad([kl], [old, ref], { allowUnused: true })).toEqual([null, null]);
  });

  it.each(['k2', 'k3', 'k3-unbiased'] as const)(
    '%s is never negative, in float32, for differences from 1e-8 to 60',
    (name) => {
      const differences = Array.from({ length: 400 }, (_, i) => (i % 2 === 0 ? 1 : -1) * 10 ** (-8 + (i / 400) * 9.78));
      const values = perToken(name, tensor(differences), tensor(differences.map(() => 0))).numbers();
      expect(Math.min(...values)).toBeGreaterThanOrEqual(0);
    },
  );

  it('k3 keeps its digits near 0, in float32: d²/2 at d = 10⁻⁴', () => {
    const value = perToken('k3', tensor([0]), tensor([1e-4])).item();
    expect(value / 5.000166e-9).toBeCloseTo(1, 2); // exp(d) − d − 1 computed plainly gives 0 or 6e-8 here
  });

  it('k3 has the gradient 1 − e^d in float32 too, exactly 0 at the reference', () => {
    const at = tensor([-1, -1, -1, -1], { requiresGrad: true });
    const kl = perToken('k3', at, tensor([-1, -1.5, -0.5, 2])).sum();
    const [atReference, ...others] = grad([kl], [at])[0]?.numbers() ?? [];
    expect(Math.abs(atReference ?? 1)).toBe(0);
    expectClose(others, [1 - Math.exp(-0.5), 1 - Math.exp(0.5), 1 - Math.exp(3)], 5);
  });

  it('k3-unbiased stays finite in float32 where ρ and e^d would overflow, forward and backward', () => {
    const at = tensor([0, -200, -100], { requiresGrad: true });
    const inputs = { logprobs: at, oldLogprobs: tensor([-200, 0, -200]), exactKl: null };
    const kl = klPerToken('k3-unbiased', { ...inputs, referenceLogprobs: tensor([0, 0, 0]) });
    expect(kl.numbers().every(Number.isFinite)).toBe(true);
    expect(grad([kl.sum()], [at])[0]?.numbers().every(Number.isFinite)).toBe(true);
  });

  it('k3 goes on along its tangent from d = 20: finite in float32, and still pulling', () => {
    const at = tensor([-100], { requiresGrad: true });
    const kl = perToken('k3', at, tensor([0]));
    // e^20 (1 + 80) − 100 − 1; plain e^100 is infinite in float32
    expect(kl.item() / (Math.exp(20) * 81 - 101)).toBeCloseTo(1, 6);
    expect((grad([kl], [at])[0]?.item() ?? 0) / -(Math.exp(20) - 1)).toBeCloseTo(1, 6);
    const [before, after] = [-1e-9, 1e-9].map((e) => perToken('k3', doubles([0]), doubles([K3_LIMIT + e])).item());
    expect((after ?? 0) - (before ?? 0)).toBeCloseTo(2e-9 * Math.expm1(20), 4);
  });
});

it('says which input is missing and who needs it', () => {
  const logprobs = tensor([-1]);
  const inputs = { logprobs, oldLogprobs: logprobs, referenceLogprobs: null, exactKl: null };
  expect(() => klPerToken('k3', inputs)).toThrow(/referenceLogprobs is null; the estimators k1, k2, k3\b.* need it/);
  expect(() => klPerToken('exact', inputs)).toThrow('exactKl is null');
});

it('the schema knows the names of the table, and what the trainer has to compute for each', () => {
  expect(klSchema.parse({ estimator: 'k2', coefficient: 0.01 })).toEqual({ estimator: 'k2', coefficient: 0.01 });
  expect(klSchema.safeParse({ estimator: 'k4', coefficient: 0.01 }).success).toBe(false);
  expect(klSchema.safeParse({ estimator: 'none', coefficient: 0.01 }).success).toBe(false);
  expect(klSchema.safeParse({ estimator: 'k3' }).success).toBe(false);
  expect(klNeeds({ estimator: 'none' })).toBeNull();
  expect(klNeeds({ estimator: 'k1', coefficient: 0 })).toBe('referenceLogprobs');
  expect(klNeeds({ estimator: 'exact', coefficient: 0.1 })).toBe('exactKl');
});
