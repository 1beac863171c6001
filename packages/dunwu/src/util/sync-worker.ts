import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { MessageChannel, type MessagePort, receiveMessageOnPort, Worker, workerData } from 'node:worker_threads';

/** What became of a call: its value, what the worker threw, or that it had to be ended. */
export type SyncReply<Reply> =
  | { readonly status: 'done'; readonly value: Reply }
  | { readonly status: 'failed'; readonly error: string }
  | { readonly status: 'timeout' };

export interface SyncWorkerOptions {
  /** Largest heap of the thread, in MiB. A thread that outgrows it ends, and its call reads as a timeout. */
  readonly memoryMb?: number;
  /** Time for the thread to start and load its module, in milliseconds. */
  readonly startMs?: number;
}

interface Link {
  readonly worker: Worker;
  readonly port: MessagePort;
  readonly turn: Int32Array;
}

interface Data {
  readonly port: MessagePort;
  readonly turn: Int32Array;
  readonly module: string;
}

/** Values of the shared turn: nothing to read yet; a reply lies on the port. */
const WAITING = 0;
const REPLIED = 1;

/** Loads the module; while the caller waits, an event could not tell it that this failed. */
const BOOTSTRAP = `const { workerData: { port, turn, module } } = require('node:worker_threads');
import(module).catch((error) => {
  port.postMessage({ status: 'failed', error: String(error && error.message || error) });
  Atomics.store(turn, 0, ${REPLIED});
  Atomics.notify(turn, 0);
});`;

/**
 * Calls a function in a thread of its own and waits for it, for callers that are synchronous: what takes too long is
 * really ended, with its thread, and the next call has a new one. Starts with the first call and keeps no process alive.
 */
export class SyncWorker<Request, Reply> {
  readonly #module: string | URL;
  readonly #options: SyncWorkerOptions;
  #link: Link | null = null;

  /**
   * @param module the thread's module, which calls {@link serveSync}: below the package's source folder and without
   *   ending (`reward/math-worker`), or a URL
   */
  constructor(module: string | URL, options: SyncWorkerOptions = {}) {
    this.#module = module;
    this.#options = options;
  }

  /**
   * @param ms time for this call, without the thread's start
   * @throws Error when the thread cannot be started
   */
  call(request: Request, ms: number): SyncReply<Reply> {
    const link = this.#started();
    Atomics.store(link.turn, 0, WAITING);
    link.port.postMessage(request);
    const reply = wait(link, ms);
    if (reply === null) {
      this.dispose();
      return { status: 'timeout' };
    }
    return reply as SyncReply<Reply>;
  }

  /** Ends the thread; the next call starts one again. */
  dispose(): void {
    const link = this.#link;
    this.#link = null;
    link?.port.close();
    void link?.worker.terminate();
  }

  #started(): Link {
    if (this.#link !== null) return this.#link;
    const turn = new Int32Array(new SharedArrayBuffer(4));
    const { port1, port2 } = new MessageChannel();
    const module = typeof this.#module === 'string' ? builtModule(this.#module) : this.#module;
    const data: Data = { port: port2, turn, module: module.href };
    const { memoryMb, startMs = 60_000 } = this.#options;
    const worker = new Worker(BOOTSTRAP, {
      eval: true,
      workerData: data,
      transferList: [port2],
      execArgv: [],
      ...(memoryMb === undefined ? {} : { resourceLimits: { maxOldGenerationSizeMb: memoryMb } }),
    });
    // An ended thread is found out by the call that waits for it, which cannot receive events.
    worker.on('error', () => {});
    worker.unref();
    port1.unref();
    const link: Link = { worker, port: port1, turn };
    const ready = wait(link, startMs);
    if (ready?.status !== 'done') {
      port1.close();
      void worker.terminate();
      const why = ready?.status === 'failed' ? ready.error : `not ready within ${startMs / 1000} s`;
      throw new Error(`cannot start the thread ${String(this.#module)}: ${why}`);
    }
    this.#link = link;
    return link;
  }
}

function wait(link: Link, ms: number): SyncReply<unknown> | null {
  Atomics.wait(link.turn, 0, WAITING, ms);
  const message = receiveMessageOnPort(link.port) as { message: SyncReply<unknown> } | undefined;
  return message?.message ?? null;
}

/** The compiled file of a module: a thread runs JavaScript, also when this very file is run from its source by a test. */
function builtModule(module: string): URL {
  const here = import.meta.url;
  const url = new URL(here.endsWith('.ts') ? `../../dist/${module}.js` : `../${module}.js`, here);
  if (!existsSync(fileURLToPath(url))) throw new Error(`${fileURLToPath(url)} is missing: build first (npx tsc -b)`);
  return url;
}

/** In the thread's module: answers each call by `handle`, or by what it promises. What it throws is told as text. */
export function serveSync<Request, Reply>(handle: (request: Request) => Reply | Promise<Reply>): void {
  const { port, turn } = workerData as Data;
  const reply = (message: SyncReply<Reply | null>): void => {
    port.postMessage(message);
    Atomics.store(turn, 0, REPLIED);
    Atomics.notify(turn, 0);
  };
  const answer = async (request: Request): Promise<void> => {
    let message: SyncReply<Reply>;
    try {
      message = { status: 'done', value: await handle(request) };
    } catch (error) {
      message = { status: 'failed', error: error instanceof Error ? error.message : String(error) };
    }
    reply(message);
  };
  port.on('message', (request: Request) => void answer(request));
  reply({ status: 'done', value: null });
}
