import { SyncWorker } from '../../util/sync-worker.js';
import type { Outcome, RunCase } from './case-run.js';
import type { JavaScriptRequest } from './javascript-worker.js';

/** Heap of the thread, in MiB, beside the sandbox's own memory, which is outside it. */
const THREAD_MB = 128;

let worker: SyncWorker<JavaScriptRequest, Outcome> | null = null;

/**
 * Runs a JavaScript program in QuickJS compiled to WebAssembly, with a memory of its own, in a thread that is ended when
 * the clock says so. The sandbox has the language and no more: no files, no network, no timers, no real time.
 * @throws Error when the thread cannot be started.
 */
export const runJavaScript: RunCase = (program, call, limits) => {
  worker ??= new SyncWorker('reward/sandbox/javascript-worker', { memoryMb: THREAD_MB });
  const reply = worker.call({ program, call, limits }, limits.timeMs);
  if (reply.status === 'timeout') return { kind: 'timeout', why: `more than ${limits.timeMs / 1000} s` };
  if (reply.status === 'failed') throw new Error(`the JavaScript sandbox does not work: ${reply.error}`);
  return reply.value;
};
