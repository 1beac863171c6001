import { runtimeInfo } from '@dunwu/torch';
import { describe, expect, it, vi } from 'vitest';
import { KeptHost, TestHost } from './testing/host.js';
import { expectAlike, firstLoss, trainOn } from './testing/train-on.js';
import { TRAININGS, type Training } from './testing/trainings.js';

vi.mock('./rollouts.js', async (original) => ({
  ...(await original<object>()),
  ...(await import('./testing/given-rollouts.js')),
}));

const cases = TRAININGS.map((training) => [training.name, training] as const);

/** What devices.test.ts asks of a device that stands for a GPU, of a real one. */
describe.skipIf(runtimeInfo().cudaDevices === 0)('on CUDA', () => {
  it.each(cases)('%s: the numbers of the CPU', async (name, training) => {
    const tolerance = name.includes('Muon') ? { metrics: 1e-2, weights: 5e-2 } : { metrics: 1e-4, weights: 5e-3 };
    expectAlike(await trainOn(training, 'cuda', 'float32'), await trainOn(training, 'cpu', 'float32'), tolerance);
  });

  it('a run is saved and resumed: the same up to the order of sums', async () => {
    const [training] = TRAININGS as [Training];
    const first = new KeptHost();
    first.stopAfter = 1;
    const whole = await trainOn(training, 'cuda', 'float32');
    const begun = await trainOn(training, 'cuda', 'float32', first);
    const resumed = await trainOn(training, 'cuda', 'float32', TestHost.resuming(first, 1));
    const joined = { rows: [...begun.rows, ...resumed.rows], weights: resumed.weights };
    expectAlike(joined, whole, { metrics: 1e-4, weights: 5e-3 });
    first.remove();
  });

  it.each(cases)('%s, in bfloat16', async (_, training) => {
    const [there, here] = [await trainOn(training, 'cuda', 'bfloat16'), await trainOn(training, 'cpu', 'bfloat16')];
    expect(firstLoss(there)).toBeCloseTo(firstLoss(here), 1);
  });
});
