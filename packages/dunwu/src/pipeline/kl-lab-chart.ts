import type { KlLabRow } from '../objective/kl-lab.js';
import { type Chart, type Line, lineChart } from './plot.js';

/** Over the distance from the reference: spread, off-policy bias, and the direction of the gradient on and off policy. */
export function klLabChart(rows: readonly KlLabRow[]): Chart {
  const names = [...new Set(rows.map(({ estimator }) => estimator))];
  const lines = (samplesOf: KlLabRow['samples_of'], read: (row: KlLabRow) => number): Line[] =>
    names.flatMap((name) => {
      const points = rows
        .filter((row) => row.estimator === name && row.samples_of === samplesOf)
        .map((row) => [row.kl, read(row)] as const)
        .sort(([a], [b]) => a - b);
      // An estimator that is 0 but for rounding (k1's gradient, the exact one's spread) has no line.
      return points.some(([, value]) => Number.isFinite(value) && Math.abs(value) > 1e-9) ? [{ name, points }] : [];
    });
  const cosine = ({ gradient }: KlLabRow): number => gradient.cosine ?? Number.NaN;
  return lineChart(
    [
      {
        title: 'sd of one value / KL, on-policy',
        lines: lines('policy', ({ kl, value }) => value.standard_deviation / kl),
        log: 'both',
      },
      {
        title: '|bias| / KL (rms), off-policy',
        lines: lines('old', ({ kl, value }) => clean(value.bias_rms / kl)),
        log: 'both',
      },
      { title: 'Cosine with the gradient of the KL, on-policy', lines: lines('policy', cosine), log: 'x' },
      { title: 'Cosine with the gradient of the KL, off-policy', lines: lines('old', cosine), log: 'x' },
    ],
    'KL(π_θ ‖ π_ref)',
    { shared: true },
  );
}

const clean = (value: number): number => (value < 1e-9 ? Number.NaN : value);
