import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createEquation } from '../task/equation.js';
import type { DocumentSource } from './document.js';
import { createSource, sourceSchema } from './source.js';
import { createJsonlSource, createTextSource } from './text-source.js';

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'dunwu-text-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

const write = (name: string, text: string | Buffer): string => {
  writeFileSync(join(folder, name), text);
  return name;
};
function rest<D>(source: DocumentSource<D>): D[] {
  const found: D[] = [];
  for (let one = source.next(); one !== undefined; one = source.next()) found.push(one);
  return found;
}

describe('text', () => {
  it('takes paragraphs or lines, from several files, as often as asked', () => {
    const path = [write('a.txt', '\ufeffone\r\ntwo\r\n\r\n\r\n三\n'), write('b.txt', '  four')];
    const text = (unit: 'line' | 'paragraph', epochs: number) =>
      rest(createTextSource({ type: 'text', path, unit, epochs }, folder)).map((document) => document.text);
    expect(text('paragraph', 1)).toEqual(['one\ntwo', '三', '  four']);
    expect(text('line', 2)).toEqual(['one', 'two', '三', '  four', 'one', 'two', '三', '  four']);
  });

  it('cuts endless paragraphs at a line, losing nothing', () => {
    const lines = Array.from({ length: 100 }, (_, i) => `line ${i}`);
    const source = createTextSource(
      { type: 'text', path: write('long.txt', lines.join('\n')), max_chars: 50, epochs: 1 },
      folder,
    );
    const documents = rest(source).map(({ text }) => text);
    expect(documents.length).toBeGreaterThan(10);
    expect(documents.join('\n')).toBe(lines.join('\n'));
  });

  it('goes on from its state, at every place, over files and epochs', () => {
    const path = [write('c.txt', 'a\n\nb\nc\n'), write('d.txt', '\nd\n\n')];
    const open = () => createTextSource({ type: 'text', path, epochs: 2 }, folder);
    const expected = ['a', 'b\nc', 'd', 'a', 'b\nc', 'd'];
    expect(rest(open()).map(({ text }) => text)).toEqual(expected);
    for (let stop = 0; stop <= expected.length; stop++) {
      const first = open();
      for (let i = 0; i < stop; i++) first.next();
      const state: unknown = JSON.parse(JSON.stringify(first.state));
      first.close();
      const second = open();
      second.restore(state);
      expect(rest(second).map(({ text }) => text)).toEqual(expected.slice(stop));
    }
  });

  it('goes round without end, but not around nothing', () => {
    const endless = createTextSource({ type: 'text', path: write('e.txt', 'x') }, folder);
    for (let i = 0; i < 100; i++) expect(endless.next()).toEqual({ text: 'x' });
    endless.close();
    expect(() => createTextSource({ type: 'text', path: write('f.txt', '\n\n') }, folder).next()).toThrow(
      'no documents',
    );
    expect(() => createTextSource({ type: 'text', path: 'gone.txt' }, folder).next()).toThrow(
      'gone.txt: cannot open: no such file',
    );
  });
});

describe('jsonl', () => {
  const open = (name: string, text: string) =>
    createJsonlSource({ type: 'jsonl', path: write(name, text), epochs: 1 }, folder);

  it('takes every shape', () => {
    const rows = [
      { text: 'hello' },
      { question: 'q', answer: 'a #### 1' },
      { question: '问', response: '答' },
      {
        messages: [
          { role: 'user', content: 'u' },
          { role: 'assistant', content: 'v' },
        ],
      },
    ];
    expect(rest(open('all.jsonl', rows.map((row) => JSON.stringify(row)).join('\n\n')))).toEqual([
      { text: 'hello' },
      { question: 'q', response: 'a #### 1' },
      { question: '问', response: '答' },
      {
        messages: [
          { role: 'user', content: 'u' },
          { role: 'assistant', content: 'v' },
        ],
      },
    ]);
  });

  it.each([
    ['j1', '{"text": "a"}\n{"text": ', 'j1.jsonl:2: not valid JSON'],
    ['j2', '"text"', 'j2.jsonl:1: not a JSON object; expected {"text"}'],
    ['j3', '{"body": "a"}', 'j3.jsonl:1: found the keys body'],
    ['j4', '\n{"text": 5}', 'j4.jsonl:2: "text" must be a text that is not empty'],
    [
      'j5',
      '{"messages": [{"role": "user", "content": "a"}]}',
      'j5.jsonl:1: "messages" must end with an assistant turn',
    ],
    ['j6', '{"messages": [{"role": "tool", "content": "a"}]}', 'j6.jsonl:1: "messages" must be a list of {"role"'],
    ['j7', '{"question": "a"}', 'j7.jsonl:1: found the keys question'],
  ])('names file and line: %s', (name, text, message) => {
    expect(() => rest(open(`${name}.jsonl`, text))).toThrow(message);
  });

  it('refuses a place that the file does not have any more', () => {
    const source = open('short.jsonl', '{"text":"a"}');
    expect(() => source.restore({ epoch: 0, file: 0, offset: 500, line: 9 })).toThrow('cannot go on from byte 500');
    expect(() => source.restore({ epoch: 0, file: 3, offset: 0, line: 0 })).toThrow(
      'the stored place is in file 4, there are 1',
    );
  });
});

describe('createSource', () => {
  it('makes a source of each type', () => {
    const worked = sourceSchema.parse({ type: 'worked-solutions' });
    const task = createEquation({ type: 'equation' });
    expect(createSource(worked, { task, seed: 1 }).next()).toEqual(createSource(worked, { task, seed: 1 }).next());
    expect(() => createSource(worked, { seed: 1 })).toThrow('there is no task');
    const { id, size, sample, fixed } = task;
    expect(() => createSource(worked, { task: { id, size, sample, fixed }, seed: 1 })).toThrow(
      'task equation cannot write solutions; use a generated task',
    );
    const text = sourceSchema.parse({ type: 'text', path: write('s.txt', 'x') });
    expect(createSource(text, { seed: 1, base: folder }).next()).toEqual({ text: 'x' });
  });
});
