import { readFileSync } from 'node:fs';
import {
  type Device,
  Generator,
  getThreads,
  groupedAttention,
  keepFreedMemory,
  type MatmulPrecision,
  noGrad,
  randn,
  runtimeInfo,
  scope,
  setFloat32MatmulPrecision,
  setThreads,
  shortLinear,
  synchronize,
  tensor,
  withFloat32MatmulPrecision,
  zeros,
} from '@dunwu/torch';
import { type ProductPrecision, setComputeType, setProductPrecision } from '../model/compute-type.js';
import { errorText, UsageError } from '../util/errors.js';

/** What the recipe or the person asks for. */
export interface ComputeWish {
  /** 'auto', 'cpu', 'cuda' or 'cuda:N'. */
  readonly device: string;
  readonly dtype: 'auto' | 'float32' | 'bfloat16';
  readonly threads: 'auto' | number;
  /**
   * Of float32 products. 'high': in training three of bfloat16 for one, where the processor has units for them, 'medium' one; on a
   * GPU both are TF32 for all of them.
   */
  readonly float32_matmul_precision: 'auto' | ProductPrecision;
}

/** What this process can do: everything that the choice depends on. */
export interface ComputeFacts {
  readonly cudaDevices: number;
  /** Threads that libtorch would start by itself. */
  readonly threads: number;
  /** Cores' worth of time that the container's quota allows, or null without one. */
  readonly quota: number | null;
  /** Relative error of a float32 product under 'medium'. */
  readonly mediumError: number;
  /** And of one under 'high'; asked for where that is wanted alone. */
  readonly highError: () => number;
}

export interface ComputeChoice {
  /** 'cpu', 'cuda' or 'cuda:N'. */
  readonly device: Device;
  readonly dtype: 'float32' | 'bfloat16';
  readonly threads: number;
  /** libtorch's float32 matmul precision. */
  readonly precision: MatmulPrecision;
  /** Why, a sentence each. */
  readonly reasons: readonly string[];
}

/**
 * Above this relative error (Frobenius norm) a product no longer is float32's: float32 gives about 2e-7, TF32 3e-4,
 * bfloat16 2e-3.
 */
const FLOAT32_ERROR = 1e-5;

/**
 * Chooses device, compute type, threads and the path of float32 products, from facts alone: the same machine and wish
 * give the same choice, so a resumed run computes as before. Speeds are therefore no part of it (`dunwu doctor` shows
 * them): they vary from one measurement to the next, accuracy does not.
 *
 * @throws UsageError when something is asked for that is not there.
 */
export function decideCompute(wish: Partial<ComputeWish>, facts: ComputeFacts): ComputeChoice {
  const { device = 'auto', dtype = 'auto', threads = 'auto', float32_matmul_precision: wanted = 'auto' } = wish;
  const reasons: string[] = [];

  const chosenDevice = deviceFor(device, facts.cudaDevices);
  if (device !== 'auto') reasons.push(`device ${chosenDevice}: asked for`);
  else if (chosenDevice === 'cpu') reasons.push('device cpu: there is no CUDA device');
  else reasons.push(`device ${chosenDevice}: there is a CUDA device`);

  if (dtype === 'bfloat16')
    reasons.push('bfloat16: asked for; weights stay float32, products are computed in bfloat16');
  else if (dtype === 'float32') reasons.push('float32: asked for');
  else {
    reasons.push('float32: exact enough that training, rollout and a resumed run agree');
  }

  const [precision, why] = choosePrecision(wanted, facts, chosenDevice);
  reasons.push(why);

  let chosenThreads: number;
  if (threads !== 'auto') {
    chosenThreads = threads;
    reasons.push(`${threads} thread${threads === 1 ? '' : 's'}: asked for`);
  } else if (facts.quota !== null && Math.ceil(facts.quota) < facts.threads) {
    chosenThreads = Math.max(1, Math.ceil(facts.quota));
    reasons.push(`${chosenThreads} of ${facts.threads} threads: the container's quota is ${facts.quota} cores`);
  } else {
    chosenThreads = facts.threads;
    reasons.push(`${chosenThreads} threads: as libtorch has it (a core each, or OMP_NUM_THREADS)`);
  }
  return {
    device: chosenDevice,
    dtype: dtype === 'bfloat16' ? 'bfloat16' : 'float32',
    threads: chosenThreads,
    precision,
    reasons,
  };
}

