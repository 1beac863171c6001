import { SyncWorker } from '../../util/sync-worker.js';
import type { MathsOptions, MathsVerdict } from './equality.js';
import type { MathsRequest } from './worker.js';

/** Heap of the thread, in MiB: an expression that grows without end ends there. */
const MEMORY_MB = 256;
/** Pairs remembered: a group of samples gives the same answers again and again. */
const REMEMBERED = 4096;

let thread: SyncWorker<MathsRequest, MathsVerdict> | null = null;
const known = new Map<string, MathsVerdict | 'timeout'>();

/**
 * {@link compareMaths} (equality.ts) in a thread that is ended after `ms`, its start not counted. The thread starts with the
 * first call and stays; after a timeout the next call has a new one. Never throws for any text.
 * @throws Error when the thread cannot be started
 */
export function judgeMaths(gold: string, answer: string, options: MathsOptions, ms: number): MathsVerdict | 'timeout' {
  const key = JSON.stringify([gold, answer, options.units, options.decimals, options.tolerance, ms]);
  const before = known.get(key);
  if (before !== undefined) return before;
  thread ??= new SyncWorker('reward/maths/worker', { memoryMb: MEMORY_MB });
  const reply = thread.call({ gold, answer, options }, ms);
  // What compareMaths itself throws is a text that it cannot read; it is not known to throw.
  const verdict = reply.status === 'done' ? reply.value : reply.status === 'timeout' ? 'timeout' : 'unparsable';
  if (known.size >= REMEMBERED) known.clear();
  known.set(key, verdict);
  return verdict;
}
