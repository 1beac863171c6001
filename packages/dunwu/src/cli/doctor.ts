import { readFileSync } from 'node:fs';
import { availableParallelism, cpus, freemem, totalmem } from 'node:os';
import path from 'node:path';
import type { Command } from 'commander';
import { errorText } from '../util/errors.js';
import { EXIT } from './errors.js';

/** packages/torch/build/build-info.json, written by scripts/setup. */
export interface BuildInfo {
  readonly torch: {
    readonly path: string;
    readonly version: string;
    readonly source: 'DUNWU_TORCH' | 'python3' | 'wheel';
    readonly cuda: boolean;
  };
  readonly compiler: { readonly command: string; readonly version: string };
  readonly flags: string;
  readonly kernelFlags: string;
}

/** What `dunwu doctor --json` prints. Rates in FLOP/s, memory in bytes. */
export interface Diagnosis {
  readonly engine: string;
  readonly version: string;
  readonly devices: readonly { readonly name: string; readonly description: string }[];
  readonly threads: number;
  readonly instruction_set: string;
  readonly processor_features: readonly string[];
  readonly libraries: readonly string[];
  readonly compute: {
    readonly device: string;
    readonly dtype: string;
    readonly float32_matmul_precision: string;
    readonly reasons: readonly string[];
  };
  /** Rates and error on the device of `compute`. */
  readonly matmul: {
    readonly size: number;
    readonly device: string;
    readonly float32_highest: number;
    readonly float32_medium: number;
    readonly bfloat16: number;
    readonly float32_medium_error: number;
  };
  /** Null when the addon was not built by scripts/setup. */
  readonly libtorch: BuildInfo['torch'] | null;
  readonly build: { readonly compiler: string; readonly flags: string; readonly kernel_flags: string } | null;
  readonly node: string;
  readonly platform: string;
  readonly memory: { readonly total: number; readonly free: number };
}

/** `dunwu doctor`: what the engine is, what it runs on, how fast that is. */
export function registerDoctor(program: Command): void {
  program
    .command('doctor')
    .summary('show the engine, the device, the compute type and the matmul rate')
    .description(
      'Shows the engine and where it came from, the devices, the threads, the compute type that runs would use and why,\n' +
        'and how fast matrix products are here (measured now, in about a second).',
    )
    .option('--json', 'print one JSON object')
    .action(async (flags: { json?: boolean }) => {
      let diagnosis: Diagnosis;
      try {
        diagnosis = await diagnose();
      } catch (error) {
        const problem = { engine: null, problem: errorText(error), node: process.versions.node, platform: platform() };
        const text = `The engine does not work.\n${problem.problem}\n(Node ${problem.node}, ${problem.platform})`;
        process.stdout.write(`${flags.json ? JSON.stringify(problem) : text}\n`);
        process.exitCode = EXIT.failed;
        return;
      }
      process.stdout.write(`${flags.json ? JSON.stringify(diagnosis) : diagnosisText(diagnosis)}\n`);
    });
}

/** Loads the engine and measures. @throws Error when the addon cannot be loaded. */
export async function diagnose(given?: number): Promise<Diagnosis> {
  const torch = await import('@dunwu/torch');
  const { chooseCompute, largeProduct, matmulError, matmulRate } = await import('../train/compute.js');
  const choice = chooseCompute();
  const { device } = choice;
  const size = given ?? largeProduct(device);
  const info = torch.runtimeInfo();
  const build = readBuildInfo(path.join(path.dirname(torch.addonPath), 'build-info.json'));
  const cpu = `${cpus()[0]?.model ?? process.arch}, ${availableParallelism()} core${availableParallelism() === 1 ? '' : 's'}`;
  const gpus = Array.from({ length: info.cudaDevices }, (_, index) => ({
    name: `cuda:${index}`,
    description: 'CUDA device',
  }));
  return {
    engine: 'libtorch',
    version: build?.torch.version ?? info.version,
    devices: [{ name: 'cpu', description: cpu }, ...gpus],
    threads: choice.threads,
    instruction_set: info.cpuCapability,
    processor_features: processorFeatures(),
    libraries: [
      ...(info.hasOneDnn ? ['oneDNN'] : []),
      ...(info.hasMkl ? ['MKL'] : []),
      ...(info.hasCuda ? ['CUDA'] : []),
    ],
    compute: {
      device: choice.device,
      dtype: choice.dtype,
      float32_matmul_precision: choice.precision,
      reasons: choice.reasons,
    },
    matmul: {
      size,
      device,
      float32_highest: matmulRate({ precision: 'highest', size, device }),
      float32_medium: matmulRate({ precision: 'medium', size, device }),
      bfloat16: matmulRate({ dtype: 'bfloat16', size, device }),
      float32_medium_error: matmulError('medium', device),
    },
    libtorch: build?.torch ?? null,
    build:
      build === null
        ? null
        : {
            compiler: `${build.compiler.command}: ${build.compiler.version}`,
            flags: build.flags,
            kernel_flags: build.kernelFlags,
          },
    node: process.versions.node,
    platform: platform(),
    memory: { total: totalmem(), free: freemem() },
  };
}

