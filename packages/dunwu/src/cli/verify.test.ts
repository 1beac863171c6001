import { cpSync, mkdirSync, mkdtempSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { openCheckpoint, type Tensor, writeCheckpoint, writeSafetensors, zeros } from '@dunwu/torch';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { ParityReport } from '../eval/parity.js';
import { cli } from './testing/capture.js';
import { failures } from './verify.js';

const golden = fileURLToPath(new URL('../model/testing/golden/', import.meta.url));
const KEYS = ['logits', 'hidden_max', 'loss', 'grad_max', 'router_equal', 'greedy_equal', 'adamw5_max'];

let dir = '';
beforeEach(() => {
  dir = mkdtempSync(path.join(os.tmpdir(), 'dunwu-verify-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

/** A copy of a fixture with some of its weights changed. */
function tampered(name: string, change: (tensors: Map<string, Tensor>) => void): string {
  const folder = path.join(dir, name);
  cpSync(path.join(golden, name), folder, { recursive: true });
  const source = openCheckpoint(folder);
  const tensors = new Map(source.names.map((tensor) => [tensor, source.tensor(tensor).clone()]));
  source.close();
  change(tensors);
  writeCheckpoint(folder, tensors);
  return folder;
}

test.each(['deepseek_v3', 'no-q-compression', 'yarn', 'deepseek-v2', 'qwen2', 'qwen3', 'llama3'])(
  '%s: every error ≤ 1e-5, routes and greedy text equal',
  async (name) => {
    const { code, out, err } = await cli('verify', path.join(golden, name), '--json');
    expect(err).toBe('');
    expect(code).toBe(0);
    const report = JSON.parse(out) as ParityReport;
    expect(Object.keys(report)).toEqual(KEYS);
    // A dense model has no routes.
    expect(report.router_equal).toBe(/^(qwen|llama)/.test(name) ? null : true);
    expect(report.greedy_equal).toBe(true);
    for (const key of ['logits', 'hidden_max', 'loss', 'grad_max', 'adamw5_max'] as const) {
      expect(report[key], key).toBeGreaterThanOrEqual(0);
      expect(report[key], key).toBeLessThanOrEqual(1e-5);
    }
  },
);

test('the table: every comparison, and the verdict', async () => {
  const { code, out } = await cli('verify', path.join(golden, 'yarn'));
  expect(code).toBe(0);
  for (const name of ['full.logits (absorbed attention)', 'padded.hidden.3', 'greedy.prompt8_new16 (latent cache)']) {
    expect(out).toContain(`  ${name} `);
  }
  expect(out).toMatch(/\n {2}full\.grad\.lm_head\.weight +\d\.\de-\d+ {2}ok\n/);
  expect(out).toMatch(/\n {2}router_equal +equal {2}ok\n/);
  expect(out).toMatch(/\nThe same as the reference, within 1e-5\.\n$/);
});

test('one weight changed: reported, exit 1, in JSON too', async () => {
  const folder = tampered('no-q-compression', (tensors) => {
    tensors.get('model.layers.1.mlp.shared_experts.down_proj.weight')?.mul_(1.02);
  });
  const json = await cli('verify', folder, '--json');
  expect(json.code).toBe(1);
  const report = JSON.parse(json.out) as Record<string, number>;
  for (const key of ['logits', 'hidden_max', 'loss', 'grad_max']) expect(report[key], key).toBeGreaterThan(1e-5);
  const table = await cli('verify', folder);
  expect(table.code).toBe(1);
  expect(table.out).toMatch(/\n {2}full\.hidden\.1 +\d\.\de-\d+ {2}ok\n {2}full\.hidden\.2 +\d\.\de-\d+ {2}FAILED\n/);
  expect(table.out).toMatch(
    /NOT the same as the reference: logits, hidden_max, loss, grad_max.* \(tolerance 1e-5\)\.\n$/,
  );
  expect((await cli('verify', folder, '--tolerance', '0.5')).code).toBe(0);
});

test('a router bias changed: other experts are chosen', async () => {
  const folder = tampered('no-q-compression', (tensors) => {
    tensors.get('model.layers.2.mlp.gate.e_score_correction_bias')?.neg_();
  });
  const { code, out } = await cli('verify', folder, '--json');
  expect(code).toBe(1);
  expect(JSON.parse(out)).toMatchObject({ router_equal: false });
});

test('a weight that is not a number is no missing key', async () => {
  const folder = tampered('no-q-compression', (tensors) => {
    tensors.get('model.norm.weight')?.fill_(Number.NaN);
  });
  const { code, out } = await cli('verify', folder, '--json');
  expect(code).toBe(1);
  expect(JSON.parse(out)).toMatchObject({ logits: Number.MAX_VALUE, greedy_equal: false });
  expect((await cli('verify', folder)).out).toMatch(/ {2}logits +not finite {2}FAILED\n/);
});

test('a fixture with some keys only: null for the others', async () => {
  const folder = path.join(dir, 'some');
  cpSync(path.join(golden, 'no-q-compression'), folder, { recursive: true });
  rmSync(path.join(folder, 'golden.json'));
  const source = openCheckpoint(folder);
  writeSafetensors(path.join(folder, 'golden.safetensors'), {
    'greedy.prompt1_new1': zeros([2, 2], { dtype: 'int64' }),
  });
  source.close();
  const { out } = await cli('verify', folder, '--json');
  expect(JSON.parse(out)).toEqual({
    logits: null,
    hidden_max: null,
    loss: null,
    grad_max: null,
    router_equal: null,
    greedy_equal: expect.any(Boolean),
    adamw5_max: null,
  });
});

test('a truncated checkpoint: the file is named, exit 1', async () => {
  const folder = path.join(dir, 'short');
  cpSync(path.join(golden, 'yarn'), folder, { recursive: true });
  const weights = path.join(folder, 'model.safetensors');
  truncateSync(weights, statSync(weights).size - 100);
  const { code, out, err } = await cli('verify', folder, '--json');
  expect(code).toBe(1);
  expect(out).toBe('');
  expect(err).toContain(`error: ${weights}: `);
});

test('nothing to compare: exit 2, what is missing is named', async () => {
  const missing = path.join(dir, 'none');
  expect(await cli('verify', missing)).toMatchObject({
    code: 2,
    err: `error: ${missing}: there is no such folder; expected one with a checkpoint and golden.safetensors\n`,
  });
  mkdirSync(missing);
  expect((await cli('verify', missing)).err).toBe(
    `error: ${path.join(missing, 'golden.safetensors')}: there is no fixture to compare with; docs/verify.md tells how to make one\n`,
  );
  cpSync(path.join(golden, 'yarn'), missing, { recursive: true });
  writeFileSync(path.join(missing, 'golden.json'), '{}');
  writeSafetensors(path.join(missing, 'golden.safetensors'), { 'my.logits': zeros([1]) });
  const strange = await cli('verify', missing);
  expect(strange.code).toBe(2);
  expect(strange.err).toContain('holds nothing that can be compared (my.logits)');
  expect((await cli('verify', missing, '--tolerance', 'small')).err).toBe(
    'error: --tolerance small: a number ≥ 0 and ≤ 1 is needed\n',
  );
});

test('a fixture of another model: what does not fit is named', async () => {
  const folder = path.join(dir, 'mixed');
  cpSync(path.join(golden, 'yarn'), folder, { recursive: true });
  writeSafetensors(path.join(folder, 'golden.safetensors'), {
    input_ids: zeros([2, 4], { dtype: 'int64' }),
    'full.logits': zeros([2, 4, 99]),
  });
  const { code, err } = await cli('verify', folder);
  expect(code).toBe(1);
  expect(err).toContain(
    'golden.safetensors: full.logits has the shape [2,4,99], the model of config.json gives [2,4,48]',
  );
  writeSafetensors(path.join(folder, 'golden.safetensors'), {
    input_ids: zeros([2, 4], { dtype: 'int64' }).add(48),
    'full.loss': zeros([1]),
  });
  expect((await cli('verify', folder)).err).toContain('input_ids must be [batch, time] ids from 0 to 47 (vocab_size)');
});

test('what fails: above the tolerance, different, not a number; what is missing does not', () => {
  const report: ParityReport = {
    logits: 1e-5,
    hidden_max: 1.1e-5,
    loss: null,
    grad_max: Number.NaN,
    router_equal: true,
    greedy_equal: false,
    adamw5_max: null,
  };
  expect(failures(report, 1e-5)).toEqual(['hidden_max', 'grad_max', 'greedy_equal']);
});
