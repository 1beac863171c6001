import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { JsonLines, metricNumber, StageLines } from './metrics.js';

let dir = '';
let file = '';
beforeEach(() => {
  dir = mkdtempSync(path.join(os.tmpdir(), 'dunwu-lines-'));
  file = path.join(dir, 'm.jsonl');
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

test('writes one line a step, with NaN and infinities as texts', () => {
  const lines = new JsonLines(file);
  const stage = new StageLines(lines, 'base', -1, true);
  stage.append(0, [{ loss: 2.5, ratio: Number.NaN, load: [1, Number.POSITIVE_INFINITY] }]);
  stage.append(1, [{ loss: 0.1 + 0.2 }]);
  lines.close();
  expect(readFileSync(file, 'utf8')).toBe(
    '{"stage":"base","step":0,"loss":2.5,"ratio":"NaN","load":[1,"Infinity"]}\n' +
      '{"stage":"base","step":1,"loss":0.30000000000000004}\n',
  );
  expect([metricNumber(1.5), metricNumber('NaN'), metricNumber('-Infinity'), metricNumber('x')]).toEqual([
    1.5,
    Number.NaN,
    Number.NEGATIVE_INFINITY,
    undefined,
  ]);
});

test('a torn last line is dropped on opening, whatever its length', () => {
  for (const torn of ['{"ste', `{"text":"${'长'.repeat(70_000)}`]) {
    writeFileSync(file, '{"step":1}\n');
    appendFileSync(file, torn);
    const lines = new JsonLines(file);
    lines.append({ step: 2 });
    lines.close();
    expect(readFileSync(file, 'utf8')).toBe('{"step":1}\n{"step":2}\n');
  }
  writeFileSync(file, '{"only');
  new JsonLines(file).close();
  expect(readFileSync(file, 'utf8')).toBe('');
});

test('truncates at the first refused or unreadable line, across read blocks', () => {
  const rows = Array.from({ length: 3000 }, (_, step) => ({ step, text: '汉字'.repeat(200) })); // ~3.6 MB
  const lines = new JsonLines(file);
  lines.append(...rows);
  const whole = readFileSync(file, 'utf8');
  const dropped = lines.truncateWhere((row) => Number(row.step) <= 2500);
  const left = readFileSync(file, 'utf8');
  expect(left).toBe(whole.split('\n').slice(0, 2501).join('\n').concat('\n'));
  expect(dropped).toBe(Buffer.byteLength(whole) - Buffer.byteLength(left));
  expect(lines.truncateWhere(() => true)).toBe(0);
  appendFileSync(file, '\0\0\0\n{"step":9999}\n');
  expect(lines.truncateWhere(() => true)).toBe(3 + 1 + 14);
  lines.close();
});

test('steps neither go back nor reopen after their checkpoint', () => {
  const lines = new JsonLines(file);
  const stage = new StageLines(lines, 'zero', 4, false);
  expect(() => stage.append(4, [{}])).toThrow('step 4 is closed');
  stage.append(5, [{ a: 1 }, { a: 2 }]);
  stage.append(5, [{ a: 3 }]);
  stage.append(6, []);
  expect(() => stage.append(5, [{}])).toThrow('step 5 after step 6: steps must not go back');
  stage.closeStep(6);
  expect(() => stage.append(6, [{}])).toThrow('step 6 is closed');
  expect(() => stage.append(7, [{ step: 1 }])).toThrow('written by the run');
  expect(() => stage.append(7.5, [{}])).toThrow('whole number');
  lines.close();
  expect(readFileSync(file, 'utf8')).toBe('{"step":5,"a":1}\n{"step":5,"a":2}\n{"step":5,"a":3}\n');
});

test.skipIf(process.platform !== 'linux')('a full disk is told with the path', () => {
  const full = new JsonLines('/dev/full');
  expect(() => full.append({ a: 1 })).toThrow('no space left on the device to write /dev/full');
});
