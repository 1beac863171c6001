import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { loadAdapter } from '../../model/adapter-folder.js';
import type { CausalModel } from '../../model/causal-model.js';
import { loadModel } from '../../model/checkpoint.js';
import { absorbAdapters } from '../../model/lora.js';
import { runStages } from '../testing/stage-run.js';
import { schema } from './sft.schema.js';

const root = mkdtempSync(path.join(os.tmpdir(), 'dunwu-sft-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const row = (prompt: string, response: string) => `${JSON.stringify({ prompt, response })}\n`;
writeFileSync(
  path.join(root, 'rows.jsonl'),
  row('1+1?', '2') + row('2+2?', '') + row('x', 'y'.repeat(300)) + row('3+3?', '6') + row('4+4?', '8'),
);

const recipe = (data: string, more = '') => `name: tune
seed: 3
task: { type: word-problem, steps: [2, 2], languages: { en: 1, zh: 1 } }
stages:
  - { name: base, kind: tiny }
  - { name: tuned, kind: sft, model: base, data: ${data}, epochs: 1, packing: { batch: 2, time: 140 },
      optimizer: { kind: adamw, learning_rate: 0.01 }, save_every: 4${more} }
`;
const DATA = '[{ task: recipe, n: 12, wrong: 0.5 }, { file: rows.jsonl, limit: 3 }]';
const read = (dir: string, file: string) => readFileSync(path.join(dir, file), 'utf8');
const timeless = (dir: string) =>
  read(dir, 'metrics.jsonl')
    .trimEnd()
    .split('\n')
    .map((line) => Object.entries(JSON.parse(line)).filter(([name]) => !name.startsWith('time/')));

describe('a run', () => {
  const whole = path.join(root, 'whole');

  test('trains on a task’s solutions and a file; what is left out is counted and said', async () => {
    const { status, stages, lines } = await runStages(recipe(DATA), whole);
    expect(status).toBe('done');
    const { extra, notes } = stages[1] ?? {};
    expect(extra).toMatchObject({
      rows: 14,
      left_out: { empty: 1, oversized: 1 },
      data: [
        { task: 'word-problem', wrong: 6, rows: 12 },
        { file: 'rows.jsonl', rows: 2 },
      ],
    });
    const { tokens, trained_on } = extra as { tokens: number; trained_on: number };
    expect(notes?.[0]).toMatchObject({
      en: `14 rows, ${tokens} tokens, of which ${trained_on} (${((100 * trained_on) / tokens).toFixed(1)} %) are trained on`,
    });
    expect(lines.join('\n')).toMatch(/tuned: 1 rows left out, an empty question or response: .*rows\.jsonl:2/);
    expect(lines.join('\n')).toMatch(/tuned: 1 rows left out, longer than 141 tokens.*rows\.jsonl:3 \(\d+ tokens\)/);
    expect(read(whole, 'report.zh.md')).toContain('略去 1 行：问题或回答为空');
    expect(stages[1]?.tokens).toBe(tokens);
  });

  test('stopped and resumed: the same numbers and weights', async () => {
    const out = path.join(root, 'stopped');
    expect(await runStages(recipe(DATA), out, { stopWhen: (done) => done >= 2 })).toMatchObject({
      status: 'interrupted',
    });
    expect(await runStages(recipe(DATA), out, { resume: true })).toMatchObject({ status: 'done' });
    expect(timeless(out)).toEqual(timeless(whole));
    const weights = (dir: string) => readFileSync(path.join(dir, 'models/tuned/model.safetensors'));
    expect(weights(out).equals(weights(whole))).toBe(true);
  });

  test('data that cannot be trained on: the error says where', async () => {
    writeFileSync(path.join(root, 'bad.jsonl'), `${row('a', 'b')}{"prompt": 1}\n`);
    await expect(runStages(recipe('[{ file: bad.jsonl }]'), path.join(root, 'bad'))).rejects.toThrow(/bad\.jsonl:2: /);
    writeFileSync(path.join(root, 'none.jsonl'), '');
    await expect(runStages(recipe('[{ file: none.jsonl }]'), path.join(root, 'none'))).rejects.toThrow(
      'data: there are no rows in none.jsonl',
    );
    await expect(
      runStages(
        recipe('[{ file: rows.jsonl }]', ', packing: { batch: 1, time: 161 }').replace(
          'packing: { batch: 2, time: 140 },',
          '',
        ),
        path.join(root, 'long'),
      ),
    ).rejects.toThrow("stage 'tuned', key packing.time: 161 exceeds the model's max_position_embeddings, 160");
    await expect(
      runStages(
        recipe('[{ file: rows.jsonl, limit: 1 }]', ', packing: { batch: 1, time: 3 }').replace(
          'packing: { batch: 2, time: 140 },',
          '',
        ),
        path.join(root, 'short'),
      ),
    ).rejects.toThrow('no rows to train on (0 empty, 1 longer than 4 tokens)');
  });
});

test('combinations that mean nothing are refused by name', () => {
  const base = {
    model: 'base',
    epochs: 1,
    packing: { batch: 1, time: 8 },
    optimizer: { kind: 'adamw', learning_rate: 0.1 },
  };
  const problems = (data: unknown) =>
    schema
      .safeParse({ ...base, data: [data] })
      .error?.issues.map((issue) => `${issue.path.slice(2).join('.')}: ${issue.message}`);
  expect(problems({ stage: 'x', limit: 3 })).toBeUndefined();
  expect(problems({ task: { type: 'general' }, n: 3, seed: 4 })).toBeUndefined();
  expect(problems({})).toEqual(['stage: is missing: give stage, file or task']);
  expect(problems({ stage: 'x', file: 'y' })).toEqual(['file: excludes stage: give one of stage, file, task']);
  expect(problems({ task: 'recipe' })).toEqual(['n: is missing: how many problems of the task']);
  expect(problems({ task: 'recipe', n: 1, limit: 1 })).toEqual(['limit: would be ignored: n says how many']);
  expect(problems({ file: 'y', wrong: 0.1 })).toEqual(['wrong: would be ignored: it goes with task, not with file']);
  expect(schema.safeParse({ ...base, data: [] }).success).toBe(false);
});

describe('with LoRA', () => {
  const LORA = ', lora: { rank: 2, alpha: 8, target_modules: [o_proj, kv_b_proj] }';
  const more =
    '\n  - { name: again, kind: sft, model: tuned, data: [{ file: rows.jsonl, limit: 1 }], epochs: 1, packing: { batch: 1, time: 140 }, optimizer: { kind: adamw, learning_rate: 0.01 } }';
  const whole = path.join(root, 'lora');

  test('the model has the adapter in its weights, and beside it in PEFT’s layout; later stages take the model', async () => {
    const { status, stages } = await runStages(recipe(DATA, LORA) + more, whole);
    expect(status).toBe('done');
    expect(stages[1]?.notes?.[0]?.en).toMatch(/^LoRA of rank 2 on \d+ matrices: \d+ weights trained beside \d+/);
    const [base, tuned] = ['base', 'tuned'].map((name) => loadModel(path.join(whole, 'models', name)));
    if (base === undefined || tuned === undefined) throw new Error('no models');
    const { base_model_name_or_path: from } = JSON.parse(read(whole, 'models/tuned/adapter/adapter_config.json'));
    expect(from).toBe('../../base');
    loadAdapter(base, path.join(whole, 'models/tuned/adapter'));
    absorbAdapters(base);
    const values = (model: CausalModel) => model.parameters().map(({ tensor }) => tensor.detach().numbers());
    expect(values(tuned)).toEqual(values(base));
    for (const model of [base, tuned]) model.dispose();
  });

  test('stopped and resumed: the same numbers and files', async () => {
    const out = path.join(root, 'lora-stopped');
    expect(await runStages(recipe(DATA, LORA) + more, out, { stopWhen: (done) => done >= 2 })).toMatchObject({
      status: 'interrupted',
    });
    expect(await runStages(recipe(DATA, LORA) + more, out, { resume: true })).toMatchObject({ status: 'done' });
    expect(timeless(out)).toEqual(timeless(whole));
    for (const file of [
      'tuned/model.safetensors',
      'tuned/adapter/adapter_model.safetensors',
      'again/model.safetensors',
    ]) {
      const [ours, theirs] = [out, whole].map((dir) => readFileSync(path.join(dir, 'models', file)));
      expect(ours?.equals(theirs as Buffer), file).toBe(true);
    }
  });
});
