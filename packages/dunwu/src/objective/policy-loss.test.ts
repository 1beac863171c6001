import { grad, liveTensors, scope, type Tensor, tensor } from '@dunwu/torch';
import { describe, expect, it } from 'vitest';
import { Random } from '../util/random.js';
import { combineMetrics } from './metrics.js';
import { type PolicyLossConfig, type PolicyLossInputs, policyLoss, policyLossSchema } from './policy-loss.js';

const doubles = (values: readonly number[], requiresGrad = false) => tensor(new Float64Array(values), { requiresGrad });
const integers = (values: readonly number[]) => tensor([...values], { dtype: 'int64' });

function expectClose(actual: readonly number[] | undefined, expected: readonly number[], digits = 12): void {
  expect(actual).toHaveLength(expected.length);
  for (const [i, value] of expected.entries()) expect(actual?.[i]).toBeCloseTo(value, digits);
}

/** A batch in plain numbers; the old policy gives every token ½. */
interface Plain {
  readonly ratio: readonly number[];
  readonly advantages: readonly number[];
  readonly sequence: readonly number[];
  /** log π_ref − log π_θ per token. */
  readonly d?: readonly number[];
  readonly sequencesInBatch?: number;
  readonly tokensInBatch?: number;
}

function lengthsOf(sequence: readonly number[]): number[] {
  const lengths = new Array<number>(Math.max(...sequence) + 1).fill(0);
  for (const s of sequence) lengths[s] = (lengths[s] ?? 0) + 1;
  return lengths;
}

function inputsOf(batch: Plain): PolicyLossInputs {
  const logprobs = batch.ratio.map((ratio) => Math.log(ratio / 2));
  const lengths = lengthsOf(batch.sequence);
  return {
    logprobs: doubles(logprobs, true),
    oldLogprobs: doubles(logprobs.map(() => Math.log(1 / 2))),
    referenceLogprobs: batch.d === undefined ? null : doubles(logprobs.map((l, i) => l + (batch.d?.[i] ?? 0))),
    exactKl: null,
    advantages: doubles(batch.advantages),
    sequence: integers(batch.sequence),
    lengths: doubles(lengths),
    sequencesInBatch: batch.sequencesInBatch ?? lengths.length,
    tokensInBatch: batch.tokensInBatch ?? batch.sequence.length,
  };
}

function evaluate(
  inputs: PolicyLossInputs,
  config: PolicyLossConfig,
): { loss: number; gradient: number[]; metrics: Record<string, number> } {
  const { loss, metrics } = policyLoss(inputs, config);
  const gradient = grad([loss], [inputs.logprobs])[0]?.numbers() ?? [];
  return { loss: loss.item(), gradient, metrics: combineMetrics([metrics]) };
}

const clip = { clip_low: 0.2, clip_high: 0.2 };
const kl = { estimator: 'none' } as const;
const TOKEN: PolicyLossConfig = { ratio: 'token', ...clip, aggregate: 'sequence-mean-token-mean', kl };
const TOKEN_MEAN: PolicyLossConfig = { ratio: 'token', ...clip, aggregate: 'token-mean', kl };
const MAX_TOKENS: PolicyLossConfig = { ...TOKEN, aggregate: 'sequence-mean-max-tokens' };
const NORMALISED: PolicyLossConfig = {
  ratio: 'sequence-normalised',
  ...clip,
  aggregate: 'sequence-mean-token-mean',
  kl,
};
const SEQUENCE: PolicyLossConfig = { ratio: 'sequence', ...clip, aggregate: 'sequence-mean-token-mean', kl };

/**
 * All four quadrants and one token inside, with ε = 0.2 on both sides:
 *
 *     token  ρ    A    ρA    clip(ρ)A  min    which     d min / d log π = ρA where unclipped
 *     0      1.5   1   1.5    1.2      1.2    high      0
 *     1      1.5  −1  −1.5   −1.2     −1.5    –        −1.5
 *     2      0.5   1   0.5    0.8      0.5    –         0.5
 *     3      0.5  −1  −0.5   −0.8     −0.8    low       0
 *     4      1.1   2   2.2    2.2      2.2    –         2.2
 *
 * Outputs: tokens 0, 1 and tokens 2, 3, 4.
 */
