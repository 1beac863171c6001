import { readNumbers, type Tensor } from '@dunwu/torch';

/**
 * What an objective measured on one micro-batch, kept so that several micro-batches combine to exactly what the whole
 * batch would have given: a mean as its sum and its count, never as a ready mean. The tensors have one element, no
 * gradient, and stay on their device until `readStep` reads them.
 *
 * - `mean`: Σ sum / Σ count over the micro-batches
 * - `sum`: adds up, such as a loss that was already divided by the whole batch's size
 * - `max`: the largest
 */
export type Metric =
  | { readonly kind: 'mean'; readonly sum: Tensor; readonly count: Tensor | number }
  | { readonly kind: 'sum'; readonly value: Tensor }
  | { readonly kind: 'max'; readonly value: Tensor };

export type Metrics = Readonly<Record<string, Metric>>;

/** A loss to call `backward()` on, and what to log beside it. */
export interface Objective {
  /** One element, with gradient. */
  readonly loss: Tensor;
  readonly metrics: Metrics;
}

/**
 * Everything that a step measured, in one copy from the device: the only wait for it in a step. Call it once, when all of the
 * step's work is given to the device.
 *
 * `metrics` are those of the whole batch from its micro-batches' `parts`, in the order in which they first appear. A metric
 * that only some micro-batches have is combined over those; a mean over nothing is NaN.
 *
 * @param others more tensors of the step: the numbers of each list, one after another, come back under its name
 * @throws Error when a name has different kinds in different micro-batches.
 */
export function readStep<K extends string>(
  parts: readonly Metrics[],
  others: Readonly<Record<K, readonly Tensor[]>>,
): { readonly metrics: Record<string, number>; readonly others: Record<K, number[]> } {
  const measured = parts.flatMap((part) => Object.values(part).flatMap(tensorsOf));
  const lists = Object.entries(others) as [K, readonly Tensor[]][];
  const read = readNumbers([...measured, ...lists.flatMap(([, list]) => list)]);
  let at = measured.length;
  const more = lists.map(([name, list]) => {
    at += list.length;
    return [name, read.slice(at - list.length, at).flat()];
  });
  return {
    metrics: combined(parts, read.slice(0, measured.length).flat()),
    others: Object.fromEntries(more) as Record<K, number[]>,
  };
}

/** The metrics alone: see {@link readStep}. */
export function combineMetrics(parts: readonly Metrics[]): Record<string, number> {
  return readStep(parts, {}).metrics;
}

/** @param numbers of all tensors of the parts */
function combined(parts: readonly Metrics[], numbers: readonly number[]): Record<string, number> {
  let next = 0;
  const take = (): number => numbers[next++] ?? Number.NaN;

  const all = new Map<string, { readonly kind: Metric['kind']; value: number; count: number }>();
  for (const [name, metric] of parts.flatMap((part) => Object.entries(part))) {
    const value = take();
    const count = metric.kind !== 'mean' ? 1 : typeof metric.count === 'number' ? metric.count : take();
    const before = all.get(name);
    if (before === undefined) {
      all.set(name, { kind: metric.kind, value, count });
      continue;
    }
    if (before.kind !== metric.kind) {
      throw new Error(`combineMetrics: '${name}' is a ${before.kind} in one micro-batch, a ${metric.kind} in another`);
    }
    before.value = metric.kind === 'max' ? Math.max(before.value, value) : before.value + value;
    before.count += count;
  }
  return Object.fromEntries(
    [...all].map(([name, { kind, value, count }]) => [name, kind === 'mean' ? value / count : value]),
  );
}

/** In the order in which `combined` takes their numbers again. */
function tensorsOf(metric: Metric): Tensor[] {
  if (metric.kind !== 'mean') return [metric.value];
  return typeof metric.count === 'number' ? [metric.sum] : [metric.sum, metric.count];
}