const platform = () => `${process.platform} ${process.arch}`;

function readBuildInfo(file: string): BuildInfo | null {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as BuildInfo;
  } catch {
    return null; // built by hand
  }
}

/** Instructions that decide which kernels are fast, as /proc/cpuinfo names them; none where there is no such file. */
export function processorFeatures(cpuinfo: string | null = readCpuInfo()): string[] {
  const flags = new Set(
    cpuinfo
      ?.match(/^(?:flags|Features)\s*:(.*)$/m)?.[1]
      ?.trim()
      .split(/\s+/) ?? [],
  );
  const telling = [
    'avx2',
    'avx512f',
    'avx512_vnni',
    'avx512_bf16',
    'avx_vnni',
    'amx_tile',
    'amx_bf16',
    'asimd',
    'sve',
    'bf16',
    'i8mm',
  ];
  return telling.filter((name) => flags.has(name));
}

function readCpuInfo(): string | null {
  try {
    return readFileSync('/proc/cpuinfo', 'utf8');
  } catch {
    return null;
  }
}

const SOURCE: Record<BuildInfo['torch']['source'], string> = {
  DUNWU_TORCH: 'named by DUNWU_TORCH',
  python3: 'the torch that python3 imports',
  wheel: 'wheel fetched by set-up',
};

const gigaflops = (rate: number) => `${Math.round(rate / 1e9)} GFLOP/s`;
const gigabytes = (bytes: number) => `${(bytes / 1e9).toFixed(1)} GB`;

const NO_CUDA_DEVICE: [string, string][] = [
  ['', '- libtorch has CUDA and sees no CUDA device: there is no GPU, or NVIDIA’s driver is missing or too old for it'],
  ['', '  (nvidia-smi shows the driver; docs/gpu.md which one is needed)'],
];

/** The diagnosis for people: one line a fact, reasons below the choice. */
export function diagnosisText(d: Diagnosis): string {
  const rows: [string, string][] = [
    ['engine', `${d.engine} ${d.version} (${d.libraries.join(', ')})`],
    [
      'from',
      d.libtorch === null
        ? 'unknown: the addon was not built by "npm run setup"'
        : `${d.libtorch.path} (${SOURCE[d.libtorch.source]})`,
    ],
    ...(d.build === null
      ? []
      : [['addon', `${d.build.compiler}; kernels ${d.build.kernel_flags}`] as [string, string]]),
    ...d.devices.map(({ name, description }): [string, string] => ['device', `${name}: ${description}`]),
    ...(d.libraries.includes('CUDA') && d.devices.length === 1 ? NO_CUDA_DEVICE : []),
    ['threads', String(d.threads)],
    ['instructions', [d.instruction_set, ...d.processor_features].join(' ')],
    ['compute', `${d.compute.dtype} on ${d.compute.device}, float32 products '${d.compute.float32_matmul_precision}'`],
    ...d.compute.reasons.map((reason): [string, string] => ['', `- ${reason}`]),
    [
      'matmul',
      `float32 'highest' ${gigaflops(d.matmul.float32_highest)}, measured on [${d.matmul.size}, ${d.matmul.size}], ${d.matmul.device}`,
    ],
    [
      '',
      `float32 'medium' ${gigaflops(d.matmul.float32_medium)}, relative error ${d.matmul.float32_medium_error.toExponential(1)}`,
    ],
    ['', `bfloat16 ${gigaflops(d.matmul.bfloat16)}`],
    ['memory', `${gigabytes(d.memory.free)} free of ${gigabytes(d.memory.total)}`],
    ['node', `${d.node}, ${d.platform}`],
  ];
  return rows.map(([name, value]) => `${name.padEnd(14)}${value}`).join('\n');
}
