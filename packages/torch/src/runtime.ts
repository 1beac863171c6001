import type { Device } from './dtype.js';
import { native, type RuntimeInfo } from './native.js';
import { op } from './operator.js';

/**
 * Of float32 products. 'highest' is the plain library. On CUDA the others are TF32. On the CPU 'high' allows three products of
 * bfloat16 for one (shortLinear), and 'medium' oneDNN's path: at float32 accuracy, but rounded to bfloat16 where there is AMX (and
 * so in shortLinear).
 */
export type MatmulPrecision = 'highest' | 'high' | 'medium';

export function setFloat32MatmulPrecision(precision: MatmulPrecision): void {
  // libtorch only warns about an unknown name, and goes on as before.
  if (!['highest', 'high', 'medium'].includes(precision)) {
    throw new Error(`setFloat32MatmulPrecision: unknown precision '${precision}'; known: highest, high, medium`);
  }
  native.setFloat32MatmulPrecision(precision);
}

export function getFloat32MatmulPrecision(): MatmulPrecision {
  return native.float32MatmulPrecision() as MatmulPrecision;
}

/** Runs `body` under a precision of float32 products; it is what it was after, whatever becomes of it. */
export function withFloat32MatmulPrecision<T>(precision: MatmulPrecision, body: () => T): T {
  const before = getFloat32MatmulPrecision();
  setFloat32MatmulPrecision(precision);
  try {
    return body();
  } finally {
    setFloat32MatmulPrecision(before);
  }
}

/** Threads inside one operator. @throws Error below 1. */
export function setThreads(count: number): void {
  native.setThreads(count);
}

export function getThreads(): number {
  return native.threads();
}

/** Operators with several implementations take the deterministic one; those without one throw. */
export function setDeterministic(value: boolean): void {
  native.setDeterministic(value);
}

/** Version, instruction set, libraries and devices that libtorch reports. */
export function runtimeInfo(): RuntimeInfo {
  return native.runtimeInfo();
}

/** Waits until the device has done all it was given; nothing to wait for on the CPU. */
export function synchronize(device: Device): void {
  native.synchronize(device);
}

/** The most bytes that tensors have had on a device at one time. @throws Error for the CPU, whose allocator does not count */
export function peakMemory(device: Device): number {
  return op('dunwu::peak_memory')(device) as number;
}

/**
 * Keeps freed blocks in the process for the next step instead of giving them back to the system, which costs a small
 * model about a third of its training step under glibc. Returns false where the C library has no such setting.
 */
export function keepFreedMemory(keep: boolean): boolean {
  return native.keepFreedMemory(keep);
}
