import type { Device, DType } from './dtype.js';
import { TensorOperators } from './generated/methods.js';
import { HANDLE, type NumericArray, native } from './native.js';
import { adopt, release } from './scope.js';

/**
 * A libtorch tensor. The object holds a number; the memory belongs to whoever owns the tensor (see scope.ts).
 * Arithmetic and the other operators come from the generated base class, one method per operator.
 */
export class Tensor extends TensorOperators implements Disposable {
  /** @internal use `tensor()`, `zeros()` and the other factories. */
  constructor(handle: number) {
    super();
    (this as unknown as Record<symbol, number>)[HANDLE] = handle;
  }

  /** Sizes of the dimensions. */
  get shape(): number[] {
    return native.shape(this);
  }

  /** Size of one dimension; negative numbers count from the end. */
  size(dim: number): number {
    const shape = native.shape(this);
    const size = shape[dim < 0 ? dim + shape.length : dim];
    if (size === undefined) throw new Error(`size(${dim}): the tensor is ${native.describe(this)}`);
    return size;
  }

  /** Elements to step over per dimension. */
  get strides(): number[] {
    return native.strides(this);
  }

  get dtype(): DType {
    return native.dtype(this) as DType;
  }

  get device(): Device {
    return native.device(this);
  }

  /** Number of elements. */
  get numel(): number {
    return native.numel(this);
  }

  get isContiguous(): boolean {
    return native.isContiguous(this);
  }

  /** False once the tensor was freed. */
  get alive(): boolean {
    return ((this as unknown as Record<symbol, number>)[HANDLE] as number) >= 0;
  }

  /** The values in row-major order, copied; bfloat16 and float16 as float32, int64 as bigint, bool as 0 and 1. */
  data(): NumericArray {
    return native.toBuffer(this);
  }

  /** The values in row-major order as plain numbers (int64 beyond 2^53 loses digits). */
  numbers(): number[] {
    const data = native.toBuffer(this);
    return Array.from(data as ArrayLike<number | bigint>, Number);
  }

  /** The raw bytes in the tensor's own dtype, little-endian, copied. */
  bytes(): Uint8Array {
    return native.toBytes(this);
  }

  /** The only element as a number. @throws Error when there is not exactly one. */
  item(): number {
    return Number(native.item(this));
  }

  // Autograd ---------------------------------------------------------------------------------------------------------

  get requiresGrad(): boolean {
    return native.requiresGrad(this);
  }

  set requiresGrad(value: boolean) {
    native.setRequiresGrad(this, value);
  }

  get isLeaf(): boolean {
    return native.isLeaf(this);
  }

  /** The gradient accumulated by `backward()`, or null. */
  get grad(): Tensor | null {
    const handle = native.gradient(this);
    return handle === null ? null : adopt(handle);
  }

  set grad(value: Tensor | null) {
    native.setGradient(this, value);
  }

  /**
   * Accumulates d this / d leaf into the `grad` of every leaf that requires one.
   * @param gradient same shape as this; may be left out when this has one element.
   */
  backward(gradient: Tensor | null = null, { retainGraph = false } = {}): void {
    native.backward([this], [gradient], retainGraph);
  }

  // Ownership --------------------------------------------------------------------------------------------------------

  /** Frees the memory now; harmless when already freed. */
  dispose(): void {
    release(this);
  }

  [Symbol.dispose](): void {
    release(this);
  }

  /** True when both tensors look at the same memory. */
  sharesMemoryWith(other: Tensor): boolean {
    return native.sameStorage(this, other);
  }

  /** Such as `float32[2, 3]`. */
  override toString(): string {
    return this.alive ? native.describe(this) : 'freed tensor';
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    if (!this.alive) return 'Tensor(freed)';
    const values = this.numel <= 64 ? ` ${JSON.stringify(this.numbers())}` : '';
    return `Tensor(${native.describe(this)})${values}`;
  }
}
