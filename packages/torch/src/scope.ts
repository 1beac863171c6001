import { HANDLE, native } from './native.js';
import { Tensor } from './tensor.js';

/**
 * Who frees a tensor. Inside a scope: the scope, when its function returns. Outside: `dispose()` (or `using`), and as
 * the last net the garbage collector, which is told the true size of what hangs on the small JavaScript object.
 */

let current: Tensor[] | null = null;

const lastNet = new FinalizationRegistry<{ handle: number; bytes: number }>(({ handle, bytes }) => {
  native.release(handle);
  if (bytes > 0) native.adjustExternalMemory(-bytes);
});
const charged = new WeakMap<Tensor, number>();

function leaveToCollector(tensor: Tensor): void {
  const bytes = native.storageBytes(tensor);
  if (bytes > 0) native.adjustExternalMemory(bytes);
  charged.set(tensor, bytes);
  lastNet.register(tensor, { handle: tensor[HANDLE as never] as number, bytes }, tensor);
}

/** Makes a Tensor of a handle that the addon just returned, and gives it an owner. */
export function adopt(handle: number): Tensor {
  const tensor = new Tensor(handle);
  if (current !== null) current.push(tensor);
  else leaveToCollector(tensor);
  return tensor;
}

/** Frees a tensor now. Freeing twice is harmless; using it afterwards throws. */
export function release(tensor: Tensor): void {
  const holder = tensor as unknown as Record<symbol, number>;
  const handle = holder[HANDLE] as number;
  if (handle < 0) return;
  holder[HANDLE] = -1;
  native.release(handle);
  const bytes = charged.get(tensor);
  if (bytes !== undefined) {
    lastNet.unregister(tensor);
    charged.delete(tensor);
    if (bytes > 0) native.adjustExternalMemory(-bytes);
  }
}

function collect(value: unknown, into: Set<Tensor>, depth = 0): void {
  if (value instanceof Tensor) {
    into.add(value);
    return;
  }
  if (value === null || typeof value !== 'object' || depth > 8) return;
  if (Array.isArray(value)) {
    for (const entry of value) collect(entry, into, depth + 1);
    return;
  }
  if (value instanceof Map) {
    for (const entry of value.values()) collect(entry, into, depth + 1);
    return;
  }
  const prototype = Object.getPrototypeOf(value) as unknown;
  if (prototype === Object.prototype || prototype === null) {
    for (const entry of Object.values(value)) collect(entry, into, depth + 1);
  }
}

/**
 * Runs `body` and frees every tensor made inside it that it does not return. Tensors are found in the result itself and
 * in arrays, maps and plain objects within it; they pass to the enclosing scope, or to the caller.
 *
 * @throws Error when `body` returns a promise: an asynchronous function would outlive its scope.
 */
export function scope<T>(body: () => T): T {
  const outer = current;
  const owned: Tensor[] = [];
  current = owned;
  let result: T;
  try {
    result = body();
  } catch (error) {
    current = outer;
    for (const tensor of owned) release(tensor);
    throw error;
  }
  current = outer;
  if (result instanceof Promise) {
    for (const tensor of owned) release(tensor);
    throw new Error('scope: the function returned a promise; await outside the scope and keep the scope synchronous');
  }
  const kept = new Set<Tensor>();
  collect(result, kept);
  for (const tensor of owned) {
    if (!kept.has(tensor)) release(tensor);
    else if (outer !== null) outer.push(tensor);
    else if ((tensor[HANDLE as never] as number) >= 0) leaveToCollector(tensor);
  }
  return result;
}

/**
 * Takes a tensor out of the scopes it is in: it now lives until `dispose()` or the collector. For parameters and caches
 * that are made inside a scope but belong to an object.
 */
export function keep(tensor: Tensor): Tensor {
  const handle = native.alias(tensor);
  const kept = new Tensor(handle);
  leaveToCollector(kept);
  return kept;
}

/** How many tensors JavaScript holds at the moment. */
export function liveTensors(): number {
  return native.liveTensors();
}
