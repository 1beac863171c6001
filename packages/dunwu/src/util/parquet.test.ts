import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import * as zlib from 'node:zlib';
import { afterAll, describe, expect, it } from 'vitest';
import { readParquet } from './parquet.js';
import { Random } from './random.js';

const golden = (name: string): string => path.join(import.meta.dirname, 'testing/golden', `${name}.parquet`);
const folder = mkdtempSync(path.join(os.tmpdir(), 'dunwu-parquet-'));
afterAll(() => rmSync(folder, { recursive: true }));

const pair = (i: number) => ({ number: i + 1, value: { prompt: `${i}加${i}？`, response: String(2 * i) } });

describe('files that pyarrow wrote', () => {
  it('nested lists of turns, snappy', () => {
    const rows = [...readParquet(golden('messages-snappy'), ['prompt', 'messages'])];
    expect(rows.map(({ number }) => number)).toEqual([1, 2, 3, 4, 5]);
    expect(rows[3]?.value).toEqual({
      messages: [
        { role: 'system', content: '请用中文回答。' },
        { role: 'user', content: '3+1?' },
        { role: 'assistant', content: '<think>3+1=4</think><answer>4</answer>' },
      ],
    });
  });

  it.each(['gzip', 'brotli'])('several row groups, %s: counted through, wanted columns only', (name) => {
    const rows = [...readParquet(golden(`pairs-${name}`), ['prompt', 'response'])];
    expect(rows).toEqual([0, 1, 2, 3, 4, 5, 6].map(pair));
  });

  it('zstd where Node has it, else an error that says so', () => {
    const read = () => [...readParquet(golden('pairs-zstd'), ['prompt', 'response'])];
    if ('zstdDecompressSync' in zlib) expect(read()).toEqual([0, 1, 2, 3, 4, 5, 6].map(pair));
    else expect(read).toThrow(/pairs-zstd\.parquet: not a readable Parquet file: compressed with ZSTD, which Node \d/);
  });

  it('what is not there is null', () => {
    const rows = [...readParquet(golden('pairs-null'), ['prompt', 'response'])];
    expect(rows[4]?.value).toEqual({ prompt: '4加4？', response: null });
  });
});

describe('files that are none', () => {
  const write = (name: string, bytes: Uint8Array): string => {
    const file = path.join(folder, name);
    writeFileSync(file, bytes);
    return file;
  };
  const read = (file: string, limits = {}) => [...readParquet(file, ['prompt', 'response'], limits)];

  it('missing, text, cut off, other columns: the error names the file', () => {
    expect(() => read(path.join(folder, 'none.parquet'))).toThrow(/none\.parquet: no such file/);
    expect(() => read(write('text.parquet', Buffer.from('{"prompt": "1", "response": "2"}')))).toThrow(
      /text\.parquet: not a readable Parquet file: .*PAR1/,
    );
    const whole = readFileSync(golden('pairs-gzip'));
    expect(() => read(write('cut.parquet', whole.subarray(0, whole.length - 9)))).toThrow(
      /cut\.parquet: not a readable Parquet file: /,
    );
    expect(() => [...readParquet(golden('messages-snappy'), ['prompt'])]).toThrow(
      /messages-snappy\.parquet: none of the columns prompt; it has messages, source$/,
    );
  });

  it('damaged bytes: rows or an error, soon, and the process lives', () => {
    const whole = readFileSync(golden('pairs-null'));
    const rng = new Random(7);
    let errors = 0;
    for (let i = 0; i < 20; i++) {
      const damaged = Uint8Array.from(whole);
      for (let k = 0; k < 4; k++) damaged[rng.int(0, damaged.length - 1)] = rng.int(0, 255);
      try {
        expect(read(write('damaged.parquet', damaged), { ms: 300, memoryMb: 256 }).length).toBeLessThan(100);
      } catch (error) {
        errors += 1;
        expect(String(error)).toContain('damaged.parquet: ');
      }
    }
    expect(errors).toBeGreaterThan(5);
    // Three bytes of a file changed: its reader would go on for ever.
    expect(() => read(golden('endless'), { ms: 300, memoryMb: 256 })).toThrow(
      /endless\.parquet: not a readable Parquet file: reading it takes more than 0\.3 s or 256 MiB/,
    );
  });
});
