/** Wilson score interval of a share (Wilson 1927): honest near 0 and 1, where the normal one is not. z = 1.96 is 95 %. */
export function wilsonInterval(successes: number, n: number, z = 1.959963984540054): [low: number, high: number] {
  if (n === 0) return [0, 1];
  const p = successes / n;
  const centre = p + (z * z) / (2 * n);
  const spread = z * Math.sqrt((p * (1 - p)) / n + (z * z) / (4 * n * n));
  const scale = 1 + (z * z) / n;
  // At the ends one bound is 0 or 1 exactly, which rounding would miss.
  return [
    successes === 0 ? 0 : Math.max(0, (centre - spread) / scale),
    successes === n ? 1 : Math.min(1, (centre + spread) / scale),
  ];
}

/** Unbiased pass@k from n samples of which c are right: 1 − C(n−c, k) / C(n, k) (Chen et al. 2021, arXiv 2107.03374). */
export function passAtK(n: number, c: number, k: number): number {
  if (k > n) throw new Error(`pass@${k} needs at least ${k} samples, got ${n}`);
  if (n - c < k) return 1;
  let fail = 1;
  for (let i = n - c + 1; i <= n; i++) fail *= 1 - k / i;
  return 1 - fail;
}

/** A mean with its uncertainty. */
export interface Estimate {
  readonly mean: number;
  /** Standard error of the mean; null when there is one value only, which says nothing of its spread. */
  readonly standard_error: number | null;
  /** 95 % confidence interval; null when there is one value only. */
  readonly ci95: readonly [low: number, high: number] | null;
}

/**
 * Mean of independent values with Student's 95 % interval: x̄ ± t(n − 1) · s/√n with s² = Σ (x − x̄)² / (n − 1).
 * Right for runs with different seeds, and for problems whose samples were averaged first.
 * @throws Error when there are no values.
 */
export function meanWithInterval(values: readonly number[]): Estimate {
  const n = values.length;
  if (n === 0) throw new Error('meanWithInterval: there are no values');
  const mean = values.reduce((a, b) => a + b, 0) / n;
  if (n === 1) return { mean, standard_error: null, ci95: null };
  const variance = values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / (n - 1);
  const standard_error = Math.sqrt(variance / n);
  const spread = studentT(n - 1) * standard_error;
  return { mean, standard_error, ci95: [mean - spread, mean + spread] };
}

/**
 * Mean of shares, one for each problem, with an interval that stays within 0 and 1. A problem's samples are not
 * independent of each other, so the problem is the unit that was drawn (a cluster), however many samples it has.
 * Where all shares are 0, or all 1, their spread is 0 and says nothing: then it is Wilson's interval of that many
 * problems, and so it is for a single problem.
 */
export function clusterInterval(shares: readonly number[]): {
  readonly mean: number;
  readonly standard_error: number;
  readonly ci95: readonly [low: number, high: number];
} {
  const { mean, standard_error, ci95 } = meanWithInterval(shares);
  if (ci95 === null || shares.every((share) => share === 0) || shares.every((share) => share === 1)) {
    return { mean, standard_error: standard_error ?? 0, ci95: wilsonInterval(mean * shares.length, shares.length) };
  }
  return { mean, standard_error: standard_error as number, ci95: [Math.max(0, ci95[0]), Math.min(1, ci95[1])] };
}

/**
 * Mean of values between 0 and 1 that come in clusters of any sizes (a problem's samples), with Student's 95 % interval
 * held within 0 and 1. The clusters were drawn, not the values, so the mean is a ratio of cluster totals; its variance by
 * linearisation (Cochran, Sampling Techniques, 3rd ed., equation 6.9, with the population large):
 *
 *     m = Σ_g Σ_i x_gi / N,   Var(m) = G / (G − 1) · Σ_g (Σ_i (x_gi − m))² / N²,   m ± t(G − 1) · √Var(m)
 *
 * With clusters of one size this is {@link clusterInterval} of their means. Empty clusters say nothing and are left out.
 * Where all values are 0, or all 1, and for a single cluster, it is Wilson's interval of that many clusters; without any
 * value 0 … 1.
 */
export function clusteredMean(clusters: readonly (readonly number[])[]): {
  readonly mean: number;
  readonly standard_error: number;
  readonly ci95: readonly [low: number, high: number];
} {
  const used = clusters.filter((values) => values.length > 0);
  const all = used.flat();
  const groups = used.length;
  if (groups === 0) return { mean: 0, standard_error: 0, ci95: [0, 1] };
  const mean = all.reduce((a, b) => a + b, 0) / all.length;
  if (groups === 1 || all.every((value) => value === 0) || all.every((value) => value === 1)) {
    return { mean, standard_error: 0, ci95: wilsonInterval(mean * groups, groups) };
  }
  const squares = used.reduce((sum, values) => sum + values.reduce((a, x) => a + x - mean, 0) ** 2, 0);
  const standard_error = Math.sqrt((groups / (groups - 1)) * squares) / all.length;
  const spread = studentT(groups - 1) * standard_error;
  return { mean, standard_error, ci95: [Math.max(0, mean - spread), Math.min(1, mean + spread)] };
}

/**
 * Student's t: the value that |T| with so many degrees of freedom stays below with probability `confidence`.
 * Bisection on the finite series of Abramowitz & Stegun, 26.7.3 and 26.7.4.
 */
export function studentT(freedom: number, confidence = 0.95): number {
  if (!Number.isInteger(freedom) || freedom < 1) throw new Error(`studentT: degrees of freedom: ${freedom}`);
  if (!(confidence > 0 && confidence < 1)) throw new Error(`studentT: confidence: ${confidence}`);
  // In the angle θ = atan(t / √ν) the range is bounded.
  let [low, high] = [0, Math.PI / 2];
  for (let i = 0; i < 60; i++) {
    const middle = (low + high) / 2;
    if (withinAngle(middle, freedom) < confidence) low = middle;
    else high = middle;
  }
  return Math.sqrt(freedom) * Math.tan((low + high) / 2);
}

/** P(|T| < √ν tan θ). */
function withinAngle(theta: number, freedom: number): number {
  const [sin, cos] = [Math.sin(theta), Math.cos(theta)];
  const odd = freedom % 2 === 1;
  let term = odd ? cos : 1;
  let sum = freedom === 1 ? 0 : term;
  for (let power = odd ? 3 : 2; power <= freedom - 2; power += 2) {
    term *= ((power - 1) / power) * cos * cos;
    sum += term;
  }
  return odd ? (2 / Math.PI) * (theta + sin * sum) : sin * sum;
}
