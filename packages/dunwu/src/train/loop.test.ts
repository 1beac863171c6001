import { afterEach, expect, it } from 'vitest';
import { type LoopPlan, trainingLoop } from './loop.js';
import { TestHost } from './testing/host.js';

const hosts: TestHost[] = [];
afterEach(() => {
  for (const host of hosts.splice(0)) host.dispose();
});

/** Counts its steps; `events` has all that the loop asks for, in order. */
function counter(host: TestHost, steps: number, saveEvery: number): { plan: LoopPlan; events: string[] } {
  hosts.push(host);
  const events: string[] = [];
  return {
    events,
    plan: {
      label: 'count',
      steps,
      saveEvery,
      unit: 'steps',
      step: async (n) => {
        events.push(`step ${n}`);
        return { metrics: { n }, show: {}, amount: 10 * n };
      },
      save: async () => {
        events.push(`save after ${host.rows.length} lines`);
      },
      load: () => {
        events.push('load');
        return 0;
      },
    },
  };
}

it('saves at every interval and at the end, after the step’s metrics', async () => {
  const host = new TestHost();
  const { plan, events } = counter(host, 5, 2);
  expect(await trainingLoop(host, plan)).toBe('done');
  expect(events).toEqual([
    'step 1',
    'step 2',
    'save after 2 lines',
    'step 3',
    'step 4',
    'save after 4 lines',
    'step 5',
    'save after 5 lines',
  ]);
  expect(host.saved).toEqual([2, 4, 5]);
  expect(host.rows).toEqual([1, 2, 3, 4, 5].map((n) => ({ step: n, n })));
});

it('told to stop: saves and says so; told at the last step it is done all the same', async () => {
  const host = new TestHost();
  host.stopAfter = 3;
  expect(await trainingLoop(host, counter(host, 5, 100).plan)).toBe('interrupted');
  expect(host.saved).toEqual([3]);
  const last = new TestHost();
  last.stopAfter = 5;
  expect(await trainingLoop(last, counter(last, 5, 100).plan)).toBe('done');
  expect(last.saved).toEqual([5]);
});

it('goes on after the checkpoint; after the last one there is nothing to do', async () => {
  const first = new TestHost();
  await trainingLoop(first, counter(first, 5, 2).plan);
  const from4 = TestHost.resuming(first, 4);
  const { plan, events } = counter(from4, 5, 2);
  expect(await trainingLoop(from4, plan)).toBe('done');
  expect(events).toEqual(['load', 'step 5', 'save after 1 lines']);
  const from5 = TestHost.resuming(first, 5);
  const end = counter(from5, 5, 2);
  expect(await trainingLoop(from5, end.plan)).toBe('done');
  expect(end.events).toEqual(['load']);
});
