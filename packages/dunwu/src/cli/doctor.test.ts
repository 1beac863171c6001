import { Command } from 'commander';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { type Diagnosis, diagnose, diagnosisText, processorFeatures, registerDoctor } from './doctor.js';

describe('diagnose', () => {
  it('names engine, device, threads and instruction set, and measures', async () => {
    const d = await diagnose(128);
    expect(d.engine).toBe('libtorch');
    expect(d.version).toMatch(/^2\.1[1-4]\./);
    expect(d.devices[0]?.name).toBe('cpu');
    expect(d.threads).toBeGreaterThanOrEqual(1);
    expect(d.instruction_set).not.toBe('');
    expect(d.compute).toMatchObject({ device: 'cpu', dtype: 'float32' });
    expect(d.compute.reasons.length).toBeGreaterThanOrEqual(4);
    for (const rate of [d.matmul.float32_highest, d.matmul.float32_medium, d.matmul.bfloat16]) {
      expect(rate).toBeGreaterThan(1e7);
    }
    expect(d.memory.total).toBeGreaterThan(d.memory.free);
    expect(d.node).toBe(process.versions.node);
  });
});

const example: Diagnosis = {
  engine: 'libtorch',
  version: '2.13.0+cpu',
  devices: [{ name: 'cpu', description: 'AMD EPYC, 2 cores' }],
  threads: 2,
  instruction_set: 'AVX512',
  processor_features: ['avx2', 'avx512f'],
  libraries: ['oneDNN', 'MKL'],
  compute: { device: 'cpu', dtype: 'float32', float32_matmul_precision: 'medium', reasons: ['first', 'second'] },
  matmul: {
    size: 1024,
    device: 'cpu',
    float32_highest: 131.4e9,
    float32_medium: 299e9,
    bfloat16: 611e9,
    float32_medium_error: 2.3e-7,
  },
  libtorch: { path: '/x/.torch/torch-2.13.0+cpu/torch', version: '2.13.0+cpu', source: 'wheel', cuda: false },
  build: { compiler: 'g++: g++ 12.2.0', flags: '-O3', kernel_flags: '-march=native' },
  node: '20.20.2',
  platform: 'linux x64',
  memory: { total: 25e9, free: 22.25e9 },
};

describe('diagnosisText', () => {
  it('is one line a fact', () => {
    expect(diagnosisText(example).split('\n')).toEqual([
      'engine        libtorch 2.13.0+cpu (oneDNN, MKL)',
      'from          /x/.torch/torch-2.13.0+cpu/torch (wheel fetched by set-up)',
      'addon         g++: g++ 12.2.0; kernels -march=native',
      'device        cpu: AMD EPYC, 2 cores',
      'threads       2',
      'instructions  AVX512 avx2 avx512f',
      "compute       float32 on cpu, float32 products 'medium'",
      '              - first',
      '              - second',
      "matmul        float32 'highest' 131 GFLOP/s, measured on [1024, 1024], cpu",
      "              float32 'medium' 299 GFLOP/s, relative error 2.3e-7",
      '              bfloat16 611 GFLOP/s',
      'memory        22.3 GB free of 25.0 GB',
      'node          20.20.2, linux x64',
    ]);
  });

  it('names the driver where libtorch has CUDA and sees no device', () => {
    const cuda: Diagnosis = { ...example, libraries: ['oneDNN', 'CUDA'] };
    expect(diagnosisText(cuda)).toContain(
      'sees no CUDA device: there is no GPU, or NVIDIA’s driver is missing or too old',
    );
    const seen = { ...cuda, devices: [...cuda.devices, { name: 'cuda:0', description: 'CUDA device' }] };
    expect(diagnosisText(seen)).not.toContain('sees no CUDA device');
  });

  it('says when the addon was built by hand', () => {
    expect(diagnosisText({ ...example, libtorch: null, build: null })).toContain('from          unknown');
  });
});

describe('processorFeatures', () => {
  it('picks the telling flags of the first processor', () => {
    expect(processorFeatures('processor : 0\nflags\t\t: fpu avx2 amx_bf16 avx512_bf16 sse\nprocessor : 1\n')).toEqual([
      'avx2',
      'avx512_bf16',
      'amx_bf16',
    ]);
    expect(processorFeatures(null)).toEqual([]);
  });
});

describe('dunwu doctor --json', () => {
  afterEach(() => {
    vi.restoreAllMocks();
  });

  it('prints one JSON object', async () => {
    const written: string[] = [];
    vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
      written.push(String(text));
      return true;
    });
    const program = new Command();
    registerDoctor(program);
    await program.parseAsync(['doctor', '--json'], { from: 'user' });
    const printed = JSON.parse(written.join('')) as Diagnosis;
    expect(printed.engine).toBe('libtorch');
    expect(printed.matmul.size).toBe(1024);
    expect(printed.compute.reasons[0]).toMatch(/^device cpu/);
  });
});