const QUADRANTS: Plain = { ratio: [1.5, 1.5, 0.5, 0.5, 1.1], advantages: [1, -1, 1, -1, 2], sequence: [0, 0, 1, 1, 1] };

describe('token ratio', () => {
  it('clips in the right quadrants, mean over each output, then over outputs', () => {
    const { loss, gradient, metrics } = evaluate(inputsOf(QUADRANTS), TOKEN);
    // −½ [ (1.2 − 1.5)/2 + (0.5 − 0.8 + 2.2)/3 ] = −½ [ −0.15 + 0.6333… ]
    expect(loss).toBeCloseTo(-(-0.15 + 1.9 / 3) / 2, 12);
    // −(d min)/(2 outputs · |o|)
    expectClose(gradient, [0, 1.5 / 4, -0.5 / 6, 0, -2.2 / 6]);
    expect(metrics).toEqual({
      'ratio/mean': expect.closeTo(5.1 / 5, 12),
      'ratio/max': expect.closeTo(1.5, 12),
      'clip/low': 0.2, // token 3 of 5
      'clip/high': 0.2, // token 0 of 5
      'loss/policy': loss,
    });
  });

  it('token-mean: every token weighs 1/N', () => {
    const { loss, gradient } = evaluate(inputsOf(QUADRANTS), TOKEN_MEAN);
    expect(loss).toBeCloseTo(-(1.2 - 1.5 + 0.5 - 0.8 + 2.2) / 5, 12);
    expectClose(gradient, [0, 1.5 / 5, -0.5 / 5, 0, -2.2 / 5]);
  });

  it('clips below and above by their own ε', () => {
    const config = { ...TOKEN_MEAN, clip_low: 0.3, clip_high: 0.6 };
    const { loss, metrics } = evaluate(inputsOf(QUADRANTS), config);
    // token 0: 1.5 is below 1.6 now; token 3: min(−0.5, −0.7)
    expect(loss).toBeCloseTo(-(1.5 - 1.5 + 0.5 - 0.7 + 2.2) / 5, 12);
    expect(metrics['clip/high']).toBe(0);
    expect(metrics['clip/low']).toBe(0.2);
    // clip_low above 1, as R1's 10: the lower side never binds
    expect(evaluate(inputsOf(QUADRANTS), { ...config, clip_low: 10 }).metrics['clip/low']).toBe(0);
  });

  it('a token without advantage neither moves the policy nor counts as clipped', () => {
    const { loss, gradient, metrics } = evaluate(
      inputsOf({ ratio: [2, 0.1], advantages: [0, 0], sequence: [0, 1] }),
      TOKEN,
    );
    expect(Math.abs(loss)).toBe(0);
    expectClose(gradient, [0, 0]);
    expect([metrics['clip/low'], metrics['clip/high']]).toEqual([0, 0]);
  });

  it('adds β times the KL, aggregated as the surrogate is', () => {
    // d = ln 2 in the first output, 0 in the second: k3 = 2 − ln 2 − 1 = 0.30685… and 0
    const k3 = 1 - Math.LN2;
    const batch = { ...QUADRANTS, d: [Math.LN2, Math.LN2, 0, 0, 0] };
    const penalty = { kl: { estimator: 'k3', coefficient: 0.1 } } as const;
    const grpo = evaluate(inputsOf(batch), { ...TOKEN, ...penalty });
    expect(grpo.metrics['loss/kl_penalty']).toBeCloseTo((0.1 * (k3 + 0)) / 2, 12);
    expect(grpo.metrics['loss/policy']).toBeCloseTo(-(-0.15 + 1.9 / 3) / 2, 12);
    expect(grpo.loss).toBeCloseTo((0.1 * k3) / 2 - (-0.15 + 1.9 / 3) / 2, 12);
    expect(grpo.metrics.kl).toBeCloseTo((2 * k3) / 5, 12); // over tokens, whatever the aggregate
    // ∂k3/∂log π = 1 − e^d = −1 in the first output: −0.1 / (2 · 2) on top of the surrogate's gradient
    expectClose(grpo.gradient, [-0.025, 1.5 / 4 - 0.025, -0.5 / 6, 0, -2.2 / 6]);

    const dapo = evaluate(inputsOf(batch), { ...TOKEN_MEAN, ...penalty });
    expect(dapo.metrics['loss/kl_penalty']).toBeCloseTo((0.1 * 2 * k3) / 5, 12);
  });

  it('a coefficient of 0 measures the KL and leaves the gradient alone', () => {
    const batch = { ...QUADRANTS, d: [1, -1, 0.5, 0, 2] };
    const measured = evaluate(inputsOf(batch), { ...TOKEN, kl: { estimator: 'k1', coefficient: 0 } });
    expect(measured.metrics.kl).toBeCloseTo(-2.5 / 5, 12); // k1 = −d
    expect(measured.gradient).toEqual(evaluate(inputsOf(QUADRANTS), TOKEN).gradient.map((g) => expect.closeTo(g, 15)));
  });

  it('takes the exact KL with its gradient', () => {
    const exactKl = doubles([0.1, 0.2, 0.3, 0.4, 0.5], true);
    const inputs = { ...inputsOf(QUADRANTS), exactKl };
    const { loss, metrics } = policyLoss(inputs, { ...TOKEN, kl: { estimator: 'exact', coefficient: 2 } });
    expect(combineMetrics([metrics])).toMatchObject({
      kl: expect.closeTo(0.3, 12),
      'loss/kl_penalty': expect.closeTo((2 * (0.15 + 0.4)) / 2, 12),
    });
    expectClose(grad([loss], [exactKl])[0]?.numbers(), [0.5, 0.5, 1 / 3, 1 / 3, 1 / 3]); // 2 / (2 · |o|)
  });
});

