import { describe, expect, it } from 'vitest';
import { type DType, itemSize, shareMemory, type Tensor, tensor, zeros } from './index.js';

describe('data in and out', () => {
  const values: Record<DType, { in: number[]; out: unknown; bytes: number[] }> = {
    float32: { in: [1.5, -2], out: Float32Array.of(1.5, -2), bytes: [0, 0, 0xc0, 0x3f, 0, 0, 0, 0xc0] },
    float64: { in: [1.5], out: Float64Array.of(1.5), bytes: [0, 0, 0, 0, 0, 0, 0xf8, 0x3f] },
    bfloat16: { in: [1.5, -2], out: Float32Array.of(1.5, -2), bytes: [0xc0, 0x3f, 0, 0xc0] },
    float16: { in: [1.5, -2], out: Float32Array.of(1.5, -2), bytes: [0, 0x3e, 0, 0xc0] },
    int64: { in: [-1, 3], out: BigInt64Array.of(-1n, 3n), bytes: [...Array(8).fill(255), 3, 0, 0, 0, 0, 0, 0, 0] },
    int32: { in: [-1, 3], out: Int32Array.of(-1, 3), bytes: [255, 255, 255, 255, 3, 0, 0, 0] },
    int16: { in: [-1, 300], out: Int16Array.of(-1, 300), bytes: [255, 255, 0x2c, 1] },
    int8: { in: [-128, 127], out: Int8Array.of(-128, 127), bytes: [0x80, 0x7f] },
    uint8: { in: [0, 255], out: Uint8Array.of(0, 255), bytes: [0, 255] },
    bool: { in: [1, 0], out: Uint8Array.of(1, 0), bytes: [1, 0] },
    uint16: { in: [65535], out: Uint16Array.of(65535), bytes: [255, 255] },
    uint32: { in: [4294967295], out: Uint32Array.of(4294967295), bytes: [255, 255, 255, 255] },
    uint64: { in: [258], out: BigUint64Array.of(258n), bytes: [2, 1, 0, 0, 0, 0, 0, 0] },
  };
  for (const [dtype, { in: given, out, bytes }] of Object.entries(values) as [DType, (typeof values)['bool']][]) {
    it(`${dtype}: nested numbers, typed arrays, raw bytes`, () => {
      const made = tensor(given, { dtype });
      expect(made.dtype).toBe(dtype);
      expect(made.shape).toEqual([given.length]);
      expect(made.data()).toEqual(out);
      expect(made.numbers()).toEqual(given);
      expect([...made.bytes()]).toEqual(bytes);
      expect(made.bytes().length).toBe(itemSize[dtype] * given.length);
    });
  }

  it('keeps the type of a typed array', () => {
    const arrays = [
      [Float32Array.of(1), 'float32'],
      [Float64Array.of(1), 'float64'],
      [Int8Array.of(1), 'int8'],
      [Uint8Array.of(1), 'uint8'],
      [Int16Array.of(1), 'int16'],
      [Uint16Array.of(1), 'uint16'],
      [Int32Array.of(1), 'int32'],
      [Uint32Array.of(1), 'uint32'],
      [BigInt64Array.of(-(2n ** 63n)), 'int64'],
      [BigUint64Array.of(2n ** 64n - 1n), 'uint64'],
    ] as const;
    for (const [array, dtype] of arrays) {
      const made = tensor(array);
      expect(made.dtype).toBe(dtype);
      expect(made.data()).toEqual(array);
    }
  });

  it('takes a part of a larger buffer, shapes and other dtypes', () => {
    const whole = Float32Array.of(9, 1, 2, 3, 4, 9);
    const part = tensor(whole.subarray(1, 5), { shape: [2, 2], dtype: 'int64' });
    expect([part.shape, part.dtype, part.numbers()]).toEqual([[2, 2], 'int64', [1, 2, 3, 4]]);
    expect(tensor(Buffer.from([1, 2, 3])).numbers()).toEqual([1, 2, 3]); // Node's pool: any offset
  });

  it('reads nested arrays', () => {
    expect(tensor(3).shape).toEqual([]);
    expect(tensor([]).shape).toEqual([0]);
    expect(tensor([[], []]).shape).toEqual([2, 0]);
    expect(
      tensor([
        [[1], [2]],
        [[3], [4]],
      ]).shape,
    ).toEqual([2, 2, 1]);
    expect(tensor([true, false]).dtype).toBe('bool');
    expect(
      tensor(
        [
          [1, 2],
          [3, 4],
        ],
        { shape: [4] },
      ).numbers(),
    ).toEqual([1, 2, 3, 4]);
    expect(tensor([1], { requiresGrad: true }).requiresGrad).toBe(true);
  });

  it('refuses ragged arrays and shapes that do not fit', () => {
    expect(() => tensor([[1, 2], [3]])).toThrow('ragged nested array: expected 2 entries at depth 1, got 1');
    expect(() => tensor([[1], 2])).toThrow('ragged nested array: a number at depth 1');
    expect(() => tensor([1, [2]])).toThrow('ragged nested array: expected a number at depth 1, got an array');
    expect(() => tensor(new Uint8ClampedArray(2) as unknown as Uint8Array)).toThrow(
      'tensor: Uint8ClampedArray is not supported',
    );
    expect(() => tensor(Float32Array.of(1, 2), { shape: [3] })).toThrow(
      'the data holds 8 bytes, the shape and dtype need 12',
    );
    expect(() => tensor(Float32Array.of(1, 2), { shape: [-2] })).toThrow('negative size -2');
    expect(() => tensor(Float32Array.of(1), { shape: [2 ** 40, 2 ** 40] })).toThrow('too large');
  });

  it('copies views in their logical order', () => {
    const x = tensor([
      [1, 2, 3],
      [4, 5, 6],
    ]);
    expect(x.t().numbers()).toEqual([1, 4, 2, 5, 3, 6]);
    expect(x.narrow(1, 1, 2).numbers()).toEqual([2, 3, 5, 6]);
    const copy = x.data();
    copy[0] = 99;
    expect(x.numbers()[0]).toBe(1);
  });
});

