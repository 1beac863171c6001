import { scope, stack, type Tensor } from '@dunwu/torch';

/**
 * What an objective measured on one micro-batch, kept so that several micro-batches combine to exactly what the whole
 * batch would have given: a mean as its sum and its count, never as a ready mean. The tensors have one element, no
 * gradient, and stay on their device until `combineMetrics` reads them.
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
 * The metrics of a whole batch from those of its micro-batches, in the order in which they first appear. Everything is
 * read in one transfer: call it once, after the last micro-batch's `backward()`.
 *
 * A metric that only some micro-batches have is combined over those; a mean over nothing is NaN.
 * @throws Error when a name has different kinds in different micro-batches.
 */
export function combineMetrics(parts: readonly Metrics[]): Record<string, number> {
  const tensors = parts.flatMap((part) => Object.values(part).flatMap(tensorsOf));
  const numbers = tensors.length === 0 ? [] : scope(() => stack(tensors.map((t) => t.to('float64'))).numbers());
  let next = 0;
  const take = (): number => numbers[next++] ?? Number.NaN;

  const combined = new Map<string, { readonly kind: Metric['kind']; value: number; count: number }>();
  for (const [name, metric] of parts.flatMap((part) => Object.entries(part))) {
    const value = take();
    const count = metric.kind !== 'mean' ? 1 : typeof metric.count === 'number' ? metric.count : take();
    const before = combined.get(name);
    if (before === undefined) {
      combined.set(name, { kind: metric.kind, value, count });
      continue;
    }
    if (before.kind !== metric.kind) {
      throw new Error(`combineMetrics: '${name}' is a ${before.kind} in one micro-batch, a ${metric.kind} in another`);
    }
    before.value = metric.kind === 'max' ? Math.max(before.value, value) : before.value + value;
    before.count += count;
  }
  return Object.fromEntries(
    [...combined].map(([name, { kind, value, count }]) => [name, kind === 'mean' ? value / count : value]),
  );
}

/** In the order in which `combineMetrics` takes their numbers again. */
function tensorsOf(metric: Metric): Tensor[] {
  if (metric.kind !== 'mean') return [metric.value];
  return typeof metric.count === 'number' ? [metric.sum] : [metric.sum, metric.count];
}
