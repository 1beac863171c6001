import { mkdtempSync, readFileSync, rmSync, truncateSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { makeTinyFolder } from '../../cli/testing/tiny-folder.js';
import { runStages } from '../testing/stage-run.js';

const root = mkdtempSync(path.join(os.tmpdir(), 'dunwu-checkpoint-stage-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const recipe = (folder: string) => `name: go-on
seed: 3
task: { type: word-problem, steps: [2, 2] }
stages:
  - { name: theirs, kind: checkpoint, path: ${folder} }
  - { name: ours, kind: sft, model: theirs, data: [{ task: recipe, n: 4 }], steps: 1, packing: { batch: 1, time: 159 },
      optimizer: { kind: adamw, learning_rate: 0.001 } }
`;

test('stages go on from a model that is there already, and it stays as it is', async () => {
  const folder = path.join(root, 'model');
  await makeTinyFolder(folder, 5);
  const weights = () => readFileSync(path.join(folder, 'model.safetensors'));
  const before = weights();
  // Relative to the recipe, which lies beside it.
  const { status, stages } = await runStages(recipe('./model'), path.join(root, 'run'));
  expect(status).toBe('done');
  expect(stages[0]).toMatchObject({ model: folder, tokenizer: folder, tokens: 0 });
  expect(weights().equals(before)).toBe(true);
  const learnt = readFileSync(path.join(root, 'run', 'models/ours/model.safetensors'));
  expect(learnt).toHaveLength(before.length);
  expect(learnt.equals(before)).toBe(false);
});

test('a folder that cannot be used is refused by name', async () => {
  await expect(runStages(recipe('./nothing'), path.join(root, 'a'))).rejects.toThrow(/stage theirs failed: .*nothing/);
  const cut = path.join(root, 'cut');
  await makeTinyFolder(cut, 5);
  truncateSync(path.join(cut, 'model.safetensors'), 1000);
  await expect(runStages(recipe('./cut'), path.join(root, 'b'))).rejects.toThrow(/stage theirs failed: .*safetensors/);
});
