import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';
import type { DType } from '../dtype.js';
import { tensor } from '../factory.js';
import { Tensor } from '../tensor.js';

/** A tensor in the golden files: dtype, shape, values; NaN and the infinities are strings. See scripts/golden_ops.py. */
export interface Encoded {
  readonly t: DType;
  readonly s: readonly number[];
  readonly v: readonly (number | boolean | string)[];
}

export const goldenPath = (name: string): string => fileURLToPath(new URL(`golden/${name}`, import.meta.url));
export const readGolden = <T>(name: string): T => JSON.parse(readFileSync(goldenPath(name), 'utf8')) as T;

export const isEncoded = (value: unknown): value is Encoded =>
  typeof value === 'object' && value !== null && 't' in value && 's' in value && 'v' in value;

export function decode({ t, s, v }: Encoded): Tensor {
  if (t === 'int64')
    return tensor(
      BigInt64Array.from(v, (x) => BigInt(Number(x))),
      { shape: s },
    );
  return tensor(Float64Array.from(v, Number), { shape: s, dtype: t });
}

/** Replaces encoded tensors, at any depth of arrays, by tensors, and the strings for NaN and infinities by numbers. */
export function decodeAll(value: unknown): unknown {
  if (isEncoded(value)) return decode(value);
  if (Array.isArray(value)) return value.map(decodeAll);
  if (value === 'NaN' || value === 'Infinity' || value === '-Infinity') return Number(value);
  return value;
}

const TOLERANCE: Partial<Record<DType, number>> = { float32: 2e-6, float64: 1e-12, bfloat16: 8e-3, float16: 1e-3 };

/** Same dtype, shape and values: exactly for integers and bools, within a few roundings for floats. */
export function expectTensor(actual: unknown, expected: Encoded, tolerance = TOLERANCE[expected.t] ?? 0): void {
  if (!(actual instanceof Tensor)) throw new Error(`expected a tensor, got ${typeof actual}`);
  expect({ dtype: actual.dtype, shape: actual.shape }).toEqual({ dtype: expected.t, shape: expected.s });
  const values = actual.numbers();
  const wanted = expected.v.map(Number);
  for (const [i, want] of wanted.entries()) {
    const got = values[i] as number;
    const close = Number.isFinite(want)
      ? Math.abs(got - want) <= tolerance * (1 + Math.abs(want))
      : Object.is(got, want);
    if (!close) expect(values, `value ${i}`).toEqual(wanted); // shows both
  }
}

export const closeTo = (values: readonly number[], digits = 5): unknown[] =>
  values.map((v) => expect.closeTo(v, digits));
