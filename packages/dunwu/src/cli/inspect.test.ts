import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, it } from 'vitest';
import { byteText } from './inspect.js';
import { cli } from './testing/capture.js';

const golden = fileURLToPath(new URL('../model/testing/golden', import.meta.url));
const dir = mkdtempSync(path.join(tmpdir(), 'dunwu-inspect-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

it('parts by hand: a model of two layers with shared keys', async () => {
  const { code, out } = await cli('inspect', path.join(golden, 'llama3'));
  expect(code).toBe(0);
  const lines = out.split('\n').map((line) => line.trim().split(/ {2,}/));
  // 48 × 32; 2 · 32 · (4 + 2) · 16 + 2 · 64 · 32; 2 · 3 · 32 · 48; 5 · 32.
  expect(lines).toContainEqual(['embedding', '1,536', '0']);
  expect(lines).toContainEqual(['attention', '10,240', '10,240']);
  expect(lines).toContainEqual(['feed-forward, dense', '9,216', '9,216']);
  expect(lines).toContainEqual(['norms', '160', '160']);
  expect(lines).toContainEqual(['head', '1,536', '1,536']);
  expect(lines).toContainEqual(['all', '22,688', '21,152']);
  expect(out).toContain('llama, 2 layers of width 32, vocabulary 48, 256 positions');
  expect(out).toContain('21 tensors (21 float32) in 1 file, 88.6 KiB');
  // Two layers, one key and one value of 16 numbers: 64; plain attention of 4 heads has four times as many.
  expect(out).toContain('cache       256 B a token (float32); plain multi-head attention 1.00 KiB (25.0 %)');
});

it('--json, and a folder without weights', async () => {
  cpSync(path.join(golden, 'deepseek_v3', 'config.json'), path.join(dir, 'config.json'));
  const report = JSON.parse((await cli('inspect', dir, '--json')).out);
  expect(report).toMatchObject({ model_type: 'deepseek_v3', total: 208_576, active: 126_656, stored: null });
  const part = (name: string): number =>
    report.parts.find((one: { part: string; total: number }) => one.part === name).total;
  expect(part('router')).toBeGreaterThan(0);
  expect(report.memory).toEqual({
    weights: 4 * 208_576,
    rounded: 2 * (208_576 - part('norms') - part('router')),
    training: 16 * 208_576,
    summing: 4 * part('embedding'),
    reference: 4 * 208_576,
    cachePerToken: 4 * report.cache,
    batch: expect.anything(),
  });
  expect((await cli('inspect', dir)).out).toContain('no weights in this folder');
});

it('--lora: by hand', async () => {
  // Width 32, 4 heads and 1 key of 16, inner 48, 2 layers: rows and columns of q, k, v, o, gate, up, down.
  const parameters = 2 * 8 * (32 + 64 + 2 * (32 + 16) + 64 + 32 + 3 * (32 + 48));
  const under = 2 * (32 * (4 + 2) * 16 + 64 * 32 + 3 * 32 * 48);
  const report = JSON.parse((await cli('inspect', path.join(golden, 'llama3'), '--lora', '8', '--json')).out);
  expect(report.lora).toEqual({ rank: 8, parameters, training: 4 * 22_688 + 16 * parameters, merging: 4 * under });
  const { out } = await cli('inspect', path.join(golden, 'llama3'), '--lora', '8');
  expect(out).toContain(`to train ${parameters.toLocaleString('en-US')} weights of adapters of rank 8`);
  expect((await cli('inspect', path.join(golden, 'llama3'), '--lora', '0')).code).toBe(2);
});

it('modules of multi-token prediction stand apart; those that config.json names and the weights lack are not counted', async () => {
  const own = path.join(dir, 'mtp');
  cpSync(fileURLToPath(new URL('../model/testing/golden-mtp', import.meta.url)), own, { recursive: true });
  const report = JSON.parse((await cli('inspect', own, '--json')).out);
  // Embedding and head stand in the file once for the model and once for each of the two modules.
  const copies = 2 * 2 * 32 * 16;
  expect(4 * (report.total + report.prediction.total + copies)).toBe(report.stored.bytes);
  expect(report.prediction).toMatchObject({ modules: 2, cache: 2 * 12 });
  expect(report.stored.names).toBeUndefined();
  const { out } = await cli('inspect', own);
  const lines = out.split('\n').map((line) => line.trim().split(/ {2,}/));
  const count = (value: number): string => value.toLocaleString('en-US');
  expect(lines).toContainEqual([
    'multi-token prediction',
    count(report.prediction.total),
    count(report.prediction.active),
  ]);
  const lacking = path.join(dir, 'lacking');
  cpSync(path.join(golden, 'yarn'), lacking, { recursive: true });
  const config = JSON.parse(readFileSync(path.join(lacking, 'config.json'), 'utf8'));
  writeFileSync(path.join(lacking, 'config.json'), JSON.stringify({ ...config, num_nextn_predict_layers: 1 }));
  expect(JSON.parse((await cli('inspect', lacking, '--json')).out).prediction).toBe(null);
});

it('names what a config asks for and is not there', async () => {
  writeFileSync(path.join(dir, 'config.json'), JSON.stringify({ model_type: 'mixtral' }));
  const { code, err } = await cli('inspect', dir);
  expect(code).toBe(1);
  expect(err).toContain('model_type "mixtral" is not supported; supported: "deepseek_v3"');
});

it.each([
  [0, '0 B'],
  [1023, '1023 B'],
  [1024, '1.00 KiB'],
  [1536 * 1024, '1.50 MiB'],
  [123.4 * 2 ** 30, '123 GiB'],
])('%d bytes are %s', (bytes, text) => {
  expect(byteText(bytes)).toBe(text);
});
