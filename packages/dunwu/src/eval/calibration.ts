/** A forecast and what happened. */
export interface Forecast {
  /** The modelled chance of the outcome, 0..1. */
  readonly probability: number;
  /** 1 happened, 0 did not, ½ a tie. */
  readonly outcome: number;
}

/** Forecasts of nearly the same probability, `low` ≤ p < `high` (the last bin includes its end). */
export interface ReliabilityBin {
  readonly low: number;
  readonly high: number;
  readonly count: number;
  /** Mean forecast; NaN for an empty bin. */
  readonly forecast: number;
  /** Mean outcome; NaN for an empty bin. */
  readonly observed: number;
}

export interface Calibration {
  readonly bins: readonly ReliabilityBin[];
  /** Expected calibration error, 0..1; NaN without forecasts. */
  readonly error: number;
}

/**
 * Whether forecasts mean what they say (Guo et al. 2017, arXiv 1706.04599, eq. 2–3): forecasts are put in bins of equal
 * width; in each the mean forecast is held against the share that happened. ECE = Σ_b n_b/n |observed_b − forecast_b|.
 *
 * @param from where the first bin begins: ½ for the chance that the more likely of two is right
 * @throws Error when a probability is outside [from, 1].
 */
export function calibration(
  forecasts: readonly Forecast[],
  { bins = 10, from = 0 }: { readonly bins?: number; readonly from?: number } = {},
): Calibration {
  const width = (1 - from) / bins;
  const groups = Array.from({ length: bins }, (): Forecast[] => []);
  for (const forecast of forecasts) {
    const { probability } = forecast;
    if (!(probability >= from && probability <= 1)) {
      throw new Error(`calibration: the probability ${probability} is outside ${from}..1`);
    }
    groups[Math.min(bins - 1, Math.floor((probability - from) / width))]?.push(forecast);
  }
  const table = groups.map(
    (group, i): ReliabilityBin => ({
      low: from + i * width,
      high: i === bins - 1 ? 1 : from + (i + 1) * width,
      count: group.length,
      forecast: mean(group.map(({ probability }) => probability)),
      observed: mean(group.map(({ outcome }) => outcome)),
    }),
  );
  const gaps = table.filter(({ count }) => count > 0);
  const error = gaps.reduce((sum, bin) => sum + bin.count * Math.abs(bin.observed - bin.forecast), 0);
  return { bins: table, error: error / forecasts.length };
}

const mean = (list: readonly number[]): number => list.reduce((a, b) => a + b, 0) / list.length;
