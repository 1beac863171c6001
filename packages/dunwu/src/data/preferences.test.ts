import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { readPreferences, readSafetyLabels } from './preferences.js';

const folder = mkdtempSync(path.join(os.tmpdir(), 'dunwu-preferences-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const file = (...lines: string[]): string => {
  const name = path.join(folder, 'rows.jsonl');
  writeFileSync(name, lines.map((line) => `${line}\n`).join(''));
  return name;
};

it('reads rows with where they stand, passes over other keys and blank lines', () => {
  const pairs = file(
    '{"prompt":"问？","chosen":"好","rejected":"","id":"a","flaw":null}',
    '',
    '{"prompt":"b","chosen":"c","rejected":"d"}',
  );
  expect(readPreferences(pairs)).toEqual([
    { where: `${pairs}:1`, prompt: '问？', chosen: '好', rejected: '' },
    { where: `${pairs}:3`, prompt: 'b', chosen: 'c', rejected: 'd' },
  ]);
  const labels = file('{"prompt":"a","response":"b","safe":false,"language":"en"}');
  expect(readSafetyLabels(labels)).toEqual([{ where: `${labels}:1`, prompt: 'a', response: 'b', safe: false }]);
});

it.each([
  ['{"prompt":"a","chosen":"c"}', /rows\.jsonl:2: "rejected": .*expected \{"prompt", "chosen", "rejected"\}/],
  ['{"prompt":"a","chosen":["c"],"rejected":"d"}', /rows\.jsonl:2: "chosen": .*array/],
  ['[1]', /rows\.jsonl:2: .*expected object/],
  ['null', /rows\.jsonl:2: /],
  ['{"prompt":', /rows\.jsonl:2: not valid JSON/],
])('%s is told with its line', (line, message) => {
  expect(() => readPreferences(file('{"prompt":"a","chosen":"b","rejected":"c"}', line))).toThrow(message);
});

it('labels are true or false, and a file without rows is no data', () => {
  expect(() => readSafetyLabels(file('{"prompt":"a","response":"b","safe":"yes"}'))).toThrow(
    /rows\.jsonl:1: "safe": .*true or false/,
  );
  expect(() => readPreferences(file(''))).toThrow(/there are no rows/);
  expect(() => readPreferences(path.join(folder, 'none.jsonl'))).toThrow(/no such file/);
});
