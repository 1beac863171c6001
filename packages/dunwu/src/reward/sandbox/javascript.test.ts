import { describe, expect, it } from 'vitest';
import type { Limits, Outcome } from './case-run.js';
import { runJavaScript } from './javascript.js';

const LIMITS: Limits = { steps: 5_000_000, timeMs: 60_000, memoryMb: 32 };
const call = (program: string, args: unknown[] = [], limits = LIMITS): Outcome =>
  runJavaScript(program, { entry: 'f', args: JSON.stringify(args) }, limits);
const print = (program: string, input = ''): Outcome => runJavaScript(program, { input }, LIMITS);

describe('a function', () => {
  it.each([
    ['function f(a, b) { return a + b }', [2, 3], '5'],
    ['const f = (a) => ({ b: a, c: [null, true, "x"] });', [1.5], '{"b":1.5,"c":[null,true,"x"]}'],
    ['module.exports = { f: (s) => s.split("").reverse().join("") }', ['顿悟'], '"悟顿"'],
    ['exports.f = async (n) => { await null; return n * 2 }', [4], '8'],
    ['class C { static g() { return 7 } } var f = C.g', [], '7'],
    ['function f() { return 2n ** 70n }', [], '"1180591620717411303424"'],
    ['function f() { return 3n }', [], '3'],
  ])('%s of %j returns %s', (program, args, text) => {
    expect(call(program, args)).toEqual({ kind: 'returned', text });
  });

  it.each([
    ['function g() {}', 'run', 'there is no function f'],
    ['function f( {', 'compile', /^SyntaxError: /],
    ['\n\nfunction f() { return x.y }', 'run', 'ReferenceError: x is not defined (line 3)'],
    ['function f() {}', 'run', 'TypeError: the function returned nothing (undefined)'],
    ['function f() { return 0 / 0 }', 'run', 'TypeError: the result holds NaN, which JSON has no form for'],
    ['function f() { return new Map() }', 'run', /an \[object Map\], expected a value of JSON/],
    ['function f() { const a = []; a.push(a); return a }', 'run', /circular/],
    ['const f = () => new Promise(() => {})', 'run', 'what it promised never came'],
    ['const f = () => Promise.reject(new Error("no"))', 'run', /^Error: no/],
    ['function f() { throw 5 }', 'run', 'threw 5'],
    ['function f() { throw { get name() { throw 1 } } }', 'run', 'threw what cannot be told'],
    ['const f = () => "x".repeat(300000)', 'run', 'more than 262144 characters'],
  ])('%s fails at the %s: %s', (program, at, why) => {
    expect(call(program)).toEqual({
      kind: 'failed',
      at,
      why: typeof why === 'string' ? why : expect.stringMatching(why),
    });
  });
});

describe('a whole program', () => {
  it.each([
    ['const [a, b] = require("fs").readFileSync(0, "utf8").split(" ").map(Number); console.log(a + b)', '5\n'],
    ['const [a, b] = readline().split(" "); process.stdout.write(b + a)', '32'],
    [
      'const rl = require("node:readline").createInterface({ input: process.stdin }); rl.on("line", (l) => console.log([l]))',
      '["2 3"]\n',
    ],
    [
      'let s = ""; process.stdin.on("data", (d) => s += d).on("end", () => console.log(s.trim().length, {a: 1}))',
      '3 {"a":1}\n',
    ],
    ['console.log(1); process.exit(0); console.log(2)', '1\n'],
    ['JSON.stringify = () => "!"; Array.prototype.push = null; console.log([1, 2])', '[1,2]\n'],
  ])('%s prints %j', (program, text) => {
    expect(print(program, '2 3\n')).toEqual({ kind: 'printed', text });
  });

  it('is cut off where it prints without end, also when it exits then', () => {
    const why = 'printed more than 262144 characters';
    expect(print('for (let i = 0; i < 30; i++) console.log("x".repeat(10000))')).toEqual({
      kind: 'failed',
      at: 'run',
      why,
    });
    expect(print('console.log("x".repeat(300000)); process.exit()')).toEqual({ kind: 'failed', at: 'run', why });
  });
});

