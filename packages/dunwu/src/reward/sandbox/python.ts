import { SyncWorker } from '../../util/sync-worker.js';
import type { Limits, Outcome, RunCase } from './case-run.js';
import type { PythonRequest } from './python-worker.js';

/** For getting a process ready, twice, on a slow machine. The run itself is ended by the thread, which has its limit. */
const ANSWER_MS = 600_000;

let worker: SyncWorker<PythonRequest, Outcome | null> | null = null;

function ask(request: PythonRequest): Outcome | null {
  worker ??= new SyncWorker('reward/sandbox/python-worker');
  const reply = worker.call(request, request.limits.timeMs + ANSWER_MS);
  if (reply.status === 'timeout')
    throw new Error(`the Python sandbox does not answer in ${ANSWER_MS / 60_000} minutes`);
  if (reply.status === 'failed') throw new Error(reply.error);
  return reply.value;
}

/**
 * Waits until a process is ready to run a case with these limits, so that the next run's time is its own.
 * @throws Error when none can be started.
 */
export function readyPython(limits: Limits): void {
  ask({ limits });
}

/**
 * Runs a Python program in Pyodide (CPython compiled to WebAssembly), in a process without rights that each run has to
 * itself. See python-process.ts for what holds it.
 * @throws Error when such a process cannot be started.
 */
export const runPython: RunCase = (program, call, limits) => {
  const outcome = ask({ program, call, limits });
  if (outcome === null) throw new Error('the Python sandbox gave no outcome');
  return outcome;
};
