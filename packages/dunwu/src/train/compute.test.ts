import { getFloat32MatmulPrecision, getThreads, op, randn, setFloat32MatmulPrecision, setThreads } from '@dunwu/torch';
import { afterEach, describe, expect, it } from 'vitest';
import { productPrecision } from '../model/compute-type.js';
import { UsageError } from '../util/errors.js';
import {
  type ComputeFacts,
  chooseCompute,
  cpuQuota,
  decideCompute,
  largeProduct,
  matmulError,
  matmulRate,
  requireBfloat16,
} from './compute.js';

const laptop: ComputeFacts = { cudaDevices: 0, threads: 8, quota: null, mediumError: 2e-7, highError: () => 4e-6 };

describe('decideCompute', () => {
  it('takes float32, the fast path and all threads by default', () => {
    const choice = decideCompute({}, laptop);
    expect(choice).toMatchObject({ device: 'cpu', dtype: 'float32', threads: 8, precision: 'medium' });
    expect(choice.reasons).toEqual([
      'device cpu: there is no CUDA device',
      expect.stringContaining('float32: exact enough'),
      expect.stringContaining("'medium'): its error here is that of float32 (2.0e-7)"),
      '8 threads: as libtorch has it (a core each, or OMP_NUM_THREADS)',
    ]);
  });

  it('leaves the fast path where it loses accuracy (AMX rounds to bfloat16)', () => {
    const choice = decideCompute({}, { ...laptop, mediumError: 2.1e-3 });
    expect(choice.precision).toBe('highest');
    expect(choice.reasons[2]).toContain('error 2.1e-3');
  });

  it('takes the precision that is asked for, and says what it costs', () => {
    const high = decideCompute({ float32_matmul_precision: 'high' }, laptop);
    expect(high.precision).toBe('high');
    expect(high.reasons[2]).toContain("'high', asked for): their error here is 4.0e-6");
    const medium = decideCompute({ float32_matmul_precision: 'medium' }, { ...laptop, mediumError: 2.1e-3 });
    expect(medium.precision).toBe('medium');
    expect(medium.reasons[2]).toBe(
      "float32 products of training may be rounded to bfloat16 ('medium', asked for): their error here is 2.1e-3",
    );
    expect(decideCompute({ float32_matmul_precision: 'highest' }, laptop).precision).toBe('highest');
    const gpu = decideCompute(
      { float32_matmul_precision: 'high' },
      { ...laptop, cudaDevices: 1, highError: () => 3e-4 },
    );
    expect(gpu.reasons[2]).toBe(
      "float32 products are TF32 ('high', asked for), those of router, logits and rollouts too: their error here is 3.0e-4",
    );
  });

  it('keeps to a container quota, rounded up, unless threads are asked for', () => {
    expect(decideCompute({}, { ...laptop, quota: 2 }).threads).toBe(2);
    expect(decideCompute({}, { ...laptop, quota: 1.5 }).threads).toBe(2);
    expect(decideCompute({}, { ...laptop, quota: 0.5 }).threads).toBe(1);
    expect(decideCompute({}, { ...laptop, quota: 64 }).threads).toBe(8);
    expect(decideCompute({ threads: 5 }, { ...laptop, quota: 2 }).threads).toBe(5);
  });

  it('does what is asked for', () => {
    const gpu = { ...laptop, cudaDevices: 1 };
    expect(decideCompute({ device: 'cuda', dtype: 'bfloat16' }, gpu)).toMatchObject({
      device: 'cuda',
      dtype: 'bfloat16',
    });
    expect(decideCompute({ device: 'cpu' }, gpu)).toMatchObject({ device: 'cpu', dtype: 'float32' });
  });

  it('takes a CUDA device where there is one', () => {
    const choice = decideCompute({}, { ...laptop, cudaDevices: 2 });
    expect(choice).toMatchObject({ device: 'cuda', dtype: 'float32' });
    expect(choice.reasons[0]).toBe('device cuda: there is a CUDA device');
    expect(decideCompute({ device: 'cuda:1' }, { ...laptop, cudaDevices: 2 }).device).toBe('cuda:1');
  });

  it('refuses a device that is not there', () => {
    expect(() => decideCompute({ device: 'cuda' }, laptop)).toThrow(UsageError);
    expect(() => decideCompute({ device: 'cuda' }, laptop)).toThrow(
      'compute.device is cuda, and libtorch sees no CUDA device; allowed here: auto, cpu ("dunwu doctor"',
    );
    expect(() => decideCompute({ device: 'cuda:2' }, { ...laptop, cudaDevices: 2 })).toThrow(
      'compute.device is cuda:2, and libtorch sees cuda:0, cuda:1; allowed here: auto, cpu, cuda, cuda:0, cuda:1 (',
    );
    expect(() => decideCompute({ device: 'tpu' }, laptop)).toThrow('compute.device is tpu');
  });
});