function choosePrecision(
  wanted: ComputeWish['float32_matmul_precision'],
  facts: ComputeFacts,
  device: Device,
): [MatmulPrecision, string] {
  if (wanted === 'high' || wanted === 'medium') {
    const error = (wanted === 'high' ? facts.highError() : facts.mediumError).toExponential(1);
    const short = wanted === 'high' ? 'three of bfloat16' : 'rounded to bfloat16';
    return [
      wanted,
      device === 'cpu'
        ? `float32 products of training may be ${short} ('${wanted}', asked for): their error here is ${error}`
        : `float32 products are TF32 ('${wanted}', asked for), those of router, logits and rollouts too: their error here is ${error}`,
    ];
  }
  if (wanted === 'highest') return ['highest', "float32 products take the exact path ('highest'): asked for"];
  const shown = facts.mediumError.toExponential(1);
  return facts.mediumError <= FLOAT32_ERROR
    ? ['medium', `float32 products may take the fast path ('medium'): its error here is that of float32 (${shown})`]
    : [
        'highest',
        `float32 products take the exact path ('highest'): the fast one rounds to a shorter type on this ${device === 'cpu' ? 'processor' : 'GPU'} (error ${shown})`,
      ];
}

/** @throws UsageError for a device that is not there, naming those that are */
function deviceFor(wish: string, cudaDevices: number): Device {
  if (wish === 'auto') return cudaDevices > 0 ? 'cuda' : 'cpu';
  const number = /^cuda:(\d+)$/.exec(wish)?.[1];
  const there = Array.from({ length: cudaDevices }, (_, i) => `cuda:${i}`);
  const known = wish === 'cpu' || (wish === 'cuda' ? cudaDevices > 0 : Number(number) < cudaDevices);
  if (known) return wish;
  const seen = cudaDevices === 0 ? 'libtorch sees no CUDA device' : `libtorch sees ${there.join(', ')}`;
  const allowed = ['auto', 'cpu', ...(cudaDevices === 0 ? [] : ['cuda', ...there])].join(', ');
  throw new UsageError(
    `compute.device is ${wish}, and ${seen}; allowed here: ${allowed} ("dunwu doctor" shows what is there)`,
  );
}

/** libtorch's own number of threads, read before the first choice changes it. */
let ownThreads: number | null = null;
/** Error of 'medium' by device: a property of the processor or the GPU, measured once. */
const mediumErrors = new Map<string, number>();

function mediumError(device: string): number {
  const error = mediumErrors.get(device) ?? matmulError('medium', device);
  mediumErrors.set(device, error);
  return error;
}

/** A few tokens of bfloat16 attention, as training has it. */
function tinyAttention(device: string): void {
  scope(() => {
    const qkv = zeros([8, 3, 8], { dtype: 'bfloat16', device });
    const whole = { bounds: tensor(Int32Array.from([0, 8]), { device }), longest: 8 };
    groupedAttention(qkv, 1, 1, zeros([8], { dtype: 'int32', device }), 8, 1, whole);
    synchronize(device);
  });
}

/** @throws UsageError for a device whose attention does not work in bfloat16: said now, not in the middle of a first step */
export function requireBfloat16(device: string, attend = tinyAttention): void {
  try {
    attend(device);
  } catch (error) {
    throw new UsageError(
      `compute.dtype is bfloat16, and ${device} cannot compute attention in it (compute capability 8.0 or newer is needed): ` +
        `take compute.dtype: float32, or --dtype float32 (${errorText(error).split('\n')[0]})`,
    );
  }
}

/**
 * Chooses (see `decideCompute`) and applies the choice to this process: threads, the path of float32 products, and
 * freed memory kept for the next step.
 */
