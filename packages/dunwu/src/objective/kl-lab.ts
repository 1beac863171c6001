import { arange, eye, grad, scope, tensor, tokenKl } from '@dunwu/torch';
import { Random } from '../util/random.js';
import { KL_ESTIMATORS, type KlEstimator } from './kl.js';
import { NOTES_SLIP } from './kl-slip.js';

/**
 * What the KL estimators do, measured: policies at chosen distances from a reference over a small vocabulary, tokens
 * sampled from them or from an older policy, and each estimator's value and gradient beside those of the KL itself.
 * A vocabulary of one position is all: the estimators are per token.
 */
export interface KlLabSettings {
  /** Exact KL(π_θ ‖ π_ref) of the policies, in nats. */
  readonly distances: readonly number[];
  /** Exact KL(π_old ‖ π_θ) of the older policy that samples off-policy, in nats. */
  readonly staleness: number;
  /** Tokens in the vocabulary. */
  readonly vocabulary: number;
  /** Random policies at each distance; what is reported is over all of them. */
  readonly policies: number;
  /** Tokens sampled from each. */
  readonly samples: number;
  readonly seed: number | string;
}

/** The estimators of the product, and the notes' slip. */
export const LAB_ESTIMATORS: Readonly<Record<string, KlEstimator>> = { ...KL_ESTIMATORS, 'notes-slip': NOTES_SLIP };

/** Nats, over all policies at a distance. */
export interface ValueFacts {
  /** Expected value minus the exact KL, every token of the vocabulary enumerated. */
  readonly bias: number;
  /** Root mean square of the policies' biases: off-policy they differ in sign, and their mean hides how large they are. */
  readonly bias_rms: number;
  /** `bias` from the sampled tokens. */
  readonly sampled_bias: number;
  /** Of `sampled_bias`. */
  readonly standard_error: number;
  /** Of one token's value around its expectation, root mean square over the policies; from the sampled tokens. */
  readonly standard_deviation: number;
}

/** Gradient with respect to the policy's logits of the estimator as a loss, beside that of the exact KL. */
export interface GradientFacts {
  /** Cosine of the angle between the expected gradient (enumerated) and the KL's, mean; null where the former is 0. */
  readonly cosine: number | null;
  /** Length of the expected gradient over that of the KL's, mean. 1 is right. */
  readonly norm: number;
  /** ‖expected gradient − that of the KL‖ over ‖that of the KL‖, mean. 0 is right. */
  readonly error: number;
  /** The same error of the mean gradient of the sampled tokens. */
  readonly sampled_error: number;
  /** One token's gradient around its expectation, root mean square, over ‖that of the KL‖; enumerated. */
  readonly noise: number;
}

export interface KlLabRow {
  /** Exact KL(π_θ ‖ π_ref). */
  readonly kl: number;
  /** Whose tokens: those of π_θ, or those of π_old. */
  readonly samples_of: 'policy' | 'old';
  readonly estimator: string;
  readonly value: ValueFacts;
  readonly gradient: GradientFacts;
}

/** Log-probabilities over the vocabulary. */
export interface LabPolicies {
  readonly policy: readonly number[];
  readonly reference: readonly number[];
  readonly old: readonly number[];
}

/**
 * Runs the comparison. Equal settings give equal numbers.
 * @param onProgress told after each policy: done, of how many
 * @throws RangeError when a distance cannot be reached over so small a vocabulary.
 */
export async function klLab(
  settings: KlLabSettings,
  onProgress: (done: number, total: number) => void = () => {},
): Promise<KlLabRow[]> {
  const { distances, policies: count, samples, seed } = settings;
  const rows: KlLabRow[] = [];
  for (const [at, kl] of distances.entries()) {
    const tallies = new Map<string, Tally>();
    for (let i = 0; i < count; i++) {
      // The policies hang on their distance and number alone: more of them do not change the first ones.
      const policies = labPolicies(kl, settings, new Random(`${seed}/policy/${kl}/${i}`));
      for (const samplesOf of ['policy', 'old'] as const) {
        const logWeights = samplesOf === 'policy' ? policies.policy : policies.old;
        const shares = sampledShares(logWeights.map(Math.exp), samples, new Random(`${seed}/${samplesOf}/${kl}/${i}`));
        for (const [name, estimator] of Object.entries(LAB_ESTIMATORS)) {
          const key = `${samplesOf} ${name}`;
          const tally = tallies.get(key) ?? new Tally(samplesOf, name, samples);
          tallies.set(key, tally);
          tally.add(estimatorFacts(estimator, { ...policies, old: logWeights }), policies, logWeights, shares);
        }
      }
      onProgress(at * count + i + 1, distances.length * count);
      await new Promise((resolve) => setImmediate(resolve)); // lets signals in
    }
    for (const tally of tallies.values()) rows.push(tally.row(kl));
  }
  // On-policy first at each distance, then off-policy; estimators in the order of the table.
  const order = Object.keys(LAB_ESTIMATORS);
  const rank = ({ samples_of, estimator }: KlLabRow): number =>
    (samples_of === 'policy' ? 0 : order.length) + order.indexOf(estimator);
  return rows.sort((a, b) => distances.indexOf(a.kl) - distances.indexOf(b.kl) || rank(a) - rank(b));
}

