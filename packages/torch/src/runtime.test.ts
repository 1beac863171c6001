import { existsSync, readFileSync } from 'node:fs';
import { afterEach, describe, expect, it } from 'vitest';
import {
  Generator,
  getFloat32MatmulPrecision,
  getThreads,
  keep,
  keepFreedMemory,
  ones,
  op,
  peakMemory,
  randn,
  runtimeInfo,
  scope,
  setDeterministic,
  setFloat32MatmulPrecision,
  setThreads,
  synchronize,
  type Tensor,
  tensor,
  zeros,
} from './index.js';

const threads = getThreads();
const precision = getFloat32MatmulPrecision();
afterEach(() => {
  setThreads(threads);
  setFloat32MatmulPrecision(precision);
  setDeterministic(false);
});

describe('threads', () => {
  it('can be set, at least to 1', () => {
    setThreads(1);
    expect(getThreads()).toBe(1);
    expect(runtimeInfo().threads).toBe(1);
    setThreads(2);
    expect(getThreads()).toBe(2);
    expect(() => setThreads(0)).toThrow('threads must be at least 1');
    expect(() => setThreads(1.5)).toThrow('expected an integer');
  });
});

/** libtorch's own name for the processor, `runtimeInfo().cpuCapability`, stops at AVX512. */
function hasAmx(): boolean {
  return existsSync('/proc/cpuinfo') && /\bamx_bf16\b/.test(readFileSync('/proc/cpuinfo', 'utf8'));
}

describe('float32 matrix products', () => {
  it('keep float32 accuracy on the fast path', () => {
    using generator = new Generator(1);
    const [a, b] = [randn([96, 256], { generator }), randn([256, 64], { generator })];
    const exact = a.to('float64').matmul(b.to('float64'));
    for (const setting of ['highest', 'medium'] as const) {
      setFloat32MatmulPrecision(setting);
      expect(getFloat32MatmulPrecision()).toBe(setting);
      const error = a.matmul(b).to('float64').sub(exact).norm().item() / exact.norm().item();
      // 'medium' may fall to bfloat16 (4e-3) where the processor has AMX; everywhere else both are float32.
      expect(error).toBeLessThan(setting === 'highest' || !hasAmx() ? 1e-6 : 1e-2);
    }
    expect(() => setFloat32MatmulPrecision('wrong' as 'high')).toThrow(
      "unknown precision 'wrong'; known: highest, high, medium",
    );
  });
});

it('says what it runs on', () => {
  const info = runtimeInfo();
  expect(info.version).toMatch(/^2\.\d+\.\d+/);
  expect(info.threads).toBe(getThreads());
  expect(info.hasCuda ? info.cudaDevices : 0).toBe(info.cudaDevices);
  synchronize('cpu'); // nothing to wait for
  expect(() => synchronize('warp')).toThrow('warp');
});

it('refuses operators without a deterministic implementation on request', () => {
  const put = (): number[] =>
    (op('aten::put_')(tensor([1, 2]), tensor([1], { dtype: 'int64' }), tensor([9]), false) as Tensor).numbers();
  expect(put()).toEqual([1, 9]);
  setDeterministic(true);
  expect(put).toThrow(/^aten::put_: put_ does not have a deterministic implementation/);
});

it('keeps freed memory where the C library can', () => {
  const glibc =
    (process.report?.getReport() as { header?: { glibcVersionRuntime?: string } })?.header?.glibcVersionRuntime !==
    undefined;
  expect(keepFreedMemory(true)).toBe(glibc);
  expect(keepFreedMemory(false)).toBe(false);
});

it('a tensor that no memory can hold is refused with its size', () => {
  expect(() => scope(() => ones([2 ** 50]))).toThrow(
    'out of memory: the CPU has no 4503599627370496 bytes for a tensor',
  );
});

it('a freed tensor leaves room for another of its size', () => {
  keepFreedMemory(true);
  // 1 MiB and 16 bytes: of such blocks posix_memalign of glibc before 2.38 makes gaps that none fits into.
  const make = (): Tensor => scope(() => keep(ones([(1 << 18) + 4])));
  const kept = Array.from({ length: 256 }, make);
  const resident = process.memoryUsage.rss();
  for (let i = 1; i < kept.length; i += 2) kept[i]?.dispose();
  for (let i = 1; i < kept.length; i += 2) kept[i] = make();
  const growth = process.memoryUsage.rss() - resident;
  for (const tensor of kept) tensor.dispose();
  keepFreedMemory(false);
  // None of the 128 gaps between them fitting would be 134 MB.
  expect(growth).toBeLessThan(32e6);
});

it('the most memory that tensors had on a device', () => {
  expect(() => peakMemory('cpu')).toThrow('getDeviceAllocator is not supported for CPU');
  if (runtimeInfo().cudaDevices === 0) return;
  using large = zeros([1 << 20], { device: 'cuda' });
  expect(peakMemory('cuda')).toBeGreaterThanOrEqual(4 * large.numel);
});