describe('sequence ratio', () => {
  // Output 0: 1.25 · 0.8 = 1, inside although its first token alone is not. Output 1: 1.1 · 1.2 · 1.25 = 1.65, clipped
  // although its first two tokens alone are not.
  const batch: Plain = { ratio: [1.25, 0.8, 1.1, 1.2, 1.25], advantages: [-1, -1, 1, 1, 1], sequence: [0, 0, 1, 1, 1] };

  it('clips the product over the output, one surrogate for each output', () => {
    const { loss, gradient, metrics } = evaluate(inputsOf(batch), SEQUENCE);
    expect(loss).toBeCloseTo(-(1 * -1 + 1.2 * 1) / 2, 12);
    // ∂(ρA)/∂(each token's log π) = ρA = −1, over 2 outputs; the clipped output gives nothing
    expectClose(gradient, [0.5, 0.5, 0, 0, 0]);
    expect(metrics).toEqual({
      'ratio/mean': expect.closeTo((1 + 1.65) / 2, 12), // over outputs, not tokens
      'ratio/max': expect.closeTo(1.65, 12),
      'clip/low': 0,
      'clip/high': expect.closeTo(0.5, 12), // one output of two
      'loss/policy': loss,
    });
  });

  it('is the token ratio where every output has one token', () => {
    const single: Plain = { ratio: [1.5, 0.5, 1.1], advantages: [1, -1, 0.3], sequence: [0, 1, 2] };
    expect(evaluate(inputsOf(single), SEQUENCE)).toEqual(evaluate(inputsOf(single), TOKEN));
  });

  it('keeps the KL a mean over the tokens of each output, then over outputs', () => {
    const d = [Math.LN2, 0, 0, 0, Math.LN2];
    const { metrics } = evaluate(inputsOf({ ...batch, d }), { ...SEQUENCE, kl: { estimator: 'k3', coefficient: 1 } });
    const k3 = 1 - Math.LN2;
    expect(metrics['loss/kl_penalty']).toBeCloseTo((k3 / 2 + k3 / 3) / 2, 12);
    expect(metrics.kl).toBeCloseTo((2 * k3) / 5, 12);
  });
});

