import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { Readable } from 'node:stream';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { computeType } from '../model/compute-type.js';
import { R1_DISTILL_TEMPLATE } from '../text/testing/make-tokenizer.js';
import { cli } from './testing/capture.js';
import { makeTinyFolder } from './testing/tiny-folder.js';

let dir = '';
beforeAll(async () => {
  dir = mkdtempSync(path.join(os.tmpdir(), 'dunwu-generate-'));
  await makeTinyFolder(dir, 5);
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

interface Row {
  index: number;
  response: string;
  thinking: string | null;
  answer: string | null;
  reason: string;
  tokens: number;
}
const rows = (out: string): Row[] =>
  out
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Row);

test('--json: one object an answer; the same in every run, other with another seed', async () => {
  const args = ['generate', dir, '还剩多少个？', '--n', '3', '--max-tokens', '12', '--temperature', '1', '--json'];
  const first = await cli(...args);
  expect(first).toMatchObject({ code: 0, err: '' });
  const answers = rows(first.out);
  expect(answers.map(({ index }) => index)).toEqual([0, 1, 2]);
  expect(Object.keys(answers[0] ?? {})).toEqual(['index', 'response', 'thinking', 'answer', 'reason', 'tokens']);
  for (const { tokens, reason } of answers) {
    expect(tokens).toBeLessThanOrEqual(12);
    if (tokens < 12) expect(reason).toBe('stop');
  }
  expect((await cli(...args)).out).toBe(first.out);
  expect((await cli(...args, '--seed', '2')).out).not.toBe(first.out);
  // One answer alone is the first of three.
  expect(rows((await cli(...args, '--n', '1')).out)[0]).toEqual(answers[0]);
});

test('temperature 0 takes the likeliest token each time', async () => {
  const { out } = await cli('generate', dir, 'Tom', '--temperature', '0', '--n', '2', '--max-tokens', '8', '--json');
  const [one, two] = rows(out);
  expect(two).toEqual({ ...one, index: 1 });
  const cold = await cli('generate', dir, 'Tom', '--top-k', '1', '--max-tokens', '8', '--json');
  expect(rows(cold.out)[0]).toEqual(one);
});

test('the streamed text is the text; a cut answer says so', async () => {
  const args = ['generate', dir, 'how many', '--raw', '--max-tokens', '9', '--temperature', '0'];
  const streamed = await cli(...args);
  const [whole] = rows((await cli(...args, '--json')).out);
  expect(whole?.thinking).toBeNull();
  expect(streamed.out.trim()).toBe(whole?.response.trim());
  expect(streamed.err).toBe(whole?.reason === 'length' ? '(cut at --max-tokens)\n' : '');
  const two = await cli(...args, '--n', '2');
  expect(two.out.match(/^\[[12]\]$/gm)).toEqual(['[1]', '[2]']);
});

test('--stop ends the answer before a text, streamed or not', async () => {
  const args = ['generate', dir, 'how many', '--raw', '--max-tokens', '30', '--temperature', '0'];
  const [whole] = rows((await cli(...args, '--json')).out);
  const text = whole?.response ?? '';
  const stop = text.slice(4, 7);
  expect(stop).toHaveLength(3);
  const cut = text.slice(0, text.indexOf(stop));
  const [row] = rows((await cli(...args, '--stop', 'not there', '--stop', stop, '--json')).out);
  expect(row).toMatchObject({ response: cut, reason: 'stop' });
  expect((await cli(...args, '--stop', stop)).out.trim()).toBe(cut.trim());
  expect(await cli(...args, '--stop', '')).toMatchObject({
    code: 2,
    err: expect.stringContaining('--stop: the text is empty'),
  });
});

test("a thought that the checkpoint's template has begun is shown as thinking", async () => {
  const distilled = path.join(dir, 'distilled');
  await makeTinyFolder(distilled, 5);
  writeFileSync(path.join(distilled, 'chat_template.jinja'), R1_DISTILL_TEMPLATE);
  const args = ['generate', distilled, 'how many', '--temperature', '0', '--max-tokens', '6'];
  const [whole] = rows((await cli(...args, '--json')).out);
  expect(whole?.answer).toBeNull();
  expect(whole?.thinking).toBe(whole?.response.trim());
  expect((await cli(...args)).out).toBe(`Thinking:\n${whole?.thinking}\n`);
});

test('--dtype bfloat16: computed in it, and otherwise in float32; drafts too', async () => {
  const folder = path.join(dir, 'types');
  await makeTinyFolder(folder, 5, { num_nextn_predict_layers: 1 });
  const args = ['generate', folder, 'how many', '--raw', '--max-tokens', '40', '--temperature', '1', '--json'];
  for (const more of [[], ['--speculative']]) {
    const short = await cli(...args, ...more, '--dtype', 'bfloat16');
    expect([short.code, computeType()]).toEqual([0, 'bfloat16']);
    const plain = await cli(...args, ...more);
    expect([plain.code, computeType()]).toEqual([0, 'float32']);
    expect(short.out).not.toBe(plain.out);
  }
});

test('- reads standard input, without the last newline', async () => {
  const direct = await cli('generate', dir, 'Tom has', '--json', '--max-tokens', '5');
  const stdin = vi.spyOn(process, 'stdin', 'get');
  stdin.mockReturnValue(Readable.from([Buffer.from('Tom '), Buffer.from('has\n')]) as typeof process.stdin);
  const piped = await cli('generate', dir, '-', '--json', '--max-tokens', '5');
  stdin.mockRestore();
  expect(piped.out).toBe(direct.out);
});

test('--speculative: the same greedy answer, and how many drafts were right; refused without a module', async () => {
  const args = ['how many', '--raw', '--max-tokens', '40', '--temperature', '0'];
  const none = await cli('generate', dir, ...args, '--speculative');
  expect(none.code).toBe(2);
  expect(none.err).toContain('--speculative needs a module of multi-token prediction, and this model has none');
  const folder = path.join(dir, 'mtp');
  await makeTinyFolder(folder, 5, { num_nextn_predict_layers: 1 });
  const plain = await cli('generate', folder, ...args);
  const drafted = await cli('generate', folder, ...args, '--speculative');
  expect(drafted).toMatchObject({ code: 0, out: plain.out });
  const line = /\(speculative: (\d+) of (\d+) drafts accepted, ([\d.]+) %; ([\d.]+) tokens a step\)\n$/.exec(
    drafted.err,
  );
  const [accepted, total, share, rate] = (line ?? []).slice(1).map(Number) as [number, number, number, number];
  expect(share).toBeCloseTo((100 * accepted) / total, 0);
  expect(rate).toBeCloseTo(39 / total, 2);
  const json = await cli('generate', folder, 'Tom', '--n', '3', '--max-tokens', '12', '--speculative', '--json');
  expect(rows(json.out).length).toBe(3);
  expect(json.err).toMatch(/^\(speculative: /);
});

test('wrong commands: exit 2', async () => {
  for (const [args, message] of [
    [[path.join(dir, 'no'), 'x'], 'there is no such folder'],
    [[dir, ''], 'the prompt is empty'],
    [[dir, 'x', '--top-p', '0'], '--top-p 0: a number > 0 and ≤ 1 is needed'],
    [[dir, 'x', '--temperature', '-1'], '--temperature -1: a number ≥ 0 is needed'],
    [[dir, 'x', '--max-tokens', '500'], '--max-tokens 500: at most '],
    [[dir, 'x', '--device', 'gpu'], '--device gpu: auto, cpu, cuda or cuda:N is needed'],
    [[dir, 'x', '--dtype', 'float16'], "argument 'float16' is invalid. Allowed choices are float32, bfloat16"],
    [[dir, 'x', '--device', 'cuda:99'], 'compute.device is cuda:99, and libtorch sees '],
    [[dir, 'x '.repeat(300)], 'the prompt is too long: '],
  ] as const) {
    const { code, err } = await cli('generate', ...args);
    expect(err).toContain(message);
    expect(code).toBe(2);
  }
});
