import type { Device, DType } from './dtype.js';
import { copyToDevice } from './host-copy.js';
import { type NumericArray, native } from './native.js';
import { adopt } from './scope.js';
import type { Tensor } from './tensor.js';

type Nested = number | boolean | readonly Nested[];

/** By the name that typed arrays and their subclasses (Node's Buffer) carry. */
const ARRAYS: Readonly<Record<string, DType>> = {
  Float32Array: 'float32',
  Float64Array: 'float64',
  Int8Array: 'int8',
  Uint8Array: 'uint8',
  Int16Array: 'int16',
  Uint16Array: 'uint16',
  Int32Array: 'int32',
  Uint32Array: 'uint32',
  BigInt64Array: 'int64',
  BigUint64Array: 'uint64',
};

export interface TensorOptions {
  /** Default: float32 for nested arrays of numbers, bool for booleans, the array's own type for typed arrays. */
  readonly dtype?: DType;
  /** Shape of a typed array's values; default one dimension. */
  readonly shape?: readonly number[];
  readonly requiresGrad?: boolean;
  /** Default the CPU; see {@link copyToDevice}. */
  readonly device?: Device;
}

function isTyped(data: unknown): data is NumericArray {
  return ArrayBuffer.isView(data) && !(data instanceof DataView);
}

function dtypeOf(array: NumericArray): DType {
  const dtype = ARRAYS[array[Symbol.toStringTag]];
  if (dtype !== undefined) return dtype;
  throw new Error(
    `tensor: ${array[Symbol.toStringTag]} is not supported; supported: ${Object.keys(ARRAYS).join(', ')}`,
  );
}

/**
 * A tensor from nested arrays of numbers or from a typed array, copied.
 * @throws Error when nested arrays are ragged, or when shape and number of values differ.
 */
export function tensor(data: Nested | NumericArray, options: TensorOptions = {}): Tensor {
  if (isTyped(data)) {
    const made = adopt(native.fromBuffer(data, dtypeOf(data), options.shape ?? [data.length], false));
    return finish(made, options);
  }
  const shape: number[] = [];
  for (let level: Nested | undefined = data; Array.isArray(level); level = level[0] as Nested | undefined)
    shape.push(level.length);
  const flat: (number | boolean)[] = [];
  const walk = (value: Nested, depth: number): void => {
    if (Array.isArray(value)) {
      if (depth >= shape.length || value.length !== shape[depth]) {
        const expected = depth >= shape.length ? 'a number' : `${shape[depth]} entries`;
        const got = depth >= shape.length ? 'an array' : value.length;
        throw new Error(`tensor: ragged nested array: expected ${expected} at depth ${depth}, got ${got}`);
      }
      for (const entry of value as readonly Nested[]) walk(entry, depth + 1);
    } else {
      if (depth !== shape.length)
        throw new Error(`tensor: ragged nested array: a number at depth ${depth}, arrays elsewhere`);
      flat.push(value as number | boolean);
    }
  };
  walk(data, 0);
  const dtype = options.dtype ?? (typeof flat[0] === 'boolean' ? 'bool' : 'float32');
  if (dtype === 'int64' || dtype === 'uint64') {
    const values = new BigInt64Array(flat.length);
    for (let i = 0; i < flat.length; i++) values[i] = BigInt(flat[i] as number | boolean);
    return finish(adopt(native.fromBuffer(values, 'int64', shape, false)), options);
  }
  const exact = dtype === 'float32' ? Float32Array.from(flat, Number) : Float64Array.from(flat, Number);
  return finish(adopt(native.fromBuffer(exact, dtype === 'float32' ? 'float32' : 'float64', shape, false)), {
    ...options,
    dtype,
  });
}

function finish(made: Tensor, options: TensorOptions): Tensor {
  let result = made;
  if (options.dtype !== undefined && options.dtype !== made.dtype) {
    result = made.to(options.dtype);
    made.dispose();
  }
  if (options.shape !== undefined && String(options.shape) !== String(result.shape)) {
    const flat = result;
    result = flat.reshape(options.shape);
    flat.dispose();
  }
  if (options.device !== undefined && options.device !== 'cpu') {
    const here = result;
    result = copyToDevice(here, options.device);
    here.dispose();
  }
  if (options.requiresGrad === true) result.requiresGrad = true;
  return result;
}

/**
 * A CPU tensor that looks at the typed array's own memory: no copy, writes are seen on both sides. The array is kept
 * alive for as long as the tensor is; its buffer must not be transferred or resized meanwhile.
 */
export function shareMemory(data: NumericArray, shape: readonly number[] = [data.length]): Tensor {
  return adopt(native.fromBuffer(data, dtypeOf(data), shape, true));
}