describe('Dr. GRPO: sequence-mean-max-tokens', () => {
  it('divides by the outputs and by the constant L, not by their lengths', () => {
    const { loss, gradient } = evaluate({ ...inputsOf(QUADRANTS), maxTokens: 10 }, MAX_TOKENS);
    // −1/2 · 1/10 · [1.2 − 1.5 + 0.5 − 0.8 + 2.2]
    expect(loss).toBeCloseTo(-1.6 / 20, 12);
    expectClose(gradient, [0, 1.5 / 20, -0.5 / 20, 0, -2.2 / 20]);
  });

  it('a token of a long wrong output costs as much as one of a short wrong output, which 1/|o| does not give', () => {
    const wrong: Plain = { ratio: [1, 1, 1, 1], advantages: [-1, -1, -1, -1], sequence: [0, 1, 1, 1] };
    const constant = evaluate({ ...inputsOf(wrong), maxTokens: 4 }, MAX_TOKENS).gradient;
    expectClose(constant, [1 / 8, 1 / 8, 1 / 8, 1 / 8]);
    expectClose(evaluate(inputsOf(wrong), TOKEN).gradient, [1 / 2, 1 / 6, 1 / 6, 1 / 6]);
  });

  it('needs L, and an L that fits', () => {
    for (const maxTokens of [undefined, 2, Number.NaN]) {
      const inputs = { ...inputsOf(QUADRANTS), ...(maxTokens === undefined ? {} : { maxTokens }) };
      expect(() => policyLoss(inputs, MAX_TOKENS)).toThrow(`maxTokens is ${maxTokens}`);
    }
  });
});

describe('GSPO: sequence-normalised', () => {
  // Output 0: √(1.5 · 1.5) = 1.5; output 1: ∛(0.5 · 0.5 · 1.1).
  const second = Math.cbrt(0.5 * 0.5 * 1.1); // 0.650…

  it('the ratio is the geometric mean of the tokens’ ratios, clipped as a whole', () => {
    const batch: Plain = { ...QUADRANTS, advantages: [1, 1, 2, 2, 2] };
    const { loss, gradient, metrics } = evaluate(inputsOf(batch), NORMALISED);
    expect(loss).toBeCloseTo(-(1.2 + 2 * second) / 2, 12);
    // ∂s/∂log π_t = s/|o|; output 0 is clipped
    expectClose(gradient, [0, 0, ...new Array<number>(3).fill((-2 * second) / 3 / 2)]);
    expect(metrics['ratio/mean']).toBeCloseTo((1.5 + second) / 2, 12);
    expect([metrics['clip/low'], metrics['clip/high']]).toEqual([0, 0.5]);
  });

  it('does not depend on the length: an output written twice has the ratio of one', () => {
    const once = evaluate(inputsOf({ ratio: [1.1, 0.9], advantages: [1, 1], sequence: [0, 0] }), NORMALISED);
    const twice = evaluate(
      inputsOf({ ratio: [1.1, 0.9, 1.1, 0.9], advantages: [1, 1, 1, 1], sequence: [0, 0, 0, 0] }),
      NORMALISED,
    );
    expect(twice.loss).toBeCloseTo(once.loss, 12);
    expect(evaluate(inputsOf({ ratio: [1.1, 0.9], advantages: [1, 1], sequence: [0, 0] }), SEQUENCE).loss).toBeCloseTo(
      -0.99,
      12,
    );
  });

  it('on-policy it has the token ratio’s gradient, A/(S |o|) at each token', () => {
    const batch: Plain = { ratio: [1, 1, 1, 1], advantages: [2, 2, 2, -3], sequence: [0, 0, 0, 1] };
    expectClose(evaluate(inputsOf(batch), NORMALISED).gradient, [-1 / 3, -1 / 3, -1 / 3, 1.5]);
  });
});

