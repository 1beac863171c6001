import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { realpathSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { type Limits, MAX_OUTPUT, MAX_WHY, type Outcome } from './case-run.js';
import type { PythonAsk, PythonStart } from './python-child.js';

/** Heap of the process beside Python's memory, in MiB. */
const HEAP_MB = 256;
/** What Node takes of private memory, in MiB: its threads' stacks, its code, two copies of the snapshot. */
const NODE_MB = 768;
/** Time of the processor for getting ready, in seconds, beside a case's own: the last net, when nobody is left to end it. */
const READY_CPU_SECONDS = 60;
/**
 * Stack, in KiB, asked of the system, of which three quarters are for programs. Memoised functions (functools.lru_cache)
 * recurse through C, and how much a level takes depends on whether V8 has optimised the interpreter by then (up to 3.4 KiB
 * if so), which depends on time. With this much CPython's own limit, some 3,500 levels, is met first, always.
 */
const STACK_KIB = 32_768;
/** What programs have where no shell can ask for more than the 8 MiB that are usual. */
const USUAL_STACK_KIB = 6000;
/** Time for an interpreter to get ready. */
const READY_MS = 120_000;

/** What a process says is a program's word: read with suspicion. */
const said = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('returned'), text: z.string().max(MAX_OUTPUT) }),
  z.strictObject({ kind: z.literal('printed'), text: z.string().max(MAX_OUTPUT) }),
  z.strictObject({ kind: z.literal('failed'), at: z.enum(['compile', 'run']), why: z.string() }),
  z.strictObject({ kind: z.literal('timeout'), why: z.string() }),
]);

/** Longest line a process may say: a result of two bytes a character, each escaped as JSON, twice. */
const MAX_LINE = 16 * MAX_OUTPUT;

/** Folder of the package `pyodide`, and what the process runs: all that it may read. */
function places(): { pyodide: string; child: string; own: string } {
  const here = path.dirname(fileURLToPath(import.meta.url));
  const pyodide = path.dirname(createRequire(import.meta.url).resolve('pyodide/package.json'));
  return { pyodide: realpathSync(pyodide), child: path.join(here, 'python-child.js'), own: here };
}

/** What a process is made for. */
export type PythonLimits = Pick<Limits, 'memoryMb' | 'timeMs'>;

/**
 * A process that runs one case of one Python program, without rights: no environment, Node's permission model (it reads
 * Pyodide and this folder, and writes, starts and loads nothing), no code made from texts, limits of the operating system
 * on memory, files and processor time where there is a shell to set them.
 */
export class PythonProcess {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #chunks: Buffer[] = [];
  #held = 0;
  #ended: string | null = null;
  #wake: () => void = () => {};
  /** What it said of its own failures. */
  #complaint = '';

