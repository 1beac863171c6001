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