describe('on-policy (old = new)', () => {
  it('the ratio is 1, nothing is clipped, and the gradient is −A/(S |o|) per token', () => {
    const batch: Plain = { ratio: [1, 1, 1, 1], advantages: [2, 2, 2, -3], sequence: [0, 0, 0, 1] };
    for (const config of [TOKEN, SEQUENCE]) {
      const { loss, gradient, metrics } = evaluate(inputsOf(batch), config);
      expect(loss).toBeCloseTo(-(2 - 3) / 2, 12);
      // The sequence ratio is 1 for the whole output: its gradient is A for each token, without 1/|o|.
      expectClose(gradient, config === TOKEN ? [-1 / 3, -1 / 3, -1 / 3, 1.5] : [-1, -1, -1, 1.5]);
      expect(metrics).toMatchObject({ 'ratio/max': 1, 'clip/low': 0, 'clip/high': 0 });
      expect(metrics['ratio/mean']).toBeCloseTo(1, 15);
    }
  });

  it('is REINFORCE with the group mean as baseline: a two-armed bandit by hand', () => {
    // Four one-token outputs of softmax([0, 0]): arms 0 0 1 1, rewards 1 1 0 0, so A = (r − ½)/½ = 1 1 −1 −1.
    const logits = doubles([0, 0], true);
    const logprobs = logits.logSoftmax(-1).indexSelect(0, integers([0, 0, 1, 1]));
    const inputs: PolicyLossInputs = {
      logprobs,
      oldLogprobs: logprobs.detach(),
      referenceLogprobs: null,
      exactKl: null,
      advantages: doubles([1, 1, -1, -1]),
      sequence: integers([0, 1, 2, 3]),
      lengths: doubles([1, 1, 1, 1]),
      sequencesInBatch: 4,
      tokensInBatch: 4,
    };
    const { loss } = policyLoss(inputs, TOKEN);
    // −¼ Σ A_i (1[arm = 0] − ½) = −¼ (½ + ½ + ½ + ½) for logit 0, and its opposite for logit 1
    expectClose(grad([loss], [logits])[0]?.numbers(), [-0.5, 0.5]);
  });

  it('is REINFORCE on a random batch too', () => {
    const { inputs, parameters } = randomBatch(7);
    const onPolicy = { ...inputs, oldLogprobs: inputs.logprobs.detach() };
    const ours = grad([policyLoss(onPolicy, TOKEN).loss], [parameters], {})[0]?.numbers() ?? [];
    const again = randomBatch(7);
    // −1/S Σ_i A_i 1/|o_i| Σ_t log π
    const perToken = again.inputs.lengths.indexSelect(0, again.inputs.sequence);
    const reinforce = again.inputs.logprobs
      .mul(again.inputs.advantages)
      .div(perToken)
      .sum()
      .div(-again.inputs.sequencesInBatch);
    expectClose(grad([reinforce], [again.parameters])[0]?.numbers(), ours);
  });
});

/** Six outputs of 1 to 6 tokens, log π = softmax of a 5-token vocabulary's logits; far enough off-policy to clip. */
function randomBatch(seed: number): { inputs: PolicyLossInputs; parameters: Tensor } {
  const random = new Random(seed);
  const sequence = [3, 1, 6, 2, 4, 5].flatMap((length, s) => new Array<number>(length).fill(s));
  const tokens = sequence.length;
  const draw = (scale: number) => (random.next() - 0.5) * scale;
  const parameters = doubles(
    Array.from({ length: tokens * 5 }, () => draw(2)),
    true,
  );
  const chosen = integers(sequence.map((_, n) => n * 5 + (n % 5)));
  const logprobs = parameters.reshape([tokens, 5]).logSoftmax(-1).flatten().indexSelect(0, chosen);
  const plain = logprobs.numbers();
  const perOutput = Array.from({ length: 6 }, () => draw(4));
  return {
    parameters,
    inputs: {
      logprobs,
      oldLogprobs: doubles(plain.map((l) => l + draw(0.9))),
      referenceLogprobs: doubles(plain.map((l) => l + draw(0.9))),
      exactKl: null,
      advantages: doubles(sequence.map((s) => perOutput[s] ?? 0)),
      sequence: integers(sequence),
      lengths: doubles(lengthsOf(sequence)),
      sequencesInBatch: 6,
      tokensInBatch: tokens,
      maxTokens: 9,
    },
  };
}

