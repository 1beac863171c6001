import { expect, it } from 'vitest';
import { Random } from '../util/random.js';
import { calibration } from './calibration.js';

it('bins and error by hand', () => {
  const { bins, error } = calibration(
    [
      { probability: 0.1, outcome: 0 },
      { probability: 0.3, outcome: 1 },
      { probability: 0.9, outcome: 1 },
      { probability: 1, outcome: 0.5 },
    ],
    { bins: 2 },
  );
  expect(bins).toEqual([
    { low: 0, high: 0.5, count: 2, forecast: expect.closeTo(0.2, 12), observed: 0.5 },
    { low: 0.5, high: 1, count: 2, forecast: expect.closeTo(0.95, 12), observed: 0.75 },
  ]);
  // ½ · |0.5 − 0.2| + ½ · |0.75 − 0.95|
  expect(error).toBeCloseTo(0.25, 12);
});

it('from ½ the bins are half as wide; the ends belong to the first and the last', () => {
  const { bins } = calibration(
    [0.5, 0.56, 0.96, 1].map((probability) => ({ probability, outcome: 1 })),
    { from: 0.5 },
  );
  expect(bins.map(({ count }) => count)).toEqual([1, 1, 0, 0, 0, 0, 0, 0, 0, 2]);
  expect(bins[1]?.low).toBeCloseTo(0.55, 12);
  expect(bins[2]?.observed).toBeNaN();
});

it('forecasts that happen as often as they say have nearly no error; too sure ones have one', () => {
  const rng = new Random('calibration');
  const forecasts = Array.from({ length: 20_000 }, () => {
    const probability = rng.next();
    return { probability, outcome: rng.chance(probability) ? 1 : 0 };
  });
  expect(calibration(forecasts).error).toBeLessThan(0.02);
  const sure = forecasts.map(({ probability, outcome }) => ({ probability: probability > 0.5 ? 1 : 0, outcome }));
  expect(calibration(sure).error).toBeCloseTo(0.25, 1);
});

it('refuses what is no probability', () => {
  expect(() => calibration([{ probability: 0.4, outcome: 1 }], { from: 0.5 })).toThrow('0.4 is outside 0.5..1');
  expect(() => calibration([{ probability: Number.NaN, outcome: 1 }])).toThrow('NaN');
  expect(calibration([]).error).toBeNaN();
});