describe('shared memory', () => {
  it('is seen from both sides', () => {
    const array = Float32Array.of(1, 2, 3, 4);
    const shared = shareMemory(array, [2, 2]);
    array[3] = 40;
    expect(shared.numbers()).toEqual([1, 2, 3, 40]);
    shared.mul_(2);
    expect([...array]).toEqual([2, 4, 6, 80]);
  });

  it('respects the offset of a part', () => {
    const array = Float64Array.of(1, 2, 3);
    shareMemory(array.subarray(1)).zero_();
    expect([...array]).toEqual([1, 0, 0]);
  });

  it('keeps the array alive as long as the tensor or a view of it', async () => {
    const make = (): Tensor => {
      const shared = shareMemory(new Float64Array(1 << 16).fill(7));
      const view = shared.narrow(0, 5, 10);
      shared.dispose();
      return view;
    };
    const views = Array.from({ length: 20 }, make);
    const { gc } = await import('./testing/collect.js');
    await gc();
    for (let i = 0; i < 50; i++) new Float64Array(1 << 16).fill(-1); // would land in the freed memory
    for (const view of views) expect(view.sum().item()).toBe(70);
  });
});

describe('what a tensor says of itself', () => {
  const x = zeros([2, 3], { dtype: 'bfloat16' });

  it('shape, strides, sizes, dtype, device', () => {
    expect([x.shape, x.strides, x.numel, x.dtype, x.device]).toEqual([[2, 3], [3, 1], 6, 'bfloat16', 'cpu']);
    expect([x.size(0), x.size(-1)]).toEqual([2, 3]);
    expect(() => x.size(2)).toThrow('size(2): the tensor is bfloat16[2, 3]');
    expect([x.isContiguous, x.t().isContiguous]).toEqual([true, false]);
    expect(x.sharesMemoryWith(x.t())).toBe(true);
    expect(x.sharesMemoryWith(x.clone())).toBe(false);
  });

  it('as text', () => {
    expect(String(x)).toBe('bfloat16[2, 3]');
    const inspect = (value: Tensor): string =>
      (value as unknown as Record<symbol, () => string>)[Symbol.for('nodejs.util.inspect.custom')]?.call(value) ?? '';
    expect(inspect(tensor([1, 2]))).toBe('Tensor(float32[2]) [1,2]');
    const freed = tensor([1]);
    freed.dispose();
    expect([String(freed), inspect(freed)]).toEqual(['freed tensor', 'Tensor(freed)']);
  });

  it('as a number', () => {
    expect(tensor([[2.5]]).item()).toBe(2.5);
    expect(tensor([true]).item()).toBe(1);
    expect(() => tensor([1, 2]).item()).toThrow('2 elements');
  });
});