const penalty = { kl: { estimator: 'k3', coefficient: 0.3 } } as const;
const CONFIGS: [string, PolicyLossConfig][] = [
  ['token ratio, sequence-mean-token-mean', { ...TOKEN, ...penalty }],
  ['token ratio, token-mean', { ...TOKEN_MEAN, ...penalty }],
  ['sequence ratio', { ...SEQUENCE, ...penalty }],
  ['token ratio, sequence-mean-max-tokens', { ...MAX_TOKENS, ...penalty }],
  ['sequence ratio, normalised by length', { ...NORMALISED, ...penalty, clip_low: 0.02, clip_high: 0.02 }],
  [
    'DAPO: clip-higher, k3-unbiased',
    { ...TOKEN_MEAN, clip_high: 0.28, kl: { ...penalty.kl, estimator: 'k3-unbiased' } },
  ],
];

describe.each(CONFIGS)('%s', (_, config) => {
  it('micro-batches add up to the whole: loss, gradient, metrics', () => {
    const { inputs } = randomBatch(3);
    const leaf = detached(inputs);
    const whole = evaluate(leaf, config);
    expect(whole.metrics['clip/low']).toBeGreaterThan(0);
    expect(whole.metrics['clip/high']).toBeGreaterThan(0);

    // Outputs 0, 1, 2 (10 tokens) and 3, 4, 5 (11 tokens); each numbers its outputs from 0.
    const parts = [take(leaf, range(0, 10), range(0, 3), 0), take(leaf, range(10, 21), range(3, 6), 3)];
    const results = parts.map((part) => policyLoss(part, config));
    const losses = results.map(({ loss }) => loss.item());
    expect(losses.reduce((a, b) => a + b)).toBeCloseTo(whole.loss, 12);
    const gradients = results.flatMap(({ loss }, i) =>
      (grad([loss], [parts[i]?.logprobs as Tensor])[0] as Tensor).numbers(),
    );
    expectClose(gradients, whole.gradient);
    const metrics = combineMetrics(results.map((result) => result.metrics));
    expect(Object.keys(metrics)).toEqual(Object.keys(whole.metrics));
    expectClose(Object.values(metrics), Object.values(whole.metrics));
  });

  it('does not depend on the order of the tokens', () => {
    const leaf = detached(randomBatch(4).inputs);
    const whole = evaluate(leaf, config);
    const order = new Random(1).shuffle(range(0, 21));
    const shuffled = evaluate(take(leaf, order, range(0, 6), 0), config);
    expect(shuffled.loss).toBeCloseTo(whole.loss, 12);
    expectClose(
      shuffled.gradient,
      order.map((n) => whole.gradient[n] ?? Number.NaN),
    );
    expectClose(Object.values(shuffled.metrics), Object.values(whole.metrics));
  });

  it('has the gradient that finite differences find', () => {
    const leaf = detached(randomBatch(5).inputs);
    const { gradient } = evaluate(leaf, config);
    const values = leaf.logprobs.numbers();
    const numeric = values.map((_, n) => {
      const side = (step: number) =>
        policyLoss({ ...leaf, logprobs: doubles(values.map((v, i) => (i === n ? v + step : v))) }, config).loss.item();
      return (side(1e-6) - side(-1e-6)) / 2e-6;
    });
    expectClose(gradient, numeric, 7);
  });

  it('leaves nothing behind but the loss and the metrics', () => {
    scope(() => {
      const leaf = detached(randomBatch(6).inputs);
      const before = liveTensors();
      const { loss, metrics } = policyLoss(leaf, config);
      expect(liveTensors() - before).toBe(1 + Object.keys(metrics).length);
      loss.backward();
      expect(leaf.logprobs.grad?.numbers().every(Number.isFinite)).toBe(true);
      for (const metric of Object.values(metrics)) {
        expect((metric.kind === 'mean' ? metric.sum : metric.value).requiresGrad).toBe(false);
      }
    });
  });
});

const range = (start: number, end: number): number[] => Array.from({ length: end - start }, (_, i) => start + i);

/** The same batch with log-probabilities that are leaves. */
function detached(inputs: PolicyLossInputs): PolicyLossInputs {
  return { ...inputs, logprobs: doubles(inputs.logprobs.numbers(), true) };
}