/**
 * A random reference, a policy at exactly `kl` from it, and an older policy at exactly `staleness` from the policy.
 * @throws RangeError when there is no such policy.
 */
export function labPolicies(
  kl: number,
  { vocabulary, staleness }: Pick<KlLabSettings, 'vocabulary' | 'staleness'>,
  random: Random,
): LabPolicies {
  const reference = logSoftmax(normals(vocabulary, random));
  const policy = atDistance(reference, kl, random);
  return { policy, reference, old: atDistance(policy, staleness, random) };
}

/** The policy in a random direction u from `from`, softmax(from + t·u), with KL(policy ‖ from) = `kl`. */
function atDistance(from: readonly number[], kl: number, random: Random): number[] {
  // Along u the KL grows with t (its derivative is t · Var(u) ≥ 0), to −log p(argmax u): some directions end too early.
  for (let tries = 0; tries < 200; tries++) {
    const direction = normals(from.length, random);
    const policyAt = (t: number): number[] => logSoftmax(from.map((logit, i) => logit + t * (direction[i] as number)));
    let high = 1;
    while (high < 1e4 && exactKl(policyAt(high), from) < kl) high *= 2;
    if (exactKl(policyAt(high), from) < kl) continue;
    let low = 0;
    for (let i = 0; i < 100; i++) {
      const middle = (low + high) / 2;
      if (exactKl(policyAt(middle), from) < kl) low = middle;
      else high = middle;
    }
    return policyAt(high);
  }
  throw new RangeError(
    `no policy at a KL of ${kl} nats was found over ${from.length} tokens: a smaller distance or a larger vocabulary is needed`,
  );
}

/** KL(p ‖ q) = Σ p (log p − log q) of log-probabilities, in nats. */
export function exactKl(p: readonly number[], q: readonly number[]): number {
  return p.reduce((sum, logP, i) => sum + Math.exp(logP) * (logP - (q[i] as number)), 0);
}

/** ∂KL(p ‖ q)/∂logit_v = p_v (log p_v − log q_v − KL). */
export function exactKlGradient(p: readonly number[], q: readonly number[]): number[] {
  const kl = exactKl(p, q);
  return p.map((logP, v) => Math.exp(logP) * (logP - (q[v] as number) - kl));
}

/** What an estimator says of each token of the vocabulary, and its gradient there with respect to the policy's logits. */
export interface EstimatorFacts {
  readonly values: readonly number[];
  /** gradients[token][logit] */
  readonly gradients: readonly (readonly number[])[];
}

/** Through the product's own code, in float64, every token enumerated. */
export function estimatorFacts(estimator: KlEstimator, { policy, reference, old }: LabPolicies): EstimatorFacts {
  const size = policy.length;
  const [values, flat] = scope(() => {
    const repeated = new Float64Array(size * size);
    for (let row = 0; row < size; row++) repeated.set(policy, row * size);
    // A row of logits for each token, so that one backward pass gives each token's own gradient.
    const logits = tensor(repeated, { shape: [size, size], requiresGrad: true });
    const own = arange(0, size, 1, { dtype: 'int64' }).unsqueeze(-1);
    const logprobs = logits.logSoftmax(-1).gather(-1, own).squeeze(-1);
    const vector = (list: readonly number[]) => tensor(Float64Array.from(list));
    const head = eye(size, { dtype: 'float64' });
    const others = vector(reference).unsqueeze(0).expand([size, size]).contiguous();
    const estimates = estimator.perToken({
      logprobs,
      oldLogprobs: vector(old),
      referenceLogprobs: vector(reference),
      exactKl: estimator.needs === 'exactKl' ? tokenKl(logits, head, others, head) : null,
    });
    return [estimates.numbers(), grad([estimates.sum()], [logits])[0]?.numbers() ?? []];
  }) as [number[], number[]];
  return { values, gradients: values.map((_, v) => flat.slice(v * size, (v + 1) * size)) };
}

