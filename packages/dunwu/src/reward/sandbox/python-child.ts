// The program of a process of its own, without rights: see python-process.ts, which starts it.
//
// Pyodide is told that it runs in a bare JavaScript shell, not in Node: it never gets hold of a module of Node's, so that
// neither its file systems nor its sockets nor os.system have anything behind them. What it asks the shell for is answered
// below, from memory. Then the globals that are no part of the language are removed.
import { readFileSync, writeSync } from 'node:fs';
import process from 'node:process';
import { MAX_OUTPUT, MAX_WHY, tooLong } from './case-run.js';
import { PYTHON_HARNESS, PYTHON_STRIP } from './python-harness.js';
import { PAGE, webAssembly } from './webassembly.js';

/** First line of what the process is told; `snapshot` bytes follow, none to have one made. */
export interface PythonStart {
  readonly memoryMb: number;
  readonly snapshot: number;
}

/** What it is asked, a line each. */
export interface PythonAsk {
  readonly program: string;
  readonly entry?: string;
  readonly args?: string;
  readonly input?: string;
  readonly steps: number;
}

/** The few of Pyodide's functions that are used, the last two for its makers' own use. */
interface Pyodide {
  runPython(code: string): unknown;
  readonly globals: { get(name: string): (request: string) => unknown };
  setStdin(options: { read(buffer: Uint8Array): number }): void;
  setStdout(options: { write(buffer: Uint8Array): number }): void;
  setStderr(options: { write(buffer: Uint8Array): number }): void;
  setInterruptBuffer(buffer: object): void;
  makeMemorySnapshot(): Uint8Array;
}
type LoadPyodide = (options: object) => Promise<Pyodide>;

/** Loop turns and calls between two looks of Python's at its interrupt buffer. */
const TURNS = 51;

const [, , folder = ''] = process.argv;
const { stdin } = process;
const exit = process.exit.bind(process);
const asText = new TextDecoder();
const asBytes = new TextEncoder();
const base64 = Buffer.alloc.bind(Buffer);

/** Blocks until all is written: a program that never gives way is told of too. */
function write(bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length; ) {
    try {
      done += writeSync(1, bytes, done);
    } catch (error) {
      if ((error as { code?: unknown }).code !== 'EAGAIN') exit(1);
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
    }
  }
}
const say = (message: object): void => write(asBytes.encode(`${JSON.stringify(message)}\n`));

// ── What Pyodide finds round it ──────────────────────────────────────────────────────────────────────────────────────

/** Globals that are left besides those of ECMAScript itself. */
const LEFT = [
  'TextEncoder',
  'TextDecoder',
  'WebAssembly',
  'DOMException',
  'setTimeout',
  'clearTimeout',
  'queueMicrotask',
];
const ECMASCRIPT =
  'globalThis Infinity NaN undefined eval isFinite isNaN parseFloat parseInt decodeURI decodeURIComponent encodeURI ' +
  'encodeURIComponent escape unescape Object Function Array Number Boolean String Symbol Date Promise RegExp Error ' +
  'AggregateError EvalError RangeError ReferenceError SyntaxError TypeError URIError JSON Math Intl ArrayBuffer Uint8Array ' +
  'Int8Array Uint16Array Int16Array Uint32Array Int32Array Float32Array Float64Array Uint8ClampedArray BigUint64Array ' +
  'BigInt64Array DataView Map BigInt Set Iterator WeakMap WeakSet WeakRef Proxy Reflect FinalizationRegistry ' +
  'SharedArrayBuffer Atomics';

/** Leaves the language, and a shell that can read what Pyodide is made of. @returns the loader of interpreters. */
async function bareShell(memoryMb: number): Promise<LoadPyodide> {
  const file = (name: string): Buffer => readFileSync(`${folder}/${name}`);
  const lock = JSON.parse(file('pyodide-lock.json').toString()) as { info: object };
  const files = new Map<string, Uint8Array | string>([
    // Without its list of packages there is nothing to fetch.
    ['pyodide-lock.json', JSON.stringify({ info: lock.info, packages: {} })],
    ['pyodide.asm.wasm', file('pyodide.asm.wasm')],
    ['python_stdlib.zip', file('python_stdlib.zip')],
  ]);
  const read = (path: string): Uint8Array | string => {
    const found = files.get(path.split('/').at(-1) ?? '');
    if (found === undefined) throw new Error('no such file');
    return found;
  };

  // A memory of limited size.
  const wasm = files.get('pyodide.asm.wasm') as Uint8Array;
  const { instantiate, Memory } = webAssembly;
  const compiled = await webAssembly.compile(wasm);
  webAssembly.instantiate = async (binary, imports) =>
    (binary as Uint8Array).byteLength === wasm.byteLength
      ? { module: compiled, instance: await instantiate(compiled, imports) }
      : instantiate(binary, imports);
  const most = (memoryMb * 2 ** 20) / PAGE;
  webAssembly.Memory = function memory(limits: { initial: number; maximum?: number; shared?: boolean }) {
    return new Memory(limits.shared === true ? limits : { ...limits, maximum: Math.max(limits.initial, most) });
  } as unknown as typeof Memory;

  // Neither time nor chance: the same program does the same twice.
  let drawn = 0;
  const os = {
    /** Pyodide asks a shell for random bytes in this way: `head -cN /dev/urandom | base64`. */
    system: (_command: string, args: string[]) =>
      base64(Number(/head -c(\d+) /.exec(args[1] ?? '')?.[1] ?? 0), ++drawn & 255).toString('base64'),
  };
  const frozen = Date.UTC(2025, 0, 1);
  Date.now = () => frozen;

  const globals = globalThis as unknown as Record<string, unknown>;
  const keep = new Set([...LEFT, ...ECMASCRIPT.split(' ')]);
  for (const name of Object.getOwnPropertyNames(globals)) if (!keep.has(name)) delete globals[name];
  const silent = (): void => {};
  Object.assign(globals, {
    read,
    readbuffer: read,
    load: async () => {},
    os,
    performance: { now: () => 0 },
    console: { log: silent, info: silent, debug: silent, warn: silent, error: silent },
  });
  await import(`file://${folder}/pyodide.asm.js`);
  const { loadPyodide } = (await import(`file://${folder}/pyodide.mjs`)) as { loadPyodide: LoadPyodide };
  return loadPyodide;
}

