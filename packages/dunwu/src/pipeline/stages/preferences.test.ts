import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { runStages } from '../testing/stage-run.js';
import { schema } from './preferences.schema.js';

const root = mkdtempSync(path.join(os.tmpdir(), 'dunwu-preferences-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const rows = (dir: string, file: string) =>
  readFileSync(path.join(dir, file), 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);

const recipe = `name: pairs
seed: 3
task: { type: general, harmful: 0.3 }
stages:
  - { name: base, kind: tiny }
  - { name: drawn, kind: sample, model: base, problems: 20, samples: 4, sampling: { temperature: 1.5, max_tokens: 40 },
      rewards: { rules: { length: { max: 200, buffer: 200 } } }, keep: { min_total: 0 } }
  - { name: made, kind: preferences, from: { task: { type: general }, n: 50 }, flip_rate: 0.1 }
  - { name: both, kind: preferences, from: [{ stage: drawn }, { task: { type: general }, n: 10 }] }
  - { name: safety, kind: preferences, rows: safety, from: [{ stage: drawn }, { task: { type: general, harmful: 0.5 }, n: 30 }] }
`;

test('pairs and labels from a task and from what a model said', async () => {
  const dir = path.join(root, 'run');
  const { status, stages } = await runStages(recipe, dir);
  expect(status).toBe('done');
  const made = rows(dir, 'datasets/made.jsonl');
  expect(made).toHaveLength(50);
  for (const row of made)
    expect(Object.keys(row)).toEqual(
      expect.arrayContaining(['id', 'prompt', 'chosen', 'rejected', 'source', 'language']),
    );
  expect(made.filter(({ flipped }) => flipped === true)).toHaveLength(5);
  expect(stages[2]?.extra).toMatchObject({ rows: 50, flipped: 5 });

  // Of each problem the longest text has the fewest points, the shortest the most.
  const drawn = rows(dir, 'samples/drawn.jsonl');
  const both = rows(dir, 'datasets/both.jsonl');
  const sampled = both.slice(0, -10);
  expect(sampled.length).toBeGreaterThan(5);
  for (const { id, chosen, rejected } of sampled) {
    const texts = drawn
      .filter((row) => String(id).startsWith(`${row.id}#`))
      .map(({ response }) => String(response).length);
    expect([String(chosen).length, String(rejected).length]).toEqual([Math.min(...texts), Math.max(...texts)]);
  }

  const safety = rows(dir, 'datasets/safety.jsonl');
  const fromStage = safety.slice(0, -30);
  const harmful = new Set(drawn.filter((row) => row.harmful === true).map(({ prompt }) => prompt));
  expect(harmful.size).toBeGreaterThan(1);
  // A random model does not refuse.
  for (const { prompt, safe } of fromStage) expect(safe).toBe(!harmful.has(prompt));
  expect(readFileSync(path.join(dir, 'report.md'), 'utf8')).toContain('made: 50 pairs,');
});

test('the same seed gives the same bytes', async () => {
  const dir = path.join(root, 'again');
  await runStages(recipe, dir);
  for (const name of ['made', 'both', 'safety']) {
    expect(rows(dir, `datasets/${name}.jsonl`)).toEqual(rows(path.join(root, 'run'), `datasets/${name}.jsonl`));
  }
});

test.each([
  ['no source', { from: {} }, 'from'],
  ['a share above 1', { from: { stage: 'x' }, flip_rate: 2 }, 'flip_rate'],
  ['what safety rows do not have', { rows: 'safety', from: { stage: 'x' }, differ: 'final' }, 'differ'],
  ['a gap between labels', { rows: 'safety', from: [{ stage: 'x', min_gap: 1 }] }, 'from.0.min_gap'],
  ['an unknown key', { from: { stage: 'x' }, pairs: 3 }, ''],
])('%s is refused at its key', (_, config, at) => {
  const issues = schema.safeParse(config).error?.issues ?? [];
  expect(issues.map((issue) => issue.path.join('.'))).toEqual([at]);
});

test('a stage that draws nothing is refused', async () => {
  const text = `name: wrong
task: { type: general }
stages:
  - { name: base, kind: tiny }
  - { name: made, kind: preferences, from: { stage: base } }
`;
  await expect(runStages(text, path.join(root, 'wrong'))).rejects.toThrow("stage 'base' is of kind tiny");
});
