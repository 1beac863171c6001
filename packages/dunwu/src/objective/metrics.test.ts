import { liveTensors, scope, tensor } from '@dunwu/torch';
import { expect, it } from 'vitest';
import { combineMetrics, type Metrics } from './metrics.js';

const number = (value: number) => tensor(new Float64Array([value])).sum();

it('combines means by sum and count, sums by adding, maxima by the largest', () => {
  scope(() => {
    const first: Metrics = {
      mean: { kind: 'mean', sum: number(3), count: 2 },
      weighted: { kind: 'mean', sum: number(1), count: number(4) },
      part: { kind: 'sum', value: number(0.25) },
      top: { kind: 'max', value: number(-5) },
    };
    const second: Metrics = {
      top: { kind: 'max', value: number(-2) },
      part: { kind: 'sum', value: number(0.5) },
      weighted: { kind: 'mean', sum: number(8), count: number(2) },
      mean: { kind: 'mean', sum: number(9), count: 1 },
      late: { kind: 'mean', sum: number(6), count: 3 },
    };
    // mean (3+9)/(2+1), weighted (1+8)/(4+2); "late" only in the second
    expect(combineMetrics([first, second])).toEqual({ mean: 4, weighted: 1.5, part: 0.75, top: -2, late: 2 });
    expect(Object.keys(combineMetrics([first, second]))).toEqual(['mean', 'weighted', 'part', 'top', 'late']);
  });
});

it('does not hide what is not a number', () => {
  scope(() => {
    const bad: Metrics = { top: { kind: 'max', value: number(Number.NaN) } };
    const good: Metrics = { top: { kind: 'max', value: number(1) } };
    expect(combineMetrics([bad, good])).toEqual({ top: Number.NaN });
    expect(combineMetrics([good, bad])).toEqual({ top: Number.NaN });
    expect(combineMetrics([{ mean: { kind: 'mean', sum: number(0), count: 0 } }])).toEqual({ mean: Number.NaN });
  });
});

it('mixes element types, gives nothing for nothing, and leaves no tensor behind', () => {
  scope(() => {
    const single = tensor([1.5]).sum();
    const metrics: Metrics = { a: { kind: 'sum', value: single }, b: { kind: 'sum', value: number(2) } };
    const before = liveTensors();
    expect(combineMetrics([metrics])).toEqual({ a: 1.5, b: 2 });
    expect(combineMetrics([])).toEqual({});
    expect(liveTensors()).toBe(before);
  });
});

it('refuses one name for two kinds', () => {
  scope(() => {
    const sum: Metrics = { x: { kind: 'sum', value: number(1) } };
    const max: Metrics = { x: { kind: 'max', value: number(1) } };
    expect(() => combineMetrics([sum, max])).toThrow("'x' is a sum in one micro-batch, a max in another");
  });
});
