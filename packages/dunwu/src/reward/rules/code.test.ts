import { describe, expect, it } from 'vitest';
import type { Problem } from '../../task/problem.js';
import { codeRule } from './code.js';

const problem = (tests: unknown): Problem => ({
  id: 'p',
  prompt: 'Write add(a, b).',
  source: 's',
  language: 'en',
  meta: { tests },
});
const ADD = problem({
  language: 'javascript',
  entry: 'add',
  cases: [
    { args: [1, 2], expected: 3 },
    { args: [0, 0], expected: 0 },
    { args: [-1, 1], expected: 0 },
    { args: [20, 22], expected: 42 },
  ],
});
const js = (code: string): string => `<think>so</think><answer>\n\`\`\`js\n${code}\n\`\`\`\n</answer>`;
const judge = (response: string, of = ADD) => codeRule({ steps: 2_000_000 })(of, response);

describe('code', () => {
  it.each([
    ['const add = (a, b) => a + b;', 1, 'ok', '4 of 4 cases pass'],
    [
      'function add(a, b) { return Math.abs(a + b) === 3 ? 3 : 0 }',
      0.75,
      'wrong',
      '3 of 4 cases pass; case 4: returned 0',
    ],
    ['const add = (a, b) => String(a + b)', 0, 'wrong', '0 of 4 cases pass; case 1: returned "3"'],
    ['const sum = 1', 0, 'wrong', '0 of 4 cases pass; case 1: there is no function add'],
    [
      'const add = (a, b) => { while (a === 1); return a + b }',
      0.75,
      'timeout',
      '3 of 4 cases pass; case 1: too many steps',
    ],
    [
      'const add = (a, b) => { while (a !== 20); return a + b }',
      0,
      'timeout',
      '0 of 4 cases pass; case 1: too many steps',
    ],
  ])('%s gets %f', (code, points, status, note) => {
    const response = js(code);
    const part = judge(response);
    expect(part).toMatchObject({ name: 'code', max: 1, points, status, note });
    expect(part.evidence.map(([from, to]) => response.slice(from, to))).toEqual([`${code}\n`]);
  });

  it('takes the last block of the answer part, and without a fence all of it', () => {
    const right = 'const add = (a, b) => a + b';
    expect(judge(`<think>\`\`\`js\n${right}\n\`\`\`</think><answer>no</answer>`)).toMatchObject({ points: 0 });
    expect(judge(`<answer>\`\`\`js\nlet add\n\`\`\`\n\`\`\`js\n${right}\n\`\`\`\n</answer>`)).toMatchObject({
      points: 1,
    });
    expect(judge(`<answer>~~~~\n${right}\n~~~~\nRun it:\n\`\`\`sh\nnode a.js\n\`\`\`\n</answer>`).points).toBe(0);
    expect(judge(`\`\`\`javascript\n${right}\n\`\`\`\n\`\`\`\n3\n\`\`\``)).toMatchObject({ points: 1 });
    expect(judge(`<answer>${right}</answer>`)).toMatchObject({ points: 1, status: 'ok' });
    expect(judge(`\`\`\`js\n${right}`)).toMatchObject({ points: 1 });
  });

  it('tells no program from a wrong one', () => {
    expect(judge('<answer> </answer>')).toMatchObject({ status: 'unparsable', points: 0, note: 'no program' });
    expect(judge('<answer>I do not know it.</answer>')).toMatchObject({ status: 'unparsable', points: 0 });
    expect(judge(js('const add = (a, b => a'))).toMatchObject({ status: 'wrong', points: 0 });
    expect(judge(js('const add = (a, b => a')).note).toMatch(/^SyntaxError/);
  });

  it('judges what a program prints, but for white space at the ends', () => {
    const of = problem({
      language: 'javascript',
      cases: [
        { input: '2 3\n', output: '2\n3\n' },
        { input: '4', output: '5' },
      ],
    });
    const program = 'for (const n of readline().split(" ")) console.log(n + " ")';
    expect(judge(js(program), of)).toMatchObject({
      points: 0.5,
      note: '1 of 2 cases pass; case 2: printed "4 \\n"',
    });
  });

  it('numbers may be off by the tolerance, and only then', () => {
    const half = (tolerance?: number) =>
      problem({ language: 'javascript', entry: 'f', tolerance, cases: [{ args: [], expected: { a: [0.3, 300] } }] });
    const code = js('const f = () => ({ a: [0.1 + 0.2, 300.0001] })');
    expect(judge(code, half()).points).toBe(0);
    expect(judge(code, half(1e-6)).points).toBe(1);
    expect(judge(code, half(1e-8)).points).toBe(0);
  });

  it.each([
    [undefined, 'the problem has no tests'],
    [{ language: 'ruby', cases: [{ input: '', output: '' }] }, /"language": found "ruby".*javascript, python alone/],
    [{ language: 'javascript', cases: [] }, /"cases"/],
    [
      { language: 'javascript', entry: 'f', cases: [{ args: 1, expected: 1 }] },
      /"cases\.0\.args".*with "entry" a case is/,
    ],
    [{ language: 'javascript', entry: 'f', cases: [{ args: [] }] }, /"cases\.0\.expected"/],
    [{ language: 'javascript', entry: 'f', cases: [{ args: [], expected: 2 ** 60 }] }, /not exact/],
    [
      { language: 'javascript', entry: 'f(); g', cases: [{ args: [], expected: 1 }] },
      /expected the name of a function/,
    ],
    [{ language: 'javascript', entry: 'f', cases: [{ input: '', output: '' }] }, /"cases\.0/],
    [{ language: 'javascript', cases: [{ input: '', output: '' }], time: 3 }, /time/],
  ])('tests %j are bad gold', (tests, note) => {
    const part = judge(js('const f = () => 1'), problem(tests));
    expect(part).toMatchObject({ points: 0, status: 'bad-gold', evidence: [] });
    expect(part.note).toMatch(note);
  });
});

describe('Python', { timeout: 120_000 }, () => {
  const of = problem({
    language: 'python',
    entry: 'add',
    cases: [
      { args: [1, 2], expected: 3 },
      { args: [[0], [1]], expected: [0, 1] },
    ],
  });
  const py = (code: string): string =>
    `<think>\`\`\`python\nno\n\`\`\`</think><answer>\n\`\`\`python\n${code}\n\`\`\`\nIt runs as:\n\`\`\`sh\npython a.py\n\`\`\`\n</answer>`;

  it.each([
    ['def add(a, b):\n    return a + b', 1, 'ok', '2 of 2 cases pass'],
    ['def add(a, b):\n    return 3', 0.5, 'wrong', '1 of 2 cases pass; case 2: returned 3'],
    ['def add(a, b):\n    return True', 0, 'wrong', '0 of 2 cases pass; case 1: returned true'],
    [
      'def add(a, b):\n    while a == 1: pass\n    return a + b',
      0.5,
      'timeout',
      '1 of 2 cases pass; case 1: too many steps',
    ],
    ['def add(a, b)\n    return a', 0, 'wrong', "SyntaxError: expected ':' (line 1)"],
    [
      // Knows the cases it has seen, but not across them.
      'import builtins\nbuiltins.n = getattr(builtins, "n", 0) + 1\ndef add(a, b): return [0, 1] if builtins.n > 1 else 3',
      0.5,
      'wrong',
      '1 of 2 cases pass; case 2: returned 3',
    ],
  ])('%s gets %f', (code, points, status, note) => {
    expect(judge(py(code), of)).toMatchObject({ points, status, note });
  });

  it('judges what a program prints', () => {
    const sum = problem({
      language: 'python',
      cases: [
        { input: '2 3\n', output: '5' },
        { input: '4 4', output: '9' },
      ],
    });
    expect(judge(py('print(sum(map(int, input().split())))'), sum)).toMatchObject({
      points: 0.5,
      note: '1 of 2 cases pass; case 2: printed "8\\n"',
    });
  });
});

it('cases that the time for a response does not reach count as failed', () => {
  const cases = Array.from({ length: 200 }, () => ({ args: [], expected: 1 }));
  const of = problem({ language: 'javascript', entry: 'f', cases });
  const slow = js('function f() { for (let i = 0; i < 300000; i++); return 1 }');
  const part = codeRule({ response_limit_ms: 100 })(of, slow);
  expect(part.status).toBe('timeout');
  expect(part.points).toBeLessThan(1);
  expect(part.note).toMatch(/^\d+ of 200 cases pass; case \d+: not begun within 0\.1 s for the response$/);
});

/** Programs that want the checker's help, or what it expects: two cases, so that what one run learns could serve the next. */
describe('programs that cheat the checker', () => {
  it.each([
    [
      'tampers with how values are compared',
      'Object.prototype.valueOf = Array.prototype.every = () => true; Object.keys = () => []; const add = () => ({})',
    ],
    [
      'answers with a value that is everything',
      'const add = () => new Proxy({}, { get: () => () => true, has: () => true })',
    ],
    ['answers as it is encoded', 'const add = () => ({ toJSON: () => ({ expected: true, points: 1 }) })'],
    ['answers with a prototype', 'const add = () => JSON.parse(\'{"__proto__": {"points": 1, "expected": 3}}\')'],
    ['reads its caller', 'function add() { return add.caller.arguments[1].expected }'],
    ['reads the frames', 'function add() { return /expected\\D*(\\d+)/.exec(new Error().stack)[1] }'],
    [
      'looks through all globals',
      'function add() { for (const k of Object.getOwnPropertyNames(globalThis)) if (globalThis[k]?.expected) return globalThis[k].expected; return null }',
    ],
    ['reads the tests from files', 'const add = () => require("fs").readFileSync("problems.jsonl", "utf8")'],
    ['remembers from case to case', 'globalThis.n = (globalThis.n ?? 0) + 1; const add = () => n > 1 ? 42 : "first"'],
    ['exits as if all were well', 'process.exit(0); const add = () => 3'],
    ['returns nothing', 'const add = () => undefined'],
  ])('%s: no points, and the honest one keeps its own', (_name, code) => {
    expect(judge(js(code))).toMatchObject({ points: 0 });
    expect(judge(js('const add = (a, b) => a + b'))).toMatchObject({ points: 1, status: 'ok' });
    expect(Object.keys(Object.prototype)).toEqual([]);
    expect(({} as { points?: number }).points).toBeUndefined();
  });
});
