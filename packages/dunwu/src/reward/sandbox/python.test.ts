import { existsSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Limits, Outcome } from './case-run.js';
import { runPython } from './python.js';

// An interpreter takes a quarter of a second to start, the first some seconds: few programs, each asking for much.
const LIMITS: Limits = { steps: 5_000_000, timeMs: 60_000, memoryMb: 64 };
const call = (program: string, args: unknown[] = [], limits = LIMITS): Outcome =>
  runPython(program, { entry: 'f', args: JSON.stringify(args) }, limits);
const print = (program: string, input = ''): Outcome => runPython(program, { input }, LIMITS);
const honest = 'def f(a): return a * 2';

describe('a function', { timeout: 120_000 }, () => {
  it.each([
    ['def f(a, b): return a + b', [2, 3], '5'],
    ['f = lambda a: {"b": a, 3: (None, True, "x")}', [1.5], '{"b":1.5,"3":[null,true,"x"]}'],
    ['def f(s):\n  import re\n  return "".join(reversed(re.sub("x", "", s)))', ['顿x悟'], '"悟顿"'],
    ['def f(): return 2 ** 70', [], '"1180591620717411303424"'],
    ['def f(a): a.append(1); return a', [[0]], '[0,1]'],
    ['import math\nf = lambda: len(str(math.factorial(2000)))', [], '5736'],
    // Each level of a memoised function goes through C.
    [
      'import sys, functools\nsys.setrecursionlimit(5000)\n@functools.lru_cache(None)\ndef f(n): return 0 if n == 0 else 1 + f(n - 1)',
      [2000],
      '2000',
    ],
    ['f = lambda: "顿" * 100000 + "\\ud800"', [], `"${'顿'.repeat(100_000)}\ud800"`],
  ])('%s of %j returns %s', (program, args, text) => {
    expect(call(program, args)).toEqual({ kind: 'returned', text });
  });

  it.each([
    ['def g(): pass', 'run', 'NameError: there is no function f'],
    ['def f(: pass', 'compile', /^SyntaxError: .* \(line 1\)$/],
    ['\n\ndef f(): return x.y', 'run', "NameError: name 'x' is not defined (line 3)"],
    ['def f(): return float("nan")', 'run', 'TypeError: the result holds nan, which JSON has no form for'],
    ['def f(): return {1, 2}', 'run', /the result holds a set, expected a value of JSON/],
    ['def f():\n  a = []\n  a.append(a)\n  return a', 'run', /^RecursionError/],
    ['class E(Exception):\n  def __str__(self): raise self\ndef f(): raise E()', 'run', 'an error that cannot be told'],
    ['def f(): exit(0)', 'run', /^(SystemExit|NameError)/],
    ['f = lambda: "x" * 300000', 'run', 'returned more than 262144 characters'],
    ['f = lambda: "\\n" * 3000000', 'run', 'returned more than 262144 characters'],
  ])('%s fails at the %s: %s', (program, at, why) => {
    expect(call(program)).toEqual({
      kind: 'failed',
      at,
      why: typeof why === 'string' ? why : expect.stringMatching(why),
    });
  });
});

describe('a whole program', { timeout: 120_000 }, () => {
  it.each([
    ['a, b = map(int, input().split())\nprint(a + b)', '5\n'],
    ['import sys\nprint(*sorted(sys.stdin.read().split(), reverse=True), end="")', '3 2'],
    ['import sys\nfor line in sys.stdin: print([line])', "['2 3\\n']\n"],
    [
      'import atexit, io, sys\nout = io.StringIO()\nsys.stdout = out\natexit.register(lambda: sys.__stdout__.write(out.getvalue()))\nprint(7)',
      '7\n',
    ],
    ['import os, sys\nprint(1)\nsys.stdout.flush()\nos._exit(0)', '1\n'],
    ['print("顿" * 100000)', `${'顿'.repeat(100_000)}\n`],
    ['if __name__ == "__main__":\n  print(1)\n  raise SystemExit\nprint(2)', '1\n'],
    ['import sys\nprint(open(0).read().strip(), file=sys.stderr)\nprint("顿悟")', '顿悟\n'],
  ])('%s prints %j', (program, text) => {
    expect(print(program, '2 3\n')).toEqual({ kind: 'printed', text });
  });

  it('is cut off where it prints without end', () => {
    expect(print('for i in range(300): print("x" * 10000)')).toEqual({
      kind: 'failed',
      at: 'run',
      why: 'printed more than 262144 characters',
    });
  });
});