const OPTIONS = {
  indexURL: '/pyodide/',
  jsglobals: Object.freeze(Object.create(null)) as object,
  env: { PYTHONHASHSEED: '0', HOME: '/home/pyodide' },
};

// ── Runs ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

interface Interpreter {
  readonly pyodide: Pyodide;
  readonly run: (request: string) => unknown;
}

async function interpreter(load: LoadPyodide, snapshot: Uint8Array): Promise<Interpreter> {
  const pyodide = await load({ ...OPTIONS, _loadSnapshot: snapshot });
  const run = pyodide.globals.get('dunwu_run');
  pyodide.runPython(PYTHON_STRIP);
  return { pyodide, run };
}

/** Runs a program. Does not come back when the steps are used up: then the process ends, having said so. */
function answer({ pyodide, run }: Interpreter, { steps, ...request }: PythonAsk): object {
  const input = asBytes.encode(request.input ?? '');
  let at = 0;
  let printed = '';
  let over = false;
  const decoder = new TextDecoder();
  pyodide.setStdin({
    read(buffer) {
      const part = input.subarray(at, at + buffer.length);
      buffer.set(part);
      at += part.length;
      return part.length;
    },
  });
  pyodide.setStdout({
    write(buffer) {
      if (!over) printed += decoder.decode(buffer, { stream: true });
      over ||= printed.length > MAX_OUTPUT;
      return buffer.length;
    },
  });
  pyodide.setStderr({ write: (buffer) => buffer.length });
  let left = Math.ceil(steps / TURNS);
  pyodide.setInterruptBuffer({
    get 0() {
      if (--left < 0) {
        say({ kind: 'timeout', why: 'too many steps' });
        exit(0);
      }
      return 0;
    },
    set 0(_value: number) {},
  });
  const given = run(JSON.stringify(request));
  if (typeof given !== 'string') return { kind: 'failed', at: 'run', why: 'the interpreter broke down' };
  const outcome = JSON.parse(given) as Record<string, unknown>;
  if (outcome.kind === 'returned' && String(outcome.text).length > MAX_OUTPUT) {
    return { kind: 'failed', at: 'run', why: `returned ${tooLong}` };
  }
  if (outcome.kind !== 'printed') return outcome;
  return over ? { kind: 'failed', at: 'run', why: `printed ${tooLong}` } : { kind: 'printed', text: printed };
}

// ── The conversation ─────────────────────────────────────────────────────────────────────────────────────────────────

const chunks: Buffer[] = [];
let wake = (): void => {};
const join = Buffer.concat.bind(Buffer);
stdin.on('data', (chunk: Buffer) => {
  chunks.push(chunk);
  wake();
});
// Whoever started this is gone, or has no more use for it.
stdin.on('end', () => exit(0));

/** Waits until `length` finds so many bytes in what was heard, and takes them. */
async function take(length: () => number): Promise<Buffer> {
  for (let count = length(); ; count = length()) {
    if (count >= 0) {
      const all = join(chunks.splice(0));
      if (all.length > count) chunks.push(all.subarray(count));
      return all.subarray(0, count);
    }
    await new Promise<void>((resolve) => {
      wake = resolve;
    });
  }
}

const bytes = (count: number): Promise<Buffer> =>
  take(() => (chunks.reduce((sum, chunk) => sum + chunk.length, 0) >= count ? count : -1));

const line = async (): Promise<string> => {
  const taken = await take(() => {
    let before = 0;
    for (const chunk of chunks) {
      const end = chunk.indexOf(10);
      if (end >= 0) return before + end + 1;
      before += chunk.length;
    }
    return -1;
  });
  return asText.decode(taken);
};

const start = JSON.parse(await line()) as PythonStart;
const given = new Uint8Array(await bytes(start.snapshot));
const load = await bareShell(start.memoryMb);
if (start.snapshot === 0) {
  const pyodide = await load({ ...OPTIONS, _makeSnapshot: true });
  pyodide.runPython(PYTHON_HARNESS);
  const snapshot = pyodide.makeMemorySnapshot();
  say({ snapshot: snapshot.length });
  write(snapshot);
  exit(0);
}
const fresh = await interpreter(load, given);
say({ ready: true });
const ask = JSON.parse(await line()) as PythonAsk;
try {
  say(answer(fresh, ask));
} catch (error) {
  // Only what breaks the interpreter gets here: the stack of the machine ran out, or its memory.
  const why = error instanceof RangeError ? 'stack overflow' : `the interpreter broke down: ${String(error)}`;
  say({ kind: 'failed', at: 'run', why: why.slice(0, MAX_WHY) });
}
exit(0);
