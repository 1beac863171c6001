import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, expect, test } from 'vitest';
import { SyncWorker } from './sync-worker.js';

const folder = mkdtempSync(path.join(tmpdir(), 'dunwu-worker-'));
afterAll(() => rmSync(folder, { recursive: true }));

function module(name: string, text: string): URL {
  const file = path.join(folder, `${name}.mjs`);
  const library = new URL('../../dist/util/sync-worker.js', import.meta.url).href;
  writeFileSync(file, `import { serveSync } from ${JSON.stringify(library)};\n${text}`);
  return pathToFileURL(file);
}

const serving = module(
  'serving',
  `let calls = 0;
serveSync(({ ask, n }) => {
  calls++;
  if (ask === 'square') return { calls, value: n * n };
  if (ask === 'fail') throw new Error('no ' + n);
  if (ask === 'fill') { const all = []; for (;;) all.push(new Array(1000).fill(n)); }
  for (;;);
});`,
);

test('answers one call after the other, and tells what was thrown', () => {
  const worker = new SyncWorker<{ ask: string; n: number }, unknown>(serving);
  expect(worker.call({ ask: 'square', n: 3 }, 10_000)).toEqual({ status: 'done', value: { calls: 1, value: 9 } });
  expect(worker.call({ ask: 'fail', n: 4 }, 10_000)).toEqual({ status: 'failed', error: 'no 4' });
  expect(worker.call({ ask: 'square', n: 5 }, 10_000)).toEqual({ status: 'done', value: { calls: 3, value: 25 } });
  worker.dispose();
});

test('ends a call without end, and one that fills the memory; the next has a new thread', () => {
  const worker = new SyncWorker<{ ask: string; n: number }, unknown>(serving, { memoryMb: 32 });
  expect(worker.call({ ask: 'loop', n: 0 }, 100)).toEqual({ status: 'timeout' });
  expect(worker.call({ ask: 'square', n: 2 }, 10_000)).toEqual({ status: 'done', value: { calls: 1, value: 4 } });
  expect(worker.call({ ask: 'fill', n: 1 }, 2000)).toEqual({ status: 'timeout' });
  expect(worker.call({ ask: 'square', n: 2 }, 10_000)).toEqual({ status: 'done', value: { calls: 1, value: 4 } });
  worker.dispose();
});

test('a module that cannot be loaded, or does not serve, is told at once and by name', () => {
  const call = (url: URL | string) => new SyncWorker(url, { startMs: 300 }).call(null, 1000);
  expect(() => call(module('broken', 'throw new Error("at once")'))).toThrow(/broken\.mjs: at once/);
  expect(() => call(module('silent', ''))).toThrow(/silent\.mjs: not ready within 0\.3 s/);
  expect(() => call('reward/no-such')).toThrow(/no-such\.js is missing: build first/);
});
