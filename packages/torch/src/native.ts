import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

/** A tensor, a number or anything else an operator's schema takes; checked by the addon against the schema. */
export type OperatorArgument = unknown;

/** One argument or result of an operator, as libtorch's schema has it. */
export interface SchemaArgument {
  readonly name: string;
  readonly type: string;
  readonly kwarg: boolean;
  readonly write: boolean;
  readonly default?: string;
}

export interface Schema {
  readonly name: string;
  readonly overload: string;
  readonly text: string;
  readonly arguments: readonly SchemaArgument[];
  readonly returns: readonly SchemaArgument[];
}

export interface RuntimeInfo {
  readonly version: string;
  readonly cpuCapability: string;
  readonly threads: number;
  readonly hasMkl: boolean;
  readonly hasOneDnn: boolean;
  readonly hasCuda: boolean;
  readonly cudaDevices: number;
}

type Handle = number;
export type NumericArray =
  | Float32Array
  | Float64Array
  | Int8Array
  | Uint8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array;

/** What the addon exports; see native/binding.cpp. */
interface Native {
  readonly handleKey: symbol;
  resolve(name: string): number;
  call(operator: number, ...args: OperatorArgument[]): unknown;
  schema(name: string): Schema[];
  release(handle: Handle): void;
  alias(tensor: object): Handle;
  liveTensors(): number;
  adjustExternalMemory(bytes: number): number;
  shape(tensor: object): number[];
  strides(tensor: object): number[];
  dtype(tensor: object): string;
  device(tensor: object): string;
  numel(tensor: object): number;
  isContiguous(tensor: object): boolean;
  storageBytes(tensor: object): number;
  sameStorage(a: object, b: object): boolean;
  describe(tensor: object): string;
  fromBuffer(data: NumericArray, dtype: string, shape: readonly number[], share: boolean): Handle;
  toBuffer(tensor: object): NumericArray;
  toBytes(tensor: object): Uint8Array;
  item(tensor: object): number | boolean;
  setRequiresGrad(tensor: object, value: boolean): void;
  requiresGrad(tensor: object): boolean;
  isLeaf(tensor: object): boolean;
  gradient(tensor: object): Handle | null;
  setGradient(tensor: object, gradient: object | null): void;
  backward(outputs: readonly object[], gradients: readonly (object | null)[], retainGraph: boolean): void;
  grad(
    outputs: readonly object[],
    inputs: readonly object[],
    gradients: readonly (object | null)[],
    retainGraph: boolean,
    createGraph: boolean,
    allowUnused: boolean,
  ): (Handle | null)[];
  setGradEnabled(value: boolean): boolean;
  setAutocast(device: string, dtype: string | null): string | null;
  createGenerator(device: string): Handle;
  releaseGenerator(handle: Handle): void;
  manualSeed(generator: object | string, seed: number): void;
  randomState(generator: object | string): Handle;
  setRandomState(generator: object | string, state: object): void;
  setThreads(count: number): void;
  threads(): number;
  setFloat32MatmulPrecision(precision: string): void;
  float32MatmulPrecision(): string;
  setDeterministic(value: boolean): void;
  setFlushDenormal(value: boolean): boolean;
  runtimeInfo(): RuntimeInfo;
  synchronize(device: string): void;
  keepFreedMemory(keep: boolean): boolean;
  forgetPages(tensor: object): void;
  profileStart(device: string): void;
  profileStop(): { name: string; calls: number; seconds: number; flops: number }[];
}

/** Where the addon is, from src/ and from dist/ alike. */
export const addonPath = fileURLToPath(new URL('../build/dunwu_torch.node', import.meta.url));

function load(): Native {
  // OpenMP's threads otherwise spin for a millisecond whenever they wait. On a machine that does anything else besides,
  // they then spin on the core that the thread they wait for needs: training was seen to run ten times slower. Read by
  // the library when it is loaded, so it has to be set before.
  process.env.GOMP_SPINCOUNT ??= '20000';
  try {
    return createRequire(import.meta.url)(addonPath) as Native;
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new Error(
      `@dunwu/torch: the native addon could not be loaded from ${addonPath}: ${reason}\n` +
        'Run "npm run setup" in the repository: it builds the addon against libtorch and says what is missing.',
      { cause },
    );
  }
}

export const native: Native = load();

/** The key under which Tensor and Generator objects keep the number the addon knows them by. */
export const HANDLE: symbol = native.handleKey;
