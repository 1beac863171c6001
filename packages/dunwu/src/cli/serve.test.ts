import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { cacheTokens } from './serve.js';
import { cli } from './testing/capture.js';
import { makeTinyFolder } from './testing/tiny-folder.js';

let dir = '';
const children: ChildProcess[] = [];
beforeAll(async () => {
  dir = path.join(mkdtempSync(path.join(os.tmpdir(), 'dunwu-serve-cli-')), 'small');
  await makeTinyFolder(dir, 5);
});
afterAll(() => {
  for (const child of children) child.kill('SIGKILL');
  rmSync(path.dirname(dir), { recursive: true, force: true });
});

test('serves until Ctrl-C, under the name of its folder', { timeout: 60_000 }, async () => {
  const bin = fileURLToPath(new URL('../../bin/dunwu.js', import.meta.url));
  const child = spawn(process.execPath, [bin, 'serve', dir, '--port', '0'], { stdio: ['ignore', 'pipe', 'inherit'] });
  children.push(child);
  let said = '';
  const url = await new Promise<string>((resolve) => {
    child.stdout.on('data', (data: Buffer) => {
      said += String(data);
      const found = /^small at (http:\/\/127\.0\.0\.1:\d+\/v1) · Ctrl-C ends it\n/.exec(said)?.[1];
      if (found !== undefined) resolve(found);
    });
  });
  const response = await fetch(`${url}/chat/completions`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ model: 'small', messages: [{ role: 'user', content: 'how many' }], max_tokens: 4 }),
  });
  expect(await response.json()).toMatchObject({ model: 'small', choices: [{ message: { role: 'assistant' } }] });
  const ended = new Promise((resolve) => child.on('exit', resolve));
  child.kill('SIGINT');
  expect(await ended).toBe(0);
});

test('the cache holds eight full texts, or what half of the free memory does', () => {
  expect(cacheTokens('cpu', 1000, 100, 1e9)).toBe(8000);
  expect(cacheTokens('cpu', 131072, 57344, 16e9)).toBe(139508);
  expect(cacheTokens('cuda', 131072, 57344, 16e9)).toBe(8 * 131072);
});

test('beyond this machine only with a token', async () => {
  const { code, err } = await cli('serve', dir, '--host', '0.0.0.0');
  expect(code).toBe(2);
  expect(err).toContain(
    '--host 0.0.0.0: whoever reaches this address could use the model: give --token, or DUNWU_TOKEN',
  );
});

test('an empty token is refused', async () => {
  const { code, err } = await cli('serve', dir, '--host', '0.0.0.0', '--token', '');
  expect(code).toBe(2);
  expect(err).toContain('--token: is empty');
});

test('a port that is taken, an origin that is none', async () => {
  const other = createServer();
  const port = await new Promise<number>((resolve) => {
    other.listen(0, '127.0.0.1', () => resolve((other.address() as { port: number }).port));
  });
  const taken = await cli('serve', dir, '--port', String(port));
  other.close();
  expect(taken).toMatchObject({ code: 2, err: expect.stringContaining(`port ${port} is taken: give another --port`) });
  expect((await cli('serve', dir, '--origin', 'localhost')).err).toContain(
    '--origin localhost: expected scheme, name and port',
  );
  expect((await cli('serve', dir, '--port', '70000')).err).toContain(
    '--port 70000: a whole number ≥ 0 and ≤ 65535 is needed',
  );
  // A request waits for the next step at least.
  expect((await cli('serve', dir, '--queue', '0')).err).toContain('--queue 0: a whole number ≥ 1');
});