/** Sums over the policies at one distance. */
class Tally {
  #n = 0;
  #bias = 0;
  #squaredBias = 0;
  #sampledBias = 0;
  #variance = 0;
  #cosines: (number | null)[] = [];
  #norm = 0;
  #error = 0;
  #sampledError = 0;
  #noise = 0;

  constructor(
    private readonly samplesOf: KlLabRow['samples_of'],
    private readonly estimator: string,
    private readonly samples: number,
  ) {}

  add(
    { values, gradients }: EstimatorFacts,
    policies: LabPolicies,
    logWeights: readonly number[],
    shares: readonly number[],
  ): void {
    const weights = logWeights.map(Math.exp);
    const kl = exactKl(policies.policy, policies.reference);
    const right = exactKlGradient(policies.policy, policies.reference);
    const size = norm(right);
    this.#n++;
    const bias = dot(weights, values) - kl;
    this.#bias += bias;
    this.#squaredBias += bias ** 2;
    const sampled = dot(shares, values);
    this.#sampledBias += sampled - kl;
    this.#variance +=
      dot(
        shares,
        values.map((value) => (value - sampled) ** 2),
      ) *
      (this.samples / (this.samples - 1));
    const expected = average(gradients, weights);
    const length = norm(expected) / size;
    // k1's expected gradient is 0: what rounding leaves of it has no direction.
    this.#cosines.push(length < 1e-9 ? null : dot(expected, right) / (norm(expected) * size));
    this.#norm += length;
    this.#error += distance(expected, right) / size;
    this.#sampledError += distance(average(gradients, shares), right) / size;
    this.#noise +=
      dot(
        weights,
        gradients.map((gradient) => distance(gradient, expected) ** 2),
      ) /
      size ** 2;
  }

  row(kl: number): KlLabRow {
    const n = this.#n;
    const cosines = this.#cosines.filter((cosine) => cosine !== null);
    return {
      kl,
      samples_of: this.samplesOf,
      estimator: this.estimator,
      value: {
        bias: this.#bias / n,
        bias_rms: Math.sqrt(this.#squaredBias / n),
        sampled_bias: this.#sampledBias / n,
        standard_error: Math.sqrt(this.#variance / n / (n * this.samples)),
        standard_deviation: Math.sqrt(this.#variance / n),
      },
      gradient: {
        cosine: cosines.length < n ? null : cosines.reduce((a, b) => a + b, 0) / n,
        norm: this.#norm / n,
        error: this.#error / n,
        sampled_error: this.#sampledError / n,
        noise: Math.sqrt(this.#noise / n),
      },
    };
  }
}

/** The share of each token among `samples` draws: all that averages over the draws need. */
function sampledShares(weights: readonly number[], samples: number, random: Random): number[] {
  const cumulative: number[] = [];
  let total = 0;
  for (const weight of weights) {
    total += weight;
    cumulative.push(total);
  }
  const counts = new Array<number>(weights.length).fill(0);
  for (let i = 0; i < samples; i++) {
    const u = random.next() * total;
    let [low, high] = [0, weights.length - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((cumulative[middle] as number) > u) high = middle;
      else low = middle + 1;
    }
    counts[low] = (counts[low] as number) + 1;
  }
  return counts.map((count) => count / samples);
}

function normals(count: number, random: Random): number[] {
  // Box and Muller's transform; 1 − u is never 0.
  return Array.from(
    { length: count },
    () => Math.sqrt(-2 * Math.log(1 - random.next())) * Math.cos(2 * Math.PI * random.next()),
  );
}

function logSoftmax(logits: readonly number[]): number[] {
  const most = Math.max(...logits);
  const total = most + Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit - most), 0));
  return logits.map((logit) => logit - total);
}

const dot = (a: readonly number[], b: readonly number[]): number =>
  a.reduce((sum, x, i) => sum + x * (b[i] as number), 0);
const norm = (a: readonly number[]): number => Math.sqrt(dot(a, a));
const distance = (a: readonly number[], b: readonly number[]): number => norm(a.map((x, i) => x - (b[i] as number)));

function average(vectors: readonly (readonly number[])[], weights: readonly number[]): number[] {
  const sum = new Array<number>(vectors[0]?.length ?? 0).fill(0);
  vectors.forEach((vector, i) => {
    for (let j = 0; j < sum.length; j++) sum[j] = (sum[j] as number) + (weights[i] as number) * (vector[j] as number);
  });
  return sum;
}