describe('chooseCompute', () => {
  const [threads, precision] = [getThreads(), getFloat32MatmulPrecision()];
  afterEach(() => {
    setThreads(threads);
    setFloat32MatmulPrecision(precision);
  });

  it('applies the choice, and "auto" forgets an earlier number of threads', () => {
    const all = chooseCompute();
    expect(getThreads()).toBe(all.threads);
    expect(getFloat32MatmulPrecision()).toBe(all.precision);
    expect(chooseCompute({ threads: 1 }).threads).toBe(1);
    expect(getThreads()).toBe(1);
    expect(chooseCompute().threads).toBe(all.threads);
  });

  it("'high' and 'medium' are a matter of layers: gone when they are not asked for", () => {
    chooseCompute({ float32_matmul_precision: 'high' });
    expect([getFloat32MatmulPrecision(), productPrecision()]).toEqual(['high', 'high']);
    expect(matmulError('high')).toBeLessThan(1e-5);
    chooseCompute({ float32_matmul_precision: 'medium' });
    expect([getFloat32MatmulPrecision(), productPrecision()]).toEqual(['medium', 'medium']);
    chooseCompute({ float32_matmul_precision: 'highest' });
    expect(productPrecision()).toBe('highest');
  });

  it('chooses a path of float32 accuracy', () => {
    expect(matmulError(chooseCompute().precision)).toBeLessThan(1e-5);
  });
});

it('bfloat16 is refused by name where attention does not work in it, before anything is computed', () => {
  requireBfloat16(op('dunwu::stand_in')() as string);
  const old = () => {
    throw new Error('FlashAttention only supports Ampere GPUs or newer.\nmore');
  };
  expect(() => requireBfloat16('cuda', old)).toThrow(UsageError);
  expect(() => requireBfloat16('cuda', old)).toThrow(
    'compute.dtype is bfloat16, and cuda cannot compute attention in it (compute capability 8.0 or newer is needed): ' +
      'take compute.dtype: float32, or --dtype float32 (FlashAttention only supports Ampere GPUs or newer.)',
  );
});

describe('measurements', () => {
  it('a large product is larger on a GPU', () => {
    expect(['cpu', 'cuda', 'cuda:1'].map((device) => largeProduct(device, 2048))).toEqual([2048, 8192, 8192]);
  });

  it('the exact path has float32 accuracy, and the setting is put back', () => {
    setFloat32MatmulPrecision('medium');
    const error = matmulError('highest');
    expect(error).toBeGreaterThan(1e-9); // it was computed in float32, not in float64
    expect(error).toBeLessThan(1e-6);
    expect(getFloat32MatmulPrecision()).toBe('medium');
    setFloat32MatmulPrecision('highest');
  });

  it('draws nothing from the default generator', async () => {
    const { manualSeed } = await import('@dunwu/torch');
    manualSeed(5);
    const expected = randn([4]).numbers();
    manualSeed(5);
    matmulError('medium');
    matmulRate({ size: 16, seconds: 0 });
    expect(randn([4]).numbers()).toEqual(expected);
  });

  it('a rate is between a slow and an impossible one', () => {
    const rate = matmulRate({ size: 256, seconds: 0.05 });
    expect(rate).toBeGreaterThan(1e8);
    expect(rate).toBeLessThan(1e15);
  });
});

describe('cpuQuota', () => {
  it("reads cgroup v2's cpu.max", () => {
    expect(cpuQuota('200000 100000\n')).toBe(2);
    expect(cpuQuota('150000 100000')).toBe(1.5);
    expect(cpuQuota('max 100000\n')).toBeNull();
    expect(cpuQuota('')).toBeNull();
    expect(cpuQuota(null)).toBeNull();
  });
});