  /**
   * @param snapshot what interpreters start from; null: the process makes one, and ends
   * @throws Error when it cannot be started
   */
  constructor(
    readonly limits: PythonLimits,
    snapshot: Uint8Array | null,
  ) {
    const { memoryMb, timeMs } = limits;
    const { pyodide, child, own } = places();
    const flags = process.allowedNodeEnvironmentFlags;
    const node = [
      process.execPath,
      flags.has('--permission') ? '--permission' : '--experimental-permission',
      `--allow-fs-read=${pyodide}${path.sep}`,
      `--allow-fs-read=${own}${path.sep}`,
      '--disallow-code-generation-from-strings',
      `--max-old-space-size=${HEAP_MB}`,
      '--no-warnings',
      child,
      pyodide,
    ];
    const data = (memoryMb + NODE_MB) * 1024;
    const seconds = Math.ceil(timeMs / 1000) + READY_CPU_SECONDS;
    // What a shell cannot limit is left as it is: these are a second wall behind the first. Stack first: it may be raised.
    const limit = ['c 0', 'f 0', `S -t ${seconds}`, `H -t ${seconds + 5}`, `d ${data}`]
      .map((one) => `ulimit -${one} 2>/dev/null; `)
      .join('');
    const stack = `if ulimit -S -s ${STACK_KIB} 2>/dev/null; then s=${(STACK_KIB * 3) / 4}; else s=${USUAL_STACK_KIB}; ulimit -S -s 8192 2>/dev/null; fi; `;
    const [program = '', ...rest] = node;
    const [command = '', ...args] =
      process.platform === 'win32'
        ? [program, `--stack-size=${USUAL_STACK_KIB}`, ...rest]
        : ['/bin/sh', '-c', `${stack}${limit}exec "$0" --stack-size="$s" "$@"`, program, ...rest];
    // Of its own group: Ctrl-C is for the program that judges, which finishes its step and saves.
    const ownGroup = { detached: process.platform !== 'win32', windowsHide: true };
    this.#child = spawn(command, args, { env: {}, cwd: pyodide, stdio: 'pipe', ...ownGroup });
    this.#child.unref();
    const end = (why: string): void => {
      this.#ended ??= why;
      this.#wake();
    };
    this.#child.on('error', (error) => end(error.message));
    this.#child.on('close', (code, signal) => end(signal ?? `exit code ${code}`));
    this.#child.stdin.on('error', () => {});
    this.#child.stderr.on('data', (chunk: Buffer) => {
      if (this.#complaint.length < 2000) this.#complaint += chunk.toString();
    });
    this.#child.stdout.on('data', (chunk: Buffer) => {
      this.#chunks.push(chunk);
      this.#held += chunk.length;
      // Nothing that it has to say is as long; only a snapshot is, and nobody's program makes one.
      if (snapshot !== null && this.#held > MAX_LINE) end('it said too much');
      this.#wake();
    });
    const start: PythonStart = { memoryMb, snapshot: snapshot?.length ?? 0 };
    this.#child.stdin.write(`${JSON.stringify(start)}\n`);
    if (snapshot !== null) this.#child.stdin.write(snapshot);
  }

  #ready: Promise<void> | null = null;

  /** @throws Error when it does not get ready. */
  ready(): Promise<void> {
    this.#ready ??= this.#line(READY_MS).then((line) => {
      if (line === null || !/^\{"ready":true\}$/.test(line)) throw this.#broken();
    });
    return this.#ready;
  }

  /** @throws Error when none comes. */
  async snapshot(): Promise<Uint8Array> {
    const line = await this.#line(READY_MS);
    const length = line === null ? 0 : Number(/^\{"snapshot":(\d+)\}$/.exec(line)?.[1] ?? 0);
    const bytes = length > 0 ? await this.#take(() => (this.#held >= length ? length : -1), READY_MS) : null;
    this.kill();
    if (bytes === null) throw this.#broken();
    return bytes;
  }

  /** Runs the case, once. The process is of no use after it. */
  async ask(request: PythonAsk, ms: number): Promise<Outcome> {
    this.#child.stdin.write(`${JSON.stringify(request)}\n`);
    const line = await this.#line(ms);
    if (line === null) {
      const ended = this.#ended;
      this.kill();
      if (ended === null) return { kind: 'timeout', why: `more than ${ms / 1000} s` };
      if (ended === 'SIGXCPU') return { kind: 'timeout', why: 'too much processor time' };
      return { kind: 'failed', at: 'run', why: `out of memory, or the interpreter broke down (${ended})` };
    }
    let value: unknown;
    try {
      value = JSON.parse(line);
    } catch {
      value = null;
    }
    const parsed = said.safeParse(value);
    this.kill();
    if (!parsed.success) {
      return { kind: 'failed', at: 'run', why: 'the interpreter broke down, or said too much' };
    }
    const outcome = parsed.data;
    return 'why' in outcome ? { ...outcome, why: outcome.why.slice(0, MAX_WHY) } : outcome;
  }

  get alive(): boolean {
    return this.#ended === null;
  }

  kill(): void {
    this.#ended ??= 'ended';
    this.#chunks.length = 0;
    this.#child.kill('SIGKILL');
  }

  #broken(): Error {
    const last = this.#complaint.trim().split('\n').slice(-3).join(' ');
    return new Error(`the Python sandbox does not start (${this.#ended ?? 'not ready in time'}) ${last}`.trim());
  }

  async #line(ms: number): Promise<string | null> {
    let searched = 0;
    let before = 0;
    const line = await this.#take(() => {
      // What was searched is not searched again: a program may say much in small pieces.
      for (; searched < this.#chunks.length; searched++) {
        const chunk = this.#chunks[searched] as Buffer;
        const end = chunk.indexOf(10);
        if (end >= 0) return before + end + 1;
        before += chunk.length;
      }
      return -1;
    }, ms);
    return line === null ? null : line.toString('utf8').trimEnd();
  }

  /** Waits until `length` is not -1 and takes so many bytes; null when the time is up or the process ends before. */
  async #take(length: () => number, ms: number): Promise<Buffer | null> {
    const until = performance.now() + ms;
    for (;;) {
      const count = length();
      if (count >= 0) {
        const all = Buffer.concat(this.#chunks.splice(0));
        if (all.length > count) this.#chunks.push(all.subarray(count));
        this.#held = all.length - count;
        return all.subarray(0, count);
      }
      const left = until - performance.now();
      if (this.#ended !== null || left <= 0) return null;
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }
}
