import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { readRows } from './rows.js';

const folder = mkdtempSync(path.join(os.tmpdir(), 'dunwu-rows-'));
afterAll(() => rmSync(folder, { recursive: true }));
const write = (name: string, text: string): string => {
  const file = path.join(folder, name);
  writeFileSync(file, text);
  return file;
};
const read = (file: string, columns = ['a']) =>
  [...readRows(file, columns)].map(({ value, where }) => [value, where.replace(folder, '')]);

it('JSON lines, a JSON list, and where each row stands', () => {
  expect(read(write('x.jsonl', '{"a":1}\n\n{"a":2,"b":3}\n'))).toEqual([
    [{ a: 1 }, '/x.jsonl:1'],
    [{ a: 2, b: 3 }, '/x.jsonl:3'],
  ]);
  expect(read(write('x.json', '\ufeff[{"a":1},\n {"a":null}]'))).toEqual([
    [{ a: 1 }, '/x.json:entry 1'],
    [{ a: null }, '/x.json:entry 2'],
  ]);
});

it('Parquet: the columns asked for, without those that a row has empty', () => {
  const file = path.join(import.meta.dirname, 'testing/golden/problems.parquet');
  const rows = [...readRows(file, ['question', 'problem', 'solution', 'answer'])];
  expect(rows).toHaveLength(32);
  expect(rows[3]).toEqual({
    value: { question: '3 apples and 3 more?', answer: '3+3=<<3+3=6>>6\n#### 6' },
    number: 4,
    where: `${file}:row 4`,
  });
  expect(rows[30]?.value).toEqual({ problem: 'What is one half?', solution: 'It is \\boxed{\\frac{1}{2}}.' });
});

it.each([
  ['cut.json', '[{"a":1}', /cut\.json: not valid JSON: .*; JSON lines have the ending \.jsonl/],
  ['object.json', '{"a":1}', /object\.json: expected a list of objects/],
  ['lines.json', '{"a":1}\n{"a":2}\n', /lines\.json: not valid JSON/],
  ['empty.parquet', '', /empty\.parquet: not a readable Parquet file: it is empty/],
  ['cut.parquet', 'PAR1', /cut\.parquet: not a readable Parquet file/],
])('%s: the file is named, and what is wrong', (name, text, message) => {
  expect(() => read(write(name, text))).toThrow(message);
});

it('a file that is not there', () => {
  expect(() => read(path.join(folder, 'none.json'))).toThrow(/none\.json: no such file/);
  expect(() => read(path.join(folder, 'none.parquet'))).toThrow(/none\.parquet: no such file/);
});
