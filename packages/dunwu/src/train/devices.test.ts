import { op } from '@dunwu/torch';
import { describe, expect, it, vi } from 'vitest';
import { KeptHost, TestHost } from './testing/host.js';
import { expectAlike, firstLoss, trainOn } from './testing/train-on.js';
import { TRAININGS } from './testing/trainings.js';

vi.mock('./rollouts.js', async (original) => ({
  ...(await original<object>()),
  ...(await import('./testing/given-rollouts.js')),
}));

/** A device that is not the CPU, and refuses tensors of the CPU: native/stand_in.cpp. */
const device = op('dunwu::stand_in')() as string;
const waits = (): number => op('dunwu::stand_in_waits')() as number;

const cases = TRAININGS.map((training) => [training.name, training] as const);

describe('on a device that is not the CPU', () => {
  it.each(cases)('%s: one wait a step, and the numbers of the CPU', async (name, training) => {
    waits();
    const there = await trainOn(training, device, 'float32');
    // One more for each weight that is looked at here.
    expect(waits()).toBe(training.waits + there.weights.size);
    // Muon's iterations are in bfloat16: they enlarge what is apart.
    const tolerance = name.includes('Muon') ? { metrics: 1e-4, weights: 1e-2 } : { metrics: 1e-5, weights: 1e-3 };
    expectAlike(there, await trainOn(training, 'cpu', 'float32'), tolerance);
  });

  it.each(cases)('%s, in bfloat16', async (_, training) => {
    waits();
    const there = await trainOn(training, device, 'bfloat16');
    expect(waits()).toBe(training.waits + there.weights.size);
    // Later a rounded number chooses another expert, and AdamW moves a weight by its rate however small the gradient.
    const here = await trainOn(training, 'cpu', 'bfloat16');
    expect(firstLoss(there)).toBeCloseTo(firstLoss(here), 1);
    expect([...there.weights.values()].flat().every(Number.isFinite)).toBe(true);
  });

  it.each(cases.filter(([name]) => /AdamW|Muon|sft|ppo/.test(name)))('%s: resumed bit for bit', async (_, training) => {
    const whole = await trainOn(training, device, 'float32');
    const first = new KeptHost();
    first.stopAfter = 1;
    const begun = await trainOn(training, device, 'float32', first);
    const resumed = await trainOn(training, device, 'float32', TestHost.resuming(first, 1));
    expect([...begun.rows, ...resumed.rows]).toEqual(whole.rows);
    expect(resumed.weights).toEqual(whole.weights);
    first.remove();
  });
});