/** Clears what hides the bridge from Python to JavaScript: programs can, and get no further. */
const UNHIDE = 'import sys\nfor k in list(sys.modules):\n  if sys.modules[k] is None: del sys.modules[k]\n';
const SECRET = path.join(tmpdir(), `dunwu-python-${process.pid}`);

/** What programs try that want to harm or to cheat: each gets nothing, and the next honest one what it earns. */
const HOSTILE: [string, string, RegExp][] = [
  ['a loop without end', 'def f():\n  while True: pass', /too many steps/],
  [
    'a loop that catches all',
    'def f():\n  while True:\n    try:\n      while True: pass\n    except BaseException: pass',
    /too many steps/,
  ],
  ['a loop while it is read', 'while True: pass', /too many steps/],
  ['a loop in what it returns', 'class D(dict):\n  def items(self):\n    while True: pass\nf = D', /too many steps/],
  [
    'allocation without end',
    'def f():\n  a = []\n  while True: a.append("x" * 10**6 + str(len(a)))',
    /memory|broke down/,
  ],
  ['one large buffer', 'def f(): return len(bytearray(2**31 - 1))', /memory|broke down/],
  ['recursion without end', 'def f(): return f() + 1', /RecursionError/],
  ['recursion without its limit', 'import sys\nsys.setrecursionlimit(10**8)\ndef f(): return f() + 1', /./],
  ['a deep source', `f = lambda: ${'('.repeat(5000)}1${')'.repeat(5000)}`, /./],
  ['memory written over', 'import ctypes\ndef f(): return ctypes.memset(0, 0, 16_000_000)', /broke down/],
  ['files', 'def f(): return open("/etc/passwd").read()', /FileNotFoundError/],
  ['processes', 'import subprocess\ndef f(): return subprocess.run(["id"])', /process/],
  ['fork', 'import os\ndef f():\n  while True: os.fork()', /not implemented/i],
  ['network', 'import socket\ndef f(): socket.create_connection(("127.0.0.1", 80))', /unreachable|refused|OSError/],
  ['threads', 'import threading\ndef f(): threading.Thread(target=print).start()', /can't start new thread/],
  ['the host', 'import js\ndef f(): return str(js.process)', /ModuleNotFoundError/],
  ['packages', 'import micropip\ndef f(): micropip.install("numpy")', /ModuleNotFoundError/],
  [
    'code in the host by its function',
    `${UNHIDE}import _pyodide_core as c\nf = lambda: c.to_js([1]).constructor.constructor("return 1")()`,
    /Code generation from strings disallowed/,
  ],
  [
    'code in the host by C',
    'import ctypes\ndef f(): return ctypes.CDLL(None).emscripten_run_script_string(b"1+1")',
    /Code generation from strings disallowed|symbol|broke down/,
  ],
  [
    'the host through a stack',
    `${UNHIDE}import _pyodide_core as c
def f():
  Error = c.to_js([1]).constructor.constructor
  return str(Error.process.pid)`,
    /AttributeError|EvalError/,
  ],
];

describe('hostile programs', { timeout: 120_000 }, () => {
  it.each(HOSTILE)('%s gets nothing and harms nothing', (_name, program, why) => {
    const outcome = call(program);
    expect(['failed', 'timeout']).toContain(outcome.kind);
    expect(outcome).toMatchObject({ why: expect.stringMatching(why) });
    expect(call(honest, [21])).toEqual({ kind: 'returned', text: '42' });
  });

  it('what it writes it writes to nowhere, and finds no more than the language in the host', () => {
    const write = `import os\nos.makedirs(${JSON.stringify(SECRET)})\nopen(${JSON.stringify(`${SECRET}/x`)}, "w").write("x")\nf = lambda: 1`;
    expect(call(write)).toEqual({ kind: 'returned', text: '1' });
    try {
      expect(existsSync(SECRET)).toBe(false);
    } finally {
      rmSync(SECRET, { recursive: true, force: true });
    }
    // Whatever object of JavaScript it can get hold of, none has a property of Node's.
    const hunt = `${UNHIDE}import _pyodide_core as c, gc
def f():
  found = set()
  for o in [c.to_js([1]), c.to_js([1]).constructor, *gc.get_objects()]:
    if type(o).__name__ != 'JsProxy': continue
    for name in ('process', 'require', 'fetch', 'Buffer', 'mainModule', 'binding'):
      if hasattr(o, name): found.add(name)
  return sorted(found)`;
    expect(call(hunt)).toEqual({ kind: 'returned', text: '[]' });
  });

  it('the environment is empty, and no argument of the host is seen', () => {
    process.env.DUNWU_TEST_SECRET = 'swordfish';
    try {
      const seen = print(
        'import os, sys, gc\nprint(dict(os.environ), sys.argv, [x for x in gc.get_objects() if x == "swordfish"])',
      );
      expect(seen).toMatchObject({ kind: 'printed', text: expect.stringContaining("'HOME': '/home/pyodide'") });
      expect(seen).not.toMatchObject({ text: expect.stringContaining('swordfish') });
    } finally {
      delete process.env.DUNWU_TEST_SECRET;
    }
  });

  it('nothing goes on after the last word, in this case or in the next', () => {
    const linger = `${UNHIDE}import _pyodide_core as c
def f():
  P = c.to_js([1]).constructor.prototype
  P.dunwu = 1
  setattr(P.__proto__, 'then', c.create_proxy(lambda *a: None))
  return 1`;
    expect(call(linger)).toEqual({ kind: 'returned', text: '1' });
    expect(call(`${UNHIDE}import _pyodide_core as c\nf = lambda: hasattr(c.to_js([1]), 'dunwu')`)).toEqual({
      kind: 'returned',
      text: 'false',
    });
  });

  it('each run has its own limit on memory, also of the same program', () => {
    const take = 'f = lambda: len(bytearray(80 * 2**20))';
    expect(call(take, [], { ...LIMITS, memoryMb: 160 })).toEqual({ kind: 'returned', text: '83886080' });
    expect(call(take, [], LIMITS)).toMatchObject({ kind: 'failed', why: expect.stringMatching(/memory/i) });
  });

  it('the clock ends what counts no steps, with its process; the next program has a new one', () => {
    const slow = 'def f(): return 7 ** 7 ** 9 % 10';
    expect(call(slow, [], { ...LIMITS, steps: 10_000_000_000, timeMs: 500 })).toEqual({
      kind: 'timeout',
      why: 'more than 0.5 s',
    });
    expect(call(honest, [1])).toEqual({ kind: 'returned', text: '2' });
  });

  it('tampering with the modules that judge stays inside', () => {
    const tamper = `import json, sys, math
json.dumps = json.loads = lambda *a: '{"kind": "returned", "text": "9"}'
math.isfinite = lambda x: True
sys.stdout = None
f = lambda a: a`;
    expect(call(tamper, [1])).toMatchObject({ kind: 'returned', text: '1' });
    expect(call('import json\nf = lambda: json.dumps([1])')).toEqual({ kind: 'returned', text: '"[1]"' });
  });

  it('nothing is left from one run to the next, and neither time nor chance differs', () => {
    const count = `import builtins, time, random, os, tempfile, uuid
builtins.n = getattr(builtins, 'n', 0) + 1
def f():
  open('/tmp/left', 'a').write('x')
  return [builtins.n, len(open('/tmp/left').read()), time.time(), random.random(), os.urandom(4).hex(), hash('a'), str(uuid.uuid4())]`;
    const first = call(count);
    expect(first).toMatchObject({ kind: 'returned', text: expect.stringMatching(/^\[1,1,/) });
    expect(call(count)).toEqual(first);
    call(honest, [1]);
    expect(call(count)).toEqual(first);
  });

  it('what the program can reach holds its arguments and no test', () => {
    const seen = call(
      `def f(*args):
  import sys
  frame, names = sys._getframe(), []
  while frame:
    names += [f'{k}={v}' for k, v in frame.f_locals.items() if k == 'request']
    frame = frame.f_back
  return names`,
      ['only this'],
    );
    expect(seen).toEqual({ kind: 'returned', text: expect.stringContaining('only this') });
    expect((seen as { text: string }).text).not.toMatch(/expected|tolerance|points/);
  });

  it('ends at the same step whatever the clock says', () => {
    const loop = (n: number) => `def f():\n  i = 0\n  while i < ${n}: i += 1\n  return i`;
    const limits = { ...LIMITS, steps: 100_000 };
    expect(call(loop(50_000), [], limits)).toEqual({ kind: 'returned', text: '50000' });
    expect(call(loop(300_000), [], limits)).toEqual({ kind: 'timeout', why: 'too many steps' });
  });
});
