import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { runStages } from '../testing/stage-run.js';
import { references, schema } from './dpo.schema.js';

const root = mkdtempSync(path.join(os.tmpdir(), 'dunwu-dpo-stage-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const row = (prompt: string, chosen: string, rejected: string) => `${JSON.stringify({ prompt, chosen, rejected })}\n`;
writeFileSync(
  path.join(root, 'pairs.jsonl'),
  Array.from({ length: 20 }, (_, i) => row(`${i}?`, `${i}`, `${i} ${i}`)).join('') +
    row('same?', '1', '1') +
    row('long?', 'x'.repeat(400), 'y'),
);
const recipe = `name: prefer
seed: 3
stages:
  - { name: base, kind: tiny }
  - { name: preferring, kind: dpo, model: base, data: { file: pairs.jsonl }, batch: 4, epochs: 2, held_out: 0.2,
      save_every: 3, optimizer: { kind: adamw, learning_rate: 0.003 } }
`;
const timeless = (dir: string) =>
  readFileSync(path.join(dir, 'metrics.jsonl'), 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => Object.entries(JSON.parse(line)).filter(([name]) => !name.startsWith('time/')));

describe('a run', () => {
  const whole = path.join(root, 'whole');

  test('learns from the pairs of a file; what is left out is counted', async () => {
    const { status, stages } = await runStages(recipe, whole);
    expect(status).toBe('done');
    expect(stages[1]?.extra).toMatchObject({
      trained: 16,
      left_out: { no_difference: 1, oversized: 1 },
      held_out: { n: 4, accuracy: expect.any(Number) },
    });
    const first = Object.fromEntries(timeless(whole)[0] as [string, unknown][]);
    expect(first).toMatchObject({ 'rewards/chosen': expect.closeTo(0, 5), loss: expect.closeTo(Math.LN2, 5) });
    expect(readFileSync(path.join(whole, 'report.zh.md'), 'utf8')).toContain('留出 4 对：策略偏向较好回答的占');
  });

  test('stopped and resumed: the same numbers and weights', async () => {
    const out = path.join(root, 'stopped');
    const stopWhen = (done: number) => done === 2;
    expect(await runStages(recipe, out, { stopWhen })).toMatchObject({ status: 'interrupted' });
    expect(await runStages(recipe, out, { resume: true })).toMatchObject({ status: 'done' });
    expect(timeless(out)).toEqual(timeless(whole));
    const weights = [whole, out].map((dir) => readFileSync(path.join(dir, 'models/preferring/model.safetensors')));
    expect(weights[0]?.equals(weights[1] as Buffer)).toBe(true);
  });
});

test('the configuration: defaults, references, what is refused', () => {
  const base = { model: 'm', data: { stage: 'd' }, batch: 2, optimizer: { kind: 'adamw', learning_rate: 0.1 } };
  const parsed = schema.parse(base);
  expect(parsed).toMatchObject({ beta: 0.1, label_smoothing: 0, epochs: 1 });
  expect(references(parsed)).toEqual(['m', 'd']);
  for (const [over, key] of [
    [{ beta: 0 }, 'beta'],
    [{ label_smoothing: 0.5 }, 'label_smoothing'],
    [{ reads: 'final' }, ''],
  ] as const) {
    const issues = schema.safeParse({ ...base, ...over }).error?.issues ?? [];
    expect(issues.map(({ path: at }) => at.join('.'))).toEqual([key]);
  }
});
