import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import quickJs from '@jitl/quickjs-ng-wasmfile-release-sync';
import {
  newQuickJSWASMModuleFromVariant,
  newVariant,
  type QuickJSContext,
  type QuickJSHandle,
  type QuickJSSyncVariant,
} from 'quickjs-emscripten-core';
import { serveSync } from '../../util/sync-worker.js';
import { type Call, type Limits, MAX_OUTPUT, MAX_WHY, type Outcome, tooLong } from './case-run.js';
import { JAVASCRIPT_PRELUDE } from './javascript-prelude.js';
import { PAGE, webAssembly } from './webassembly.js';

export interface JavaScriptRequest {
  readonly program: string;
  readonly call: Call;
  readonly limits: Limits;
}

/** Polls of QuickJS between two calls of its interrupt handler (JS_INTERRUPT_COUNTER_INIT). */
const POLLS = 10_000;
/** For QuickJS's own frames; the thread's stack, on which WebAssembly calls, is larger. */
const STACK_BYTES = 1 << 20;
const MIB = 1 << 20;

// The sandbox asks this thread for the time, and makes its random numbers from it: the same program does the same twice.
const FROZEN = Date.UTC(2025, 0, 1);
Date.now = () => FROZEN;
performance.now = () => 0;

const wasm = createRequire(import.meta.url).resolve('@jitl/quickjs-ng-wasmfile-release-sync/wasm');
const compiled = webAssembly.compile(readFileSync(wasm));

serveSync<JavaScriptRequest, Outcome>(async ({ program, call, limits }) => {
  // A WebAssembly instance and a memory of its own for each run: nothing of one is left to the next.
  const memoryPages = (limits.memoryMb * MIB) / PAGE;
  const wasmMemory = new webAssembly.Memory({ initial: 256, maximum: Math.max(256, memoryPages) });
  const variant = newVariant(quickJs as unknown as QuickJSSyncVariant, { wasmModule: await compiled, wasmMemory });
  const runtime = (await newQuickJSWASMModuleFromVariant(variant)).newRuntime();
  runtime.setMemoryLimit(limits.memoryMb * MIB);
  runtime.setMaxStackSize(STACK_BYTES);
  let left = Math.ceil(limits.steps / POLLS);
  runtime.setInterruptHandler(() => --left < 0);
  const timeout: Outcome = { kind: 'timeout', why: 'too many steps' };
  try {
    const outcome = run(runtime.newContext(), program, call);
    return left < 0 ? timeout : outcome;
  } catch (error) {
    if (left < 0) return timeout;
    // The thread's stack ran out below QuickJS, or QuickJS itself broke down.
    const why = error instanceof RangeError ? 'stack overflow' : 'the interpreter broke down';
    return { kind: 'failed', at: 'run', why };
  }
  // Nothing is disposed of: the whole memory goes, and a program may have left the heap in a state that cannot be freed.
});

/** What a program throws, for use within this file. */
class Thrown extends Error {}

function run(context: QuickJSContext, program: string, call: Call): Outcome {
  let describe: QuickJSHandle | null = null;
  const text = (handle: QuickJSHandle): string => {
    const length = context.typeof(handle) === 'string' ? context.getNumber(context.getProp(handle, 'length')) : -1;
    if (length < 0) throw new Thrown('no text');
    if (length > MAX_OUTPUT) throw new Thrown(tooLong);
    return context.getString(handle);
  };
  const take = (result: ReturnType<QuickJSContext['evalCode']>): QuickJSHandle => {
    if (result.error === undefined) return result.value;
    if (describe === null) throw new Thrown('the sandbox could not start');
    const told = context.callFunction(describe, context.undefined, result.error);
    throw new Thrown(told.error === undefined ? text(told.value).slice(0, MAX_WHY) : 'threw what cannot be told');
  };
  const failed = (at: 'compile' | 'run', error: unknown): Outcome => {
    if (!(error instanceof Thrown)) throw error;
    return { kind: 'failed', at, why: error.message };
  };

  const prelude = take(context.evalCode(JAVASCRIPT_PRELUDE, 'prelude.js'));
  const input = context.newString(call.input ?? '');
  const host = take(context.callFunction(prelude, context.undefined, input, context.newNumber(MAX_OUTPUT)));
  describe = context.getProp(host, 'describe');
  const ask = (name: string, ...args: QuickJSHandle[]): QuickJSHandle =>
    take(context.callFunction(context.getProp(host, name), context.undefined, ...args));
  const yes = (name: string): boolean => context.dump(ask(name)) === true;

  try {
    take(context.evalCode(program, 'program.js', { type: 'global', compileOnly: true }));
  } catch (error) {
    return failed('compile', error);
  }
  try {
    const settle = (): void => {
      const jobs = context.runtime.executePendingJobs();
      if (jobs.error !== undefined) take(jobs as ReturnType<QuickJSContext['evalCode']>);
    };
    take(context.evalCode(program, 'program.js', { type: 'global' }));
    if (call.entry === undefined) {
      settle();
      ask('heed');
      settle();
      return printed();
    }
    // Of the global scope, where const, let and class are too, or exported.
    const named = `typeof ${call.entry} === 'function' ? ${call.entry} : module.exports?.${call.entry}`;
    const entry = take(context.evalCode(named, 'entry.js'));
    if (context.typeof(entry) !== 'function') throw new Thrown(`there is no function ${call.entry}`);
    const value = ask('call', entry, context.newString(call.args));
    settle();
    const state = context.getPromiseState(value);
    if (state.type === 'pending') throw new Thrown('what it promised never came');
    if (state.type === 'rejected') take({ error: state.error } as ReturnType<QuickJSContext['evalCode']>);
    const encoded = ask('encode', state.type === 'fulfilled' ? state.value : value);
    return { kind: 'returned', text: text(encoded) };
  } catch (error) {
    if (error instanceof Thrown && call.entry === undefined && yes('exited')) return printed();
    return failed('run', error);
  }

  function printed(): Outcome {
    if (yes('over')) return { kind: 'failed', at: 'run', why: `printed ${tooLong}` };
    return { kind: 'printed', text: text(ask('printed')) };
  }
}
