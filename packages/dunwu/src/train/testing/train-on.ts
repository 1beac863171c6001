import { type Device, scope } from '@dunwu/torch';
import { expect } from 'vitest';
import { type ComputeType, setComputeType } from '../../model/compute-type.js';
import { type MetricRow, TestHost } from './host.js';
import type { Training } from './trainings.js';

/** What is left of a training. */
export interface Trained {
  /** A row for each step, without times. */
  readonly rows: readonly MetricRow[];
  readonly weights: ReadonlyMap<string, readonly number[]>;
}

/** Runs a training on a device. @param host default one that keeps no checkpoints: to write one is to wait for the device */
export async function trainOn(
  { run }: Training,
  device: Device,
  type: ComputeType,
  host: TestHost = new HostWithoutFiles(),
): Promise<Trained> {
  const before = setComputeType(type);
  try {
    const model = await run(host, device);
    const weights = scope(() => new Map(model.parameters().map(({ name, tensor }) => [name, tensor.numbers()])));
    model.dispose();
    return { rows: host.timeless(), weights };
  } finally {
    setComputeType(before);
    host.dispose();
  }
}

class HostWithoutFiles extends TestHost {
  override readonly checkpoints = { save: async (): Promise<string> => '' };
}

/** What may be apart between two devices, for another order of sums: in metrics relative to 1 and above, in weights. */
export interface Tolerance {
  readonly metrics: number;
  readonly weights: number;
}

/** The same metrics by name, and all numbers within the tolerance. */
export function expectAlike(ours: Trained, theirs: Trained, { metrics, weights }: Tolerance): void {
  expect(ours.rows.length).toBe(theirs.rows.length);
  ours.rows.forEach((row, i) => {
    const other = theirs.rows[i] as MetricRow;
    expect(Object.keys(row)).toEqual(Object.keys(other));
    for (const [name, value] of Object.entries(row)) {
      expectNear(`${name} of step ${i + 1}`, [value].flat(), [other[name] as number].flat(), metrics);
    }
  });
  for (const [name, numbers] of ours.weights) {
    expectNear(name, numbers, theirs.weights.get(name) as readonly number[], weights);
  }
}

function expectNear(what: string, ours: readonly number[], theirs: readonly number[], tolerance: number): void {
  expect(ours.length, what).toBe(theirs.length);
  const apart = ours.map((value, i) => Math.abs(value - (theirs[i] as number)) / Math.max(1, Math.abs(value)));
  // Not "above": of NaN neither would be true.
  expect(
    apart.every((distance) => distance <= tolerance),
    `${what}: ${ours} and ${theirs}`,
  ).toBe(true);
}

/** Of GRPO and PPO what the first rollout and its updates made of it. */
export const firstLoss = ({ rows }: Trained): number => (rows[0]?.loss ?? rows[0]?.['loss/policy']) as number;
