import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { JsonlWriter, LineReader, readJsonl, readLines } from './jsonl.js';

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'dunwu-jsonl-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

const write = (name: string, bytes: string | Buffer): string => {
  const path = join(folder, name);
  writeFileSync(path, bytes);
  return path;
};

describe('readLines', () => {
  it('reads BOM, CRLF, blank lines and a last line without newline', () => {
    expect([...readLines(write('a', '\ufeffone\r\n\n二\nend'))]).toEqual([
      { text: 'one', number: 1 },
      { text: '', number: 2 },
      { text: '二', number: 3 },
      { text: 'end', number: 4 },
    ]);
    expect([...readLines(write('b', ''))]).toEqual([]);
    expect([...readLines(write('c', '\n'))]).toEqual([{ text: '', number: 1 }]);
  });

  it('reads lines and characters that lie across chunks', () => {
    const lines = ['字'.repeat(50_000), 'x'.repeat(65_535), 'é'.repeat(70_001), ''];
    expect([...readLines(write('d', `${lines.join('\n')}\n`))].map(({ text }) => text)).toEqual(lines);
  });

  it('can go on from any line', () => {
    const path = write('e', '\ufeffa\r\n字\n\nd');
    const reader = new LineReader(path);
    const expected = [...readLines(path)];
    for (let i = 0; i <= expected.length; i++) {
      expect([...rest(new LineReader(path, reader.position))]).toEqual(expected.slice(i));
      reader.next();
    }
  });

  it('names file and line of what it cannot read', () => {
    const latin = write('f', Buffer.from([0x61, 0x0a, 0xe9, 0x0a]));
    expect(() => [...readLines(latin)]).toThrow(`${latin}:2: not valid UTF-8`);
    const wide = write('g', Buffer.from('\ufeffab', 'utf16le'));
    expect(() => [...readLines(wide)]).toThrow(`${wide}:1: the file is in UTF-16`);
    const long = write('h', `ok\n${'x'.repeat(101)}\n`);
    expect(() => [...readLines(long, 100)]).toThrow(`${long}:2: longer than 100 bytes`);
    const huge = write('i', 'x'.repeat(300_000));
    expect(() => [...readLines(huge, 1000)]).toThrow(`${huge}:1: longer than 1000 bytes`);
    expect(() => [...readLines(folder)]).toThrow('this is a folder');
  });
});

function* rest(reader: LineReader) {
  for (let line = reader.next(); line !== undefined; line = reader.next()) yield line;
}

describe('readJsonl', () => {
  it('gives values with their line numbers', () => {
    expect([...readJsonl(write('j', '{"a":1}\n\n  \n[2]\n'))]).toEqual([
      { value: { a: 1 }, number: 1 },
      { value: [2], number: 4 },
    ]);
    const broken = write('k', '{"a":1}\n{"a":\n');
    expect(() => [...readJsonl(broken)]).toThrow(`${broken}:2: not valid JSON`);
  });
});

describe('JsonlWriter', () => {
  it('appends, and cuts off a half-written last line', () => {
    const path = join(folder, 'l');
    const first = new JsonlWriter(path);
    first.append({ step: 1, text: '一\n二' });
    first.close();
    appendFileSync(path, '{"step": 2, "te');
    const second = new JsonlWriter(path);
    expect([first.repaired, second.repaired]).toEqual([false, true]);
    second.append({ step: 2 });
    second.close();
    expect(readFileSync(path, 'utf8')).toBe('{"step":1,"text":"一\\n二"}\n{"step":2}\n');
  });

  it('keeps a whole last line that lacks its newline', () => {
    const path = write('m', '{"a":1}');
    const writer = new JsonlWriter(path);
    expect(writer.repaired).toBe(false);
    writer.append(2);
    expect(() => writer.append(undefined)).toThrow('cannot write undefined as JSON');
    writer.close();
    expect([...readJsonl(path)].map(({ value }) => value)).toEqual([{ a: 1 }, 2]);
  });
});
