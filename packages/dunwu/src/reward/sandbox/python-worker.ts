import { serveSync } from '../../util/sync-worker.js';
import type { Call, Limits, Outcome } from './case-run.js';
import { type PythonLimits, PythonProcess } from './python-process.js';

/** What the thread is asked for: to have a process ready, or to run a case. */
export type PythonRequest =
  | { readonly limits: Limits; readonly program?: undefined }
  | { readonly limits: Limits; readonly program: string; readonly call: Call };

let snapshot: Promise<Uint8Array> | null = null;
/** A process that gets ready while another one works: starting one takes longer than most programs. */
let spare: PythonProcess | null = null;

async function started(limits: PythonLimits): Promise<PythonProcess> {
  snapshot ??= new PythonProcess(limits, null).snapshot();
  let made: Uint8Array;
  try {
    made = await snapshot;
  } catch (error) {
    snapshot = null;
    throw error;
  }
  return new PythonProcess(limits, made);
}

/** A process that no program has run in, ready. Tried twice: on a machine that is short of memory the first may fail. */
async function fresh(limits: PythonLimits): Promise<PythonProcess> {
  for (let attempt = 1; ; attempt++) {
    let process = spare;
    spare = null;
    const fits =
      process?.alive === true && process.limits.memoryMb === limits.memoryMb && process.limits.timeMs === limits.timeMs;
    if (process !== null && !fits) {
      process.kill();
      process = null;
    }
    try {
      process ??= await started(limits);
      await process.ready();
      return process;
    } catch (error) {
      process?.kill();
      if (attempt === 2) throw error;
    }
  }
}

serveSync<PythonRequest, Outcome | null>(async (request) => {
  const { limits } = request;
  const process = await fresh(limits);
  if (request.program === undefined) {
    spare = process;
    return null;
  }
  // Where there is no room for another one now, the next case waits for its own.
  spare = await started(limits).catch(() => null);
  try {
    const { program, call } = request;
    return await process.ask({ program, ...call, steps: limits.steps }, limits.timeMs);
  } finally {
    process.kill();
  }
});
