import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { UsageError } from './errors.js';
import { registerScore, type ScoreFlags, scoreCommand } from './score.js';
import { parseRules } from './score-responses.js';

const rows = [
  { question: 'Mary has 80 cards, loses 21.', answer: '80-21=<<80-21=59>>59\n#### 59', response: '80-21=59\n#### 59' },
  { question: '小明有3个苹果，又买了4个。', golden: '7', response: '答案是8', source: 'cmath' },
  { question: 'How many?', answer: 'see (((', response: '<think>a</think><answer>5</answer>' },
  { question: 'How many?', answer: 5, response: 'I do not know' },
];
const text = rows.map((row) => JSON.stringify(row)).join('\n');

class Sink extends Writable {
  text = '';
  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.text += chunk.toString();
    done();
  }
}

async function score(input: string, flags: Partial<ScoreFlags> = {}, file = '-') {
  const output = new Sink();
  const errors = new Sink();
  const bytes = Buffer.from(input);
  async function* chunks() {
    // Odd chunks: characters and lines are cut in the middle.
    for (let i = 0; i < bytes.length; i += 7) yield bytes.subarray(i, i + 7);
  }
  const all: ScoreFlags = { rules: 'accuracy,format,steps', ...flags };
  const code = await scoreCommand(file, all, { input: chunks(), output, errors });
  return { code, out: output.text, err: errors.text };
}

