import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { kinds, taskSchema } from './kinds.js';
import { loadRecipe, parseRecipe } from './recipe.js';

const folder = fileURLToPath(new URL('../../../../recipes', import.meta.url));
const files = readdirSync(folder).filter((name) => name.endsWith('.yaml'));

test.each(files)('recipes/%s can be run', async (file) => {
  const recipe = await loadRecipe(path.join(folder, file), { kinds, task: taskSchema });
  expect(recipe.stages.length).toBeGreaterThan(0);
});

test.each(['gsm8k-grpo', 'r1-distill-sft'])('%s: the lora line that is a comment can be used', async (name) => {
  const text = readFileSync(path.join(folder, `${name}.yaml`), 'utf8').replace('# lora:', 'lora:');
  const recipe = await parseRecipe(text, path.join(folder, `${name}.yaml`), { kinds, task: taskSchema });
  const configs = recipe.stages.map(({ config }) => config as { lora?: { rank: number } });
  expect(configs.filter(({ lora }) => lora !== undefined)).toHaveLength(1);
});

test.each(['gsm8k-grpo', 'r1-distill-sft'])('%s reads the file of GSM8K that docs/real-models.md fetches', (name) => {
  const docs = readFileSync(path.join(folder, '../docs/real-models.md'), 'utf8');
  const { task } = parse(readFileSync(path.join(folder, `${name}.yaml`), 'utf8')) as { task: Record<string, string> };
  expect(docs).toContain(`--set task.path=$PWD/${task.path?.replace('../', '')}\n`);
  expect(task.source).toBe('gsm8k');
});

test('ablate-kl: the six stages differ in their KL alone, and every one is measured', async () => {
  const { stages } = await loadRecipe(path.join(folder, 'ablate-kl.yaml'), { kinds, task: taskSchema });
  const trained = stages.filter(({ kind }) => kind === 'grpo');
  const configs = trained.map(({ config }) => structuredClone(config) as { loss: { kl: { estimator: string } } });
  expect(configs.map(({ loss }) => loss.kl.estimator)).toEqual(['none', 'k1', 'k2', 'k3', 'k3-unbiased', 'exact']);
  for (const config of configs) {
    config.loss.kl = { estimator: 'k3' };
    expect(config).toEqual(configs[0]);
  }
  const measured = stages
    .filter(({ kind }) => kind === 'eval')
    .map(({ config }) => (config as { model: string }).model);
  expect(measured).toEqual(['pretrain', ...trained.map(({ name }) => name)]);
});
