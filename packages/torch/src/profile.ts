import type { Device } from './dtype.js';
import { native } from './native.js';

/** What one operator took, over all its calls. */
export interface OperatorTime {
  /** As the dispatcher knows it, `aten::mm`; nodes of the backward pass by their own names. */
  readonly name: string;
  readonly calls: number;
  /** Wall-clock seconds in it, without those in operators that it called. */
  readonly seconds: number;
  /** Floating-point operations, of matrix products; 0 for everything else. */
  readonly flops: number;
}

export interface Profile<T> {
  readonly result: T;
  /** Wall-clock seconds of the whole, JavaScript included. */
  readonly seconds: number;
  /** The slowest first. */
  readonly operators: readonly OperatorTime[];
}

/**
 * Runs `work` and times every operator in it. Costs about a microsecond a call. One profile at a time: they do not nest.
 *
 * @param device where the work is done. On a CUDA device each operator is waited for, so that its time is its own: one after another,
 *   they take longer together than they do without
 */
export function profile<T>(work: () => T, device: Device = 'cpu'): Profile<T> {
  native.profileStart(device);
  const began = performance.now();
  let operators: OperatorTime[] = [];
  try {
    const result = work();
    const seconds = (performance.now() - began) / 1000;
    operators = native.profileStop();
    return { result, seconds, operators: operators.sort((a, b) => b.seconds - a.seconds) };
  } catch (error) {
    native.profileStop();
    throw error;
  }
}
