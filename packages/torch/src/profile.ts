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
 * On devices that work on their own, the times are those of starting the operators.
 */
export function profile<T>(work: () => T): Profile<T> {
  native.profileStart();
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
