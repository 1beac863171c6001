import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { runStages } from '../testing/stage-run.js';
import { references, schema } from './grpo.schema.js';

const root = mkdtempSync(path.join(os.tmpdir(), 'dunwu-grpo-stage-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

writeFileSync(
  path.join(root, 'pairs.jsonl'),
  Array.from(
    { length: 24 },
    (_, i) => `${JSON.stringify({ prompt: `${i}?`, chosen: `${i}`, rejected: `${i} ${i}` })}\n`,
  ).join(''),
);

const recipe = (source = 'general') => `name: all-scenarios
seed: 3
task:
  type: mixture
  parts:
    - { weight: 1, task: { type: word-problem, steps: [2, 2] } }
    - { weight: 1, task: { type: general } }
stages:
  - { name: base, kind: tiny }
  - { name: judge, kind: reward-model, model: base, rows: preference, reads: whole, batch: 6, data: { file: pairs.jsonl },
      optimizer: { kind: adamw, learning_rate: 0.003 } }
  - { name: r1, kind: grpo, model: base, steps: 4, questions_per_step: 4, group_size: 2, sampling: { max_tokens: 8 }, save_every: 2,
      rewards: { rules: { accuracy: 1, format: 0.5 }, sources: { general: { accuracy: 0 } } },
      reward_models: { helpful: { model: judge, weight: 2, sources: [${source}], from: 0.5 } },
      loss: { ratio: token, kl: { estimator: none } }, optimizer: { kind: adamw, learning_rate: 0.001 } }
`;
interface Row {
  readonly stage: string;
  readonly step: number;
  readonly trace: { readonly total: number; readonly parts: { name: string; points: number; weight: number }[] };
}
const rows = (dir: string, file: string) =>
  readFileSync(path.join(dir, file), 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Row);
const timeless = (dir: string) =>
  rows(dir, 'metrics.jsonl').map((row) => Object.entries(row).filter(([name]) => !name.startsWith('time/')));

describe('reward models beside the rules', () => {
  const whole = path.join(root, 'whole');

  test('general problems come in the last part only, and their traces add up with the model', async () => {
    const { status, lines } = await runStages(recipe(), whole);
    expect(status).toBe('done');
    expect(lines.join('\n')).toContain('held back until step 3: problems of general');
    const samples = rows(whole, 'samples/r1.jsonl');
    const partsOf = (row: Row) => row.trace.parts.map(({ name }) => name).join(' ');
    const [early, late] = [samples.filter(({ step }) => step <= 2), samples.filter(({ step }) => step > 2)];
    expect(new Set(early.map(partsOf))).toEqual(new Set(['accuracy format']));
    expect(new Set(late.map(partsOf))).toEqual(new Set(['accuracy format', 'format helpful']));
    for (const { trace } of samples) {
      expect(trace.total).toBe(trace.parts.reduce((sum, { points, weight }) => sum + weight * points, 0));
    }
    const judged = late.flatMap(({ trace }) => trace.parts.filter(({ name }) => name === 'helpful'));
    expect(judged.every(({ points, weight }) => points > 0 && points < 1 && weight === 2)).toBe(true);
  });

  test('stopped when the model counts already, and resumed: the same lines and weights', async () => {
    const out = path.join(root, 'stopped');
    let steps = 0;
    const stopWhen = (done: number) => done === 3 && ++steps === 2; // the third step of the second stage
    expect(await runStages(recipe(), out, { stopWhen })).toMatchObject({ status: 'interrupted' });
    expect(await runStages(recipe(), out, { resume: true })).toMatchObject({ status: 'done' });
    expect(timeless(out)).toEqual(timeless(whole));
    const weights = [whole, out].map((dir) => readFileSync(path.join(dir, 'models/r1/model.safetensors')));
    expect(weights[0]?.equals(weights[1] as Buffer)).toBe(true);
  });

  test('a source that the task does not have', async () => {
    await expect(runStages(recipe('poems'), path.join(root, 'wrong'))).rejects.toThrow(
      /helpful judges the source 'poems', but the task's problems are of general, word-problem/,
    );
  });
});

test('the configuration: references, and a name that a rule has', () => {
  const config = {
    model: 'm',
    steps: 1,
    questions_per_step: 2,
    group_size: 2,
    sampling: { max_tokens: 4 },
    rewards: { rules: { accuracy: 1 } },
    loss: { ratio: 'token', kl: { estimator: 'none' } },
    optimizer: { kind: 'adamw', learning_rate: 0.001 },
  };
  const judged = { model: 'h', sources: ['general'] };
  const parsed = schema.parse({ ...config, reward_models: { helpful: judged } });
  expect(references(parsed)).toEqual(['m', 'h']);
  expect(parsed.reward_models.helpful).toEqual({ model: 'h', weight: 1, sources: ['general'], from: 0 });
  expect(references(schema.parse(config))).toEqual(['m']);
  const clash = schema.safeParse({ ...config, reward_models: { format: judged } });
  expect(clash.error?.issues[0]?.path).toEqual(['reward_models', 'format']);
});

test('with LoRA: the model has the adapter in its weights and beside them; stopped and resumed the same', async () => {
  const yaml = recipe().replace(
    'kl: { estimator: none } }',
    'kl: { estimator: k3, coefficient: 0.01 } }, lora: { rank: 2, alpha: 8 }',
  );
  const [whole, out] = [path.join(root, 'lora'), path.join(root, 'lora-stopped')];
  expect(await runStages(yaml, whole)).toMatchObject({ status: 'done' });
  let steps = 0;
  const stopWhen = (done: number) => done === 3 && ++steps === 2;
  expect(await runStages(yaml, out, { stopWhen })).toMatchObject({ status: 'interrupted' });
  expect(await runStages(yaml, out, { resume: true })).toMatchObject({ status: 'done' });
  expect(timeless(out)).toEqual(timeless(whole));
  for (const file of ['model.safetensors', 'adapter/adapter_model.safetensors', 'adapter/adapter_config.json']) {
    const [ours, theirs] = [out, whole].map((dir) => readFileSync(path.join(dir, 'models/r1', file)));
    expect(ours?.equals(theirs as Buffer), file).toBe(true);
  }
  const [base, r1] = ['base', 'r1'].map((name) => readFileSync(path.join(whole, 'models', name, 'model.safetensors')));
  expect(base?.equals(r1 as Buffer)).toBe(false);
});
