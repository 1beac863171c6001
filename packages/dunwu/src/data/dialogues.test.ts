import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { readDialogues } from './dialogues.js';

const folder = mkdtempSync(path.join(os.tmpdir(), 'dunwu-dialogues-'));
afterAll(() => rmSync(folder, { recursive: true }));
const golden = (name: string): string => path.join(import.meta.dirname, '../util/testing/golden', `${name}.parquet`);

const file = (...rows: unknown[]): string => {
  const name = path.join(folder, 'rows.jsonl');
  writeFileSync(name, rows.map((row) => (typeof row === 'string' ? row : JSON.stringify(row))).join('\n'));
  return name;
};
const turn = (prompt: string, response: string) => [
  { role: 'user', content: prompt },
  { role: 'assistant', content: response },
];

describe('rows', () => {
  it('of every form; other keys are passed over', () => {
    const messages = [{ role: 'system', content: '' }, ...turn('1+1?', '2'), ...turn('2+2?', '4')];
    const { rows, empty } = readDialogues(
      file(
        { id: 'a', prompt: '1+1?', response: '<answer>2</answer>', answer: '2', source: 'x', language: 'en' },
        { messages, meta: 3 },
        '',
        { question: '问', answer: '答' },
        { question: 'q', response: 'r', answer: 's' },
      ),
    );
    expect(rows.map(({ messages }) => messages)).toEqual([
      turn('1+1?', '<answer>2</answer>'),
      messages,
      turn('问', '答'),
      turn('q', 'r'),
    ]);
    expect(rows.map(({ where }) => where.replace(/.*rows/, ''))).toEqual([
      '.jsonl:1',
      '.jsonl:2',
      '.jsonl:4',
      '.jsonl:5',
    ]);
    expect(empty).toEqual([]);
  });

  it('that say nothing are told, and the limit does not count them', () => {
    const name = file(
      { prompt: 'a', response: ' \n' },
      { prompt: 'b', response: 'c' },
      { prompt: '', response: 'd' },
      'x',
    );
    const { rows, empty } = readDialogues(name, 1);
    expect(rows).toHaveLength(1);
    expect(empty).toEqual([`${name}:1`]);
    expect(() => readDialogues(name)).toThrow(`${name}:4: not valid JSON`);
  });

  it.each([
    [['x'], 'not an object of keys'],
    [{ prompt: 'a', answer: 'b' }, 'found the keys prompt, answer'],
    [{ prompt: 'a', response: 3 }, '"response" must be a text, not 3'],
    [{ messages: [{ role: 'tool', content: 'x' }] }, '"messages" must be a list'],
    [{ messages: turn('a', 'b').slice(0, 1) }, '"messages" must end with an assistant turn'],
    [{}, 'found the keys (none)'],
  ])('malformed: %j', (row, message) => {
    expect(() => readDialogues(file({ prompt: 'a', response: 'b' }, row))).toThrow(`rows.jsonl:2: ${message}`);
  });

  it('of Parquet files, with the row in errors', () => {
    const { rows } = readDialogues(golden('messages-snappy'), 4);
    expect(rows).toHaveLength(4);
    expect(rows[1]?.messages.slice(1)).toEqual(turn('1+1?', '<think>1+1=2</think><answer>2</answer>'));
    expect(rows[1]?.where).toMatch(/messages-snappy\.parquet:row 2$/);
    expect(() => readDialogues(golden('pairs-null'))).toThrow(
      /pairs-null\.parquet:row 5: "response" must be a text, not null/,
    );
  });
});