/** Some tokens and outputs of a batch, as a micro-batch of the same batch; `first` is the first output's number. */
function take(inputs: PolicyLossInputs, tokens: number[], outputs: number[], first: number): PolicyLossInputs {
  const index = integers(tokens);
  const pick = (t: Tensor) => t.detach().indexSelect(0, index);
  return {
    ...inputs,
    logprobs: doubles(pick(inputs.logprobs).numbers(), true),
    oldLogprobs: pick(inputs.oldLogprobs),
    referenceLogprobs: inputs.referenceLogprobs === null ? null : pick(inputs.referenceLogprobs),
    advantages: pick(inputs.advantages),
    sequence: pick(inputs.sequence).sub(first),
    lengths: inputs.lengths.indexSelect(0, integers(outputs)),
  };
}

describe('numbers that would overflow', () => {
  it.each([TOKEN, SEQUENCE, NORMALISED])('stay finite in float32, forward and backward', (config) => {
    // log-ratios +200, +200, −200 with A = 1, −1, −1; e^200 is infinite in float32
    const logprobs = tensor([0, 0, -200], { requiresGrad: true });
    const { loss } = policyLoss(
      {
        logprobs,
        oldLogprobs: tensor([-200, -200, 0]),
        referenceLogprobs: null,
        exactKl: null,
        advantages: tensor([1, -1, -1]),
        sequence: integers([0, 1, 2]),
        lengths: tensor([1, 1, 1]),
        sequencesInBatch: 3,
        tokensInBatch: 3,
      },
      config,
    );
    // −(1.2 − e^20 − 0.8)/3
    expect(loss.item() / (Math.exp(20) / 3)).toBeCloseTo(1, 6);
    expectClose(grad([loss], [logprobs])[0]?.numbers(), [0, 0, 0]);
  });
});

describe('what it refuses', () => {
  const good = inputsOf(QUADRANTS);
  const cases: [string, Partial<PolicyLossInputs>, string][] = [
    ['a shape that differs', { advantages: doubles([1, 2]) }, 'advantages must be [5] as logprobs is; got float64[2]'],
    ['padded rows', { logprobs: tensor([[1, 2]]) }, 'packed without padding; got float32[1, 2]'],
    ['nothing at all', { logprobs: tensor(new Float32Array(0)) }, 'at least one response token'],
    ['half precision', { logprobs: good.logprobs.to('bfloat16') }, 'must be float32 or float64'],
    ['a sequence of floats', { sequence: doubles([0, 0, 1, 1, 1]) }, 'sequence must be int64; got float64[5]'],
    ['totals of the micro-batch', { sequencesInBatch: 1 }, 'sequencesInBatch is 1, fewer than the 2 outputs'],
    ['totals that are no number', { tokensInBatch: Number.NaN }, 'tokensInBatch is NaN'],
  ];
  it.each(cases)('%s', (_, change, message) => {
    expect(() => policyLoss({ ...good, ...change }, TOKEN)).toThrow(message);
  });

  it('a KL without its reference', () => {
    expect(() => policyLoss(good, { ...TOKEN, ...penalty })).toThrow('referenceLogprobs is null');
  });
});

describe('the schema', () => {
  it('fills in GRPO', () => {
    expect(policyLossSchema.parse({ ratio: 'token', kl })).toEqual(TOKEN);
    expect(policyLossSchema.parse({ ratio: 'sequence', kl })).toEqual(SEQUENCE);
    expect(policyLossSchema.parse({ ratio: 'sequence-normalised', kl })).toEqual({
      ...NORMALISED,
      clip_low: 0.0003,
      clip_high: 0.0004,
    });
  });

  it('refuses what would be ignored or would mean something else', () => {
    for (const wrong of [
      { ratio: 'sequence', aggregate: 'token-mean', kl },
      { ratio: 'sequence-normalised', aggregate: 'sequence-mean-max-tokens', kl },
      { ratio: 'token', clip_low: -0.1, kl },
      { ratio: 'token', epsilon: 0.2, kl },
      { ratio: 'token' },
    ]) {
      expect(policyLossSchema.safeParse(wrong).success).toBe(false);
    }
  });
});
