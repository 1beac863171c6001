import { expect, it } from 'vitest';
import { type Schedule, scheduleFactor, scheduleSchema } from './schedule.js';

const factors = (schedule: Schedule, steps: number): number[] =>
  Array.from({ length: steps }, (_, i) => Number(scheduleFactor(schedule, i + 1, steps).toFixed(6)));

it('constant: linear warm-up that never is 0, then 1', () => {
  expect(factors({ kind: 'constant', warmup_steps: 4 }, 6)).toEqual([0.25, 0.5, 0.75, 1, 1, 1]);
  expect(factors({ kind: 'constant', warmup_steps: 0 }, 2)).toEqual([1, 1]);
});

it('cosine: half a cosine from the end of the warm-up to `final` at the last step', () => {
  // Four steps after the warm-up: 0.1 + 0.9 · ½(1 + cos(π k/4))
  expect(factors({ kind: 'cosine', warmup_steps: 2, final: 0.1 }, 6)).toEqual([0.5, 1, 0.868198, 0.55, 0.231802, 0.1]);
  expect(factors({ kind: 'cosine', warmup_steps: 0, final: 0 }, 2)).toEqual([0.5, 0]);
});

it('trapezoid: constant, then a straight line over the last share to `final`', () => {
  // Ten steps, the last 40 % decay: steps 7, 8, 9, 10.
  expect(factors({ kind: 'trapezoid', warmup_steps: 2, decay: 0.4, final: 0.2 }, 10)).toEqual([
    0.5, 1, 1, 1, 1, 1, 0.8, 0.6, 0.4, 0.2,
  ]);
  expect(factors({ kind: 'trapezoid', warmup_steps: 0, decay: 0, final: 0 }, 3)).toEqual([1, 1, 1]);
});

it('a warm-up longer than the run just ends early', () => {
  expect(factors({ kind: 'cosine', warmup_steps: 10, final: 0 }, 3)).toEqual([0.1, 0.2, 0.3]);
});

it('defaults; unknown keys are refused', () => {
  expect(scheduleSchema.parse({ kind: 'cosine' })).toEqual({ kind: 'cosine', warmup_steps: 0, final: 0.1 });
  expect(scheduleSchema.parse({ kind: 'trapezoid' })).toEqual({
    kind: 'trapezoid',
    warmup_steps: 0,
    decay: 0.3,
    final: 0,
  });
  expect(scheduleSchema.safeParse({ kind: 'constant', final: 0.1 }).success).toBe(false);
});
