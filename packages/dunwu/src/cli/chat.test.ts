import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { makeTinyFolder } from './testing/tiny-folder.js';

let dir = '';
beforeAll(async () => {
  dir = mkdtempSync(path.join(os.tmpdir(), 'dunwu-chat-'));
  await makeTinyFolder(dir, 5);
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const bin = fileURLToPath(new URL('../../bin/dunwu.js', import.meta.url));
function chat(input: string, ...args: string[]) {
  return chatWith(dir, input, ...args);
}

function chatWith(model: string, input: string, ...args: string[]) {
  const { stdout, stderr, status } = spawnSync(process.execPath, [bin, 'chat', model, '--max-tokens', '6', ...args], {
    input,
    encoding: 'utf8',
    timeout: 60_000,
  });
  return { stdout, stderr, status };
}

test('each line of a pipe is a question; the same lines get the same answers, and earlier turns matter', {
  timeout: 120_000,
}, () => {
  const two = chat('how many\nand then\n', '--temperature', '1');
  expect(two.status).toBe(0);
  expect(two.stdout.length).toBeGreaterThan(2);
  expect(chat('how many\nand then\n', '--temperature', '1')).toEqual(two);
  // After /reset the second question stands alone: it is answered as if it had been asked first, but for its draws.
  const cold = (input: string) => chat(input, '--temperature', '0').stdout;
  const alone = cold('and then\n');
  expect(cold('how many\n/reset\nand then\n')).toBe(cold('how many\n') + alone);
});

test('commands; what is none is said; /exit ends it', { timeout: 120_000 }, () => {
  const { stdout, status } = chat('/help\n/nothing\n\n/exit\nhow many\n');
  expect(status).toBe(0);
  expect(stdout.match(/\/reset {2}begin anew/g)).toHaveLength(2);
  expect(stdout).toContain('There is no /nothing.');
  expect(stdout.trimEnd().endsWith('Ctrl-D the conversation.')).toBe(true);
});

test('a question that does not fit is refused, and the conversation goes on', { timeout: 120_000 }, () => {
  const { stderr, status } = chat(`${'how many '.repeat(200)}\n/exit\n`);
  expect(stderr).toContain('(the question is too long: the model reaches to 160 tokens)');
  expect(status).toBe(0);
});

test('--speculative: the same answers, and at the end how many drafts were right', { timeout: 120_000 }, async () => {
  const folder = path.join(dir, 'mtp');
  await makeTinyFolder(folder, 5, { num_nextn_predict_layers: 1 });
  const plain = chatWith(folder, 'how many\nand then\n', '--temperature', '0');
  const drafted = chatWith(folder, 'how many\nand then\n', '--temperature', '0', '--speculative');
  expect(drafted.stdout).toBe(plain.stdout);
  expect(drafted.stderr).toMatch(/\(speculative: \d+ of \d+ drafts accepted, [\d.]+ %; [\d.]+ tokens a step\)\n$/);
  expect(chat('how many\n', '--speculative').status).toBe(2);
});
