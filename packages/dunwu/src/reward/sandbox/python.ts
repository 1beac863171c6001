import { SyncWorker } from '../../util/sync-worker.js';
import type { Outcome, RunCase } from './case-run.js';
import type { PythonRequest } from './python-worker.js';

/** For getting an interpreter ready, twice, on a slow machine; the run itself is ended by the thread. */
const START_MS = 600_000;

let worker: SyncWorker<PythonRequest, Outcome> | null = null;

/**
 * Runs a Python program in Pyodide (CPython compiled to WebAssembly), in a process without rights that each program has to
 * itself, and in an interpreter that each run has to itself. See python-process.ts for what holds it.
 * @throws Error when such a process cannot be started.
 */
export const runPython: RunCase = (program, call, limits) => {
  worker ??= new SyncWorker('reward/sandbox/python-worker');
  const reply = worker.call({ program, call, limits }, limits.timeMs + START_MS);
  if (reply.status === 'timeout') throw new Error(`the Python sandbox does not answer in ${START_MS / 60_000} minutes`);
  if (reply.status === 'failed') throw new Error(reply.error);
  return reply.value;
};