export function chooseCompute(wish: Partial<ComputeWish> = {}): ComputeChoice {
  ownThreads ??= getThreads();
  const { cudaDevices } = runtimeInfo();
  const device = deviceFor(wish.device ?? 'auto', cudaDevices);
  const choice = decideCompute(wish, {
    cudaDevices,
    threads: ownThreads,
    quota: cpuQuota(),
    highError: () => matmulError('high', device),
    mediumError: mediumError(device),
  });
  if (choice.dtype === 'bfloat16' && choice.device !== 'cpu') requireBfloat16(choice.device);
  setThreads(choice.threads);
  setFloat32MatmulPrecision(choice.precision);
  keepFreedMemory(true);
  setComputeType(choice.dtype);
  setProductPrecision(choice.precision);
  return choice;
}

/**
 * Relative error ‖AB − ref‖/‖ref‖ (Frobenius norm) of a float32 product [256, 512]·[512, 256] of standard normal
 * numbers, with the product in float64 as reference. Draws from a generator of its own.
 */
export function matmulError(precision: MatmulPrecision, device = 'cpu'): number {
  return withFloat32MatmulPrecision(precision, () =>
    scope(() =>
      noGrad(() => {
        using generator = new Generator(1);
        const a = randn([256, 512], { generator });
        const b = randn([512, 256], { generator });
        const exact = a.to('float64').mm(b.to('float64'));
        const [left, right] = [a.toDevice(device, 'float32'), b.toDevice(device, 'float32')];
        // 'high' is a matter of layers' products alone; 'medium' of libtorch's too, which 'auto' is decided by.
        const product = (precision === 'high' ? shortLinear(left, right.t()) : left.mm(right)).toDevice(
          'cpu',
          'float64',
        );
        return Math.sqrt(product.sub(exact).square().sum().item() / exact.square().sum().item());
      }),
    ),
  );
}

/** Rows and columns of a product that takes so long that starting it costs nothing: on a GPU a [1024]² one is a few microseconds. */
export function largeProduct(device: string, onCpu = 1024): number {
  return device.startsWith('cuda') ? 8192 : onCpu;
}

export interface MatmulSettings {
  readonly dtype?: 'float32' | 'bfloat16';
  readonly precision?: MatmulPrecision;
  readonly device?: string;
  /** Rows and columns of both factors. Default: {@link largeProduct}. */
  readonly size?: number;
  /** How long to measure. */
  readonly seconds?: number;
}

/** Best rate, FLOP/s, of square matrix products (2·size³ each) with the threads that are set. */
export function matmulRate(settings: MatmulSettings = {}): number {
  const { dtype = 'float32', precision = 'highest', device = 'cpu', seconds = 0.25 } = settings;
  const { size = largeProduct(device) } = settings;
  return withFloat32MatmulPrecision(precision, () =>
    scope(() =>
      noGrad(() => {
        using generator = new Generator(1);
        const a = randn([size, size], { generator }).toDevice(device, dtype);
        const b = randn([size, size], { generator }).toDevice(device, dtype);
        let best = Number.POSITIVE_INFINITY;
        const end = performance.now() + seconds * 1000;
        // The first product prepares the kernel; two more at least are measured, however slow.
        for (let round = 0; round < 3 || performance.now() < end; round++) {
          const start = performance.now();
          a.mm(b).dispose();
          synchronize(device);
          if (round > 0) best = Math.min(best, performance.now() - start);
        }
        return (2 * size ** 3) / (best / 1000);
      }),
    ),
  );
}

/** Cores that a Linux container may use (cgroup v2 `cpu.max`: "quota period" in µs), or null when it has no limit. */
export function cpuQuota(text: string | null = readCpuMax()): number | null {
  const [quota, period] = (text ?? '').trim().split(/\s+/).map(Number);
  if (quota === undefined || period === undefined || !(quota > 0) || !(period > 0)) return null;
  return quota / period;
}

function readCpuMax(): string | null {
  try {
    return readFileSync('/sys/fs/cgroup/cpu.max', 'utf8');
  } catch {
    return null; // no Linux, or no limit
  }
}
