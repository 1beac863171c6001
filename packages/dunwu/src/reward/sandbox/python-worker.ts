import { serveSync } from '../../util/sync-worker.js';
import type { Call, Limits, Outcome } from './case-run.js';
import { PythonProcess } from './python-process.js';

export interface PythonRequest {
  readonly program: string;
  readonly call: Call;
  readonly limits: Limits;
}

let snapshot: Promise<Uint8Array> | null = null;
/** The process of the program that is judged now. */
let current: { readonly program: string; readonly process: PythonProcess } | null = null;
/** A process that gets ready while another one works: starting one takes longer than most programs. */
let spare: PythonProcess | null = null;

async function started(memoryMb: number): Promise<PythonProcess> {
  snapshot ??= new PythonProcess(memoryMb, null).snapshot();
  let made: Uint8Array;
  try {
    made = await snapshot;
  } catch (error) {
    snapshot = null;
    throw error;
  }
  return new PythonProcess(memoryMb, made);
}

/** A process that no program has run in, ready. Tried twice: on a machine that is short of memory the first may fail. */
async function fresh(memoryMb: number): Promise<PythonProcess> {
  for (let attempt = 1; ; attempt++) {
    let process = spare;
    spare = null;
    if (process !== null && (!process.alive || process.memoryMb !== memoryMb)) {
      process.kill();
      process = null;
    }
    try {
      process ??= await started(memoryMb);
      await process.ready();
      return process;
    } catch (error) {
      process?.kill();
      if (attempt === 2) throw error;
    }
  }
}

serveSync<PythonRequest, Outcome>(async ({ program, call, limits }) => {
  if (current !== null && current.program === program && current.process.alive) {
    await current.process.ready().catch(() => current?.process.kill());
  }
  if (current === null || current.program !== program || !current.process.alive) {
    current?.process.kill();
    current = { program, process: await fresh(limits.memoryMb) };
    spare = await started(limits.memoryMb);
  }
  const { entry, args, input } = call as { entry?: string; args?: string; input?: string };
  return current.process.ask({ program, entry, args, input, steps: limits.steps }, limits.timeMs);
});