describe('dunwu score', () => {
  it('reads MATH and compares mathematics', async () => {
    const math = [
      { problem: 'Solve.', solution: String.raw`$\boxed{9}$? No: $\boxed{\pm 2}$`, response: 'So $\\boxed{-2, 2}$.' },
      { problem: '求解', solution: String.raw`\boxed{(0,1]}`, answer: '(0,1)', response: '答案是 $0<x<1$。' },
      { problem: 'Expand.', solution: String.raw`\boxed{x^2+2x+1}`, response: 'The answer is $x^2+1$.' },
      { problem: 'No box.', solution: 'so 5', response: '5' },
    ];
    const { out, err, code } = await score(math.map((row) => JSON.stringify(row)).join('\n'), { rules: 'accuracy' });
    expect(out).toContain('     0       1  accuracy ok 1 «-2, 2»');
    expect(out).toContain('     1       1  accuracy ok 1 «0<x<1»');
    expect(out).toContain('     2       0  accuracy wrong 0 «x^2+1»');
    expect(err).toContain('key "answer": missing');
    expect(code).toBe(1);
  });

  it('--json: one line a response, in order, with exactly the documented keys', async () => {
    const { code, out, err } = await score(text, { json: true });
    const lines = out
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect([code, err]).toEqual([0, '']);
    expect(lines).toHaveLength(4);
    expect(lines[0]).toEqual({
      index: 0,
      total: 2,
      parts: [
        { name: 'accuracy', points: 1, max: 1, status: 'ok', evidence: [[14, 16]] },
        { name: 'format', points: 0, max: 1, status: 'unparsable', evidence: [] },
        { name: 'steps', points: 1, max: 1, status: 'ok', evidence: [[0, 8]] },
      ],
    });
    expect(lines.map(({ index, parts }) => [index, parts[0].status])).toEqual([
      [0, 'ok'],
      [1, 'wrong'],
      [2, 'bad-gold'],
      [3, 'unparsable'],
    ]);
  });

  it('prints lines and a table for people', async () => {
    const { out } = await score(text, { rules: 'accuracy,format=0.5' });
    expect(out).toContain('     0       1  accuracy ok 1 «59»');
    expect(out).toMatch(/rule +ok +wrong +unparsable +timeout +bad-gold +mean points/);
    expect(out).toMatch(/accuracy +1 +1 +1 +0 +1 +0\.2500/);
    expect(out).toMatch(/format +1 +0 +3 +0 +0 +0\.2500/);
    expect(out).toContain('4 responses, mean total 0.3750');
  });

  it('reports bad lines with file and number, scores the others, and fails at the end', async () => {
    const input = `\ufeff${JSON.stringify(rows[0])}\n\n{"question": "a", \n{"question":"a","answer":"1"}\n[]\n${JSON.stringify(rows[3])}\r\n`;
    const { code, out, err } = await score(input, { json: true });
    expect(code).toBe(1);
    expect(
      out
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line).index),
    ).toEqual([0, 4]);
    expect(err).toMatch(/standard input:3: not valid JSON/);
    expect(err).toMatch(/standard input:4: key "response"/);
    expect(err).toContain('standard input:5:');
    expect(err).toContain('3 lines of standard input could not be read');
  });

  it('takes U+2028 inside a response as text', async () => {
    const line = '{"question":"q","answer":"5","response":"a\u2028#### 5"}';
    const { out } = await score(line, { json: true, rules: 'accuracy' });
    expect(JSON.parse(out)).toMatchObject({ total: 1 });
  });

  it('an empty input is no responses', async () => {
    expect(await score('')).toEqual({ code: 0, out: '\nno responses\n', err: '' });
  });

  it('--require-tags: only the answer tag counts', async () => {
    const { out } = await score(text, { json: true, rules: 'accuracy', requireTags: true });
    expect(JSON.parse(out.split('\n')[0] ?? '').parts[0].status).toBe('unparsable');
  });

  it('code: lines with tests and no answer; a flaw in them is named', async () => {
    const row = {
      question: 'Write add(a, b).',
      language: 'javascript',
      entry: 'add',
      tests: [
        { args: [1, 2], expected: 3 },
        { args: [2, 2], expected: 4 },
      ],
    };
    const lines = [
      { ...row, response: '```js\nconst add = (a, b) => a + b\n```' },
      { ...row, response: '```js\nconst add = () => 3\n```' },
      { ...row, response: '', language: 'ruby' },
    ];
    const { code, out, err } = await score(lines.map((line) => JSON.stringify(line)).join('\n'), { rules: 'code' });
    expect(code).toBe(1);
    expect(out).toContain('     0       1  code ok 1 «const add = (a, b) => a + b »');
    expect(out).toContain(
      '     1     0.5  code wrong 0.5 «const add = () => 3 » (1 of 2 cases pass; case 2: returned 3)',
    );
    expect(err).toMatch(/:3: "language": found "ruby": programs can be judged in javascript, python alone/);
  });

  it('refuses unknown rules and names those there are', () => {
    expect(() => parseRules('accuracy,speed')).toThrow(
      new UsageError(
        '--rules: unknown rule "speed"; allowed: format, accuracy, steps, language, repetition, readability, code',
      ),
    );
    expect(() => parseRules('accuracy,accuracy')).toThrow('named twice');
    expect(() => parseRules('accuracy=high')).toThrow('not NAME or NAME=WEIGHT');
    expect(() => parseRules('')).toThrow(UsageError);
  });

  describe('files', () => {
    let folder = '';
    beforeEach(async () => {
      folder = await mkdtemp(join(tmpdir(), 'dunwu-score-'));
    });
    afterEach(async () => {
      await rm(folder, { recursive: true });
    });

    it.each(['SIGINT', 'SIGTERM'] as const)(
      '%s in the middle of --out leaves no file',
      { timeout: 60_000 },
      async (signal) => {
        const bin = fileURLToPath(new URL('../../bin/dunwu.js', import.meta.url));
        const child = spawn(process.execPath, [bin, 'score', '-', '--out', join(folder, 'out.jsonl')]);
        child.stdin.write(`${text}\n`);
        while ((await readdir(folder)).length === 0) await new Promise((resolve) => setTimeout(resolve, 20));
        const ended = once(child, 'exit');
        child.kill(signal);
        expect(await ended).toEqual([null, signal]);
        expect(await readdir(folder)).toEqual([]);
      },
    );

    it('--out writes the traces, whole or not at all', async () => {
      const path = join(folder, 'traces.jsonl');
      const { out } = await score(text, { out: path });
      expect((await readFile(path, 'utf8')).trimEnd().split('\n')).toHaveLength(4);
      expect(await readdir(folder)).toEqual(['traces.jsonl']);
      expect(out.startsWith('rule')).toBe(true);
      await expect(score(text, { out: join(folder, 'no', 'x.jsonl') })).rejects.toThrow(UsageError);
      await expect(score(text, { out: path }, path)).rejects.toThrow('is the input file');
    });

    it('--import: rules of a file, by name', async () => {
      const rules = join(folder, 'rules.mjs');
      await writeFile(
        rules,
        'export const hashed = (p, r) => (r.includes("####") ? 1 : 0);\nexport const bad = () => 7;',
      );
      const warning = vi.spyOn(process, 'emitWarning').mockReturnValue();
      const { out } = await score(text, { rules: 'accuracy,hashed=0.5,bad', import: [rules] });
      expect(out).toContain(
        '     0     1.5  accuracy ok 1 «59»  hashed ok 1  bad error 0 (rule bad (rules.mjs): returned 7',
      );
      expect(out).toMatch(/rule +ok +wrong +unparsable +timeout +bad-gold +error +mean points/);
      expect(out).toMatch(/bad +0 +0 +0 +0 +0 +4 +0\.0000/);
      warning.mockRestore();
    });

    it('runs as a command on a file, and names a missing one', async () => {
      const path = join(folder, 'in.jsonl');
      await writeFile(path, text);
      const program = new Command('dunwu').exitOverride();
      registerScore(program);
      const out = join(folder, 'out.jsonl');
      const stdout = vi.spyOn(process.stdout, 'write').mockReturnValue(true);
      await program.parseAsync(['score', path, '--json', '--out', out, '--rules', 'accuracy'], { from: 'user' });
      expect(stdout.mock.calls.map(([chunk]) => JSON.parse(String(chunk)).index)).toEqual([0, 1, 2, 3]);
      stdout.mockRestore();
      expect((await readFile(out, 'utf8')).trimEnd().split('\n')).toHaveLength(4);
      await expect(program.parseAsync(['score', join(folder, 'none')], { from: 'user' })).rejects.toThrow(
        /no such file/,
      );
      await expect(program.parseAsync(['score', folder], { from: 'user' })).rejects.toThrow(/this is a folder/);
      process.exitCode = 0;
    });
  });
});