/** What programs try that want to harm or to cheat: each gets nothing, and the next honest one what it earns. */
const HOSTILE: [string, string, RegExp][] = [
  ['a loop without end', 'function f() { for (;;); }', /too many steps/],
  [
    'a loop that catches',
    'function f() { for (;;) try { for (;;); } catch { continue } finally { f() } }',
    /too many steps|stack/,
  ],
  ['a loop while it is read', 'while (true) {} function f() {}', /too many steps/],
  [
    'promises without end',
    'const g = async () => { await null; return g() }; const f = () => g()',
    /too many steps|memory|never came/,
  ],
  [
    'microtasks without end',
    'const f = () => { const g = () => Promise.resolve().then(g); return g() }',
    /too many steps|memory|never came/,
  ],
  ['a getter without end in the result', 'function f() { return { get a() { for (;;); } } }', /too many steps/],
  ['an error without end in its telling', 'function f() { throw { get name() { for (;;); } } }', /too many steps/],
  [
    'allocation without end',
    'function f() { const all = []; for (;;) all.push(new Array(1e5).fill(all)); }',
    /memory|too many steps/,
  ],
  ['text that doubles', 'function f() { let s = "x"; for (;;) s += s; }', /string too long|memory/],
  ['one large buffer', 'function f() { return new Uint8Array(2 ** 31 - 1).length }', /memory|length/],
  ['recursion without end', 'function f() { return f() + 1 }', /stack/],
  ['recursion in built-ins', 'function f() { return [1].map(f) }', /stack/],
  [
    'nesting without end',
    'function f() { let a = []; for (let i = 0; i < 1e6; i++) a = [a]; return a }',
    /stack|more than|memory/,
  ],
  ['a deep source', `const f = () => ${'['.repeat(50_000)}`, /stack|Syntax/],
  ['files', 'const f = () => require("fs").readFileSync("/etc/passwd", "utf8")', /no files here/],
  ['modules of the host', 'const f = () => require("child_process").execSync("id")', /no module child_process/],
  ['imports', 'const f = () => import("node:fs")', /./],
  ['the host through its function', 'const f = () => require.constructor("return process.binding")()("fs")', /./],
  [
    'the host through a stack',
    'Error.prepareStackTrace = (e, s) => s; const f = () => new Error().stack[0].getThis().process.kill()',
    /./,
  ],
  ['network', 'const f = () => fetch("http://127.0.0.1/")', /fetch is not defined/],
  ['threads', 'const f = () => new Worker("x")', /Worker is not defined/],
  ['WebAssembly', 'const f = () => WebAssembly.compile(new Uint8Array())', /WebAssembly is not defined/],
];

describe('hostile programs', () => {
  it.each(HOSTILE)('%s gets nothing and harms nothing', (_name, program, why) => {
    const outcome = call(program);
    expect(['failed', 'timeout']).toContain(outcome.kind);
    expect(outcome).toMatchObject({ why: expect.stringMatching(why) });
    expect(call('const f = (a) => a * 2', [21])).toEqual({ kind: 'returned', text: '42' });
  });

  it('the clock ends what counts no steps, with its thread; the next program has a new one', () => {
    const slow = 'function f() { return /^(a+)+$/.test("a".repeat(40) + "b") }';
    expect(call(slow, [], { ...LIMITS, steps: 10_000_000_000, timeMs: 300 })).toMatchObject({ kind: 'timeout' });
    expect(call('const f = () => 1')).toEqual({ kind: 'returned', text: '1' });
  });

  it('tampering with prototypes and built-ins stays inside, in every form', () => {
    const tamper = `Object.prototype.polluted = 1; Array.prototype.every = () => true; Object.keys = () => [];
      JSON.parse = () => 1; JSON.stringify = () => '9'; Number.isFinite = String = Reflect.apply = () => 9;
      Object.prototype.toJSON = () => 9; globalThis.console = null;`;
    expect(call(`${tamper} const f = (a) => a`, [1])).toEqual({ kind: 'returned', text: '1' });
    expect(call('function f() { return JSON.parse(\'{"__proto__": {"polluted": 1}}\') }')).toEqual({
      kind: 'returned',
      text: '{"__proto__":{"polluted":1}}',
    });
    expect(call('const f = () => [Object.prototype.polluted ?? null, JSON.stringify([1])]')).toEqual({
      kind: 'returned',
      text: '[null,"[1]"]',
    });
    expect(({} as { polluted?: number }).polluted).toBeUndefined();
    expect([1].every((one) => one > 1)).toBe(false);
  });

  it('nothing is left from one run to the next, and neither time nor chance differs', () => {
    const count =
      'globalThis.n = (globalThis.n ?? 0) + 1; const f = () => [n, Date.now(), new Date().getTime(), performance.now(), Math.random()]';
    expect(call(count)).toEqual(call(count));
    expect(call(count)).toMatchObject({ text: expect.stringMatching(/^\[1,/) });
  });

  it('what the program can reach holds its arguments and no test', () => {
    const seen = call(
      `const f = (...args) => [args, Object.getOwnPropertyNames(globalThis).filter((name) =>
      !/^[A-Z]/.test(name) && typeof globalThis[name] !== 'function').sort()]`,
      ['only this'],
    );
    expect(seen).toEqual({
      kind: 'returned',
      text: JSON.stringify([['only this'], JSON.parse((seen as { text: string }).text)[1]]),
    });
    expect(JSON.parse((seen as { text: string }).text)[1]).toEqual([
      'console',
      'exports',
      'globalThis',
      'module',
      'performance',
      'process',
      'undefined',
    ]);
  });

  it('ends at the same step whatever the clock says', () => {
    const loop = (n: number) => `function f() { let i = 0; while (i < ${n}) i++; return i }`;
    const limits = { ...LIMITS, steps: 100_000 };
    expect(call(loop(20_000), [], limits)).toEqual({ kind: 'returned', text: '20000' });
    expect(call(loop(300_000), [], limits)).toEqual({ kind: 'timeout', why: 'too many steps' });
  });

  it('runs many programs in one thread', () => {
    for (let i = 0; i < 300; i++) expect(call('const f = (a) => a', [i])).toEqual({ kind: 'returned', text: `${i}` });
  });
});
