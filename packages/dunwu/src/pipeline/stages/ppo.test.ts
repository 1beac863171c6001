import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { runStages } from '../testing/stage-run.js';
import { references, schema } from './ppo.schema.js';

const root = mkdtempSync(path.join(os.tmpdir(), 'dunwu-ppo-stage-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const pair = (i: number) => ({ prompt: `${i}?`, chosen: `${i}`, rejected: `${i} ${i}` });
writeFileSync(
  path.join(root, 'pairs.jsonl'),
  Array.from({ length: 24 }, (_, i) => `${JSON.stringify(pair(i))}\n`).join(''),
);

const recipe = (more: string) => `name: rlhf
seed: 3
task: { type: word-problem, steps: [2, 2], languages: { en: 1, zh: 1 } }
stages:
  - { name: base, kind: tiny }
  - { name: judge, kind: reward-model, model: base, rows: preference, reads: whole, batch: 6, data: { file: pairs.jsonl },
      optimizer: { kind: adamw, learning_rate: 0.003 } }
  - { name: aligned, kind: ppo, model: base, reward_model: judge, steps: 4, questions_per_step: 4, samples_per_question: 2,
      mini_batches: 2, kl: { coefficient: 0.05 }, sampling: { max_tokens: 8 }, save_every: 2,
      optimizer: { kind: adamw, learning_rate: 0.001 }${more} }
`;
const rows = (dir: string, file: string) =>
  readFileSync(path.join(dir, file), 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
const timeless = (dir: string) =>
  rows(dir, 'metrics.jsonl').map((row) => Object.entries(row).filter(([name]) => !name.startsWith('time/')));

describe('a run', () => {
  const whole = path.join(root, 'whole');

  test('reward model, then PPO with the value function made from it', async () => {
    const { status, stages } = await runStages(recipe(''), whole);
    expect(status).toBe('done');
    const steps = rows(whole, 'metrics.jsonl').filter(({ stage }) => stage === 'aligned');
    expect(steps).toHaveLength(4);
    for (const row of steps) {
      expect(row).toMatchObject({ score: expect.any(Number), 'loss/value': expect.any(Number) });
      expect(row).toMatchObject({ explained_variance: expect.any(Number), accuracy: 0 });
    }
    const samples = rows(whole, 'samples/aligned.jsonl');
    expect(samples).toHaveLength(32);
    expect(stages[2]?.tokens).toBe(samples.reduce((sum, { length }) => sum + Number(length), 0));
    const report = readFileSync(path.join(whole, 'report.md'), 'utf8');
    expect(report).toContain('aligned-value');
  });

  test('stopped and resumed: the same lines and weights', async () => {
    const out = path.join(root, 'stopped');
    let ppoSteps = 0;
    const stopWhen = (done: number) => done === 3 && ++ppoSteps === 2; // the third step of the second stage
    expect(await runStages(recipe(''), out, { stopWhen })).toMatchObject({ status: 'interrupted' });
    expect(await runStages(recipe(''), out, { resume: true })).toMatchObject({ status: 'done' });
    expect(timeless(out)).toEqual(timeless(whole));
    const weights = [whole, out].map((dir) => readFileSync(path.join(dir, 'models/aligned/model.safetensors')));
    expect(weights[0]?.equals(weights[1] as Buffer)).toBe(true);
  });
});

test('the reward model must be one', async () => {
  const wrong = recipe('').replace('reward_model: judge', 'reward_model: base');
  await expect(runStages(wrong, path.join(root, 'wrong'))).rejects.toThrow(
    /stage aligned failed: .*base.reward_model\.json: cannot be read/,
  );
});

test('the configuration: defaults and references', () => {
  const parsed = schema.parse({
    model: 'm',
    reward_model: 'r',
    steps: 1,
    questions_per_step: 2,
    sampling: { max_tokens: 4 },
    kl: { coefficient: 0.1 },
    optimizer: { kind: 'adamw', learning_rate: 0.1 },
  });
  expect(parsed).toMatchObject({
    gamma: 1,
    lambda: 0.95,
    whiten_advantages: true,
    value: { init: 'reward-model', clip: 0.2 },
    loss: { clip_low: 0.2, aggregate: 'token-mean' },
  });
  expect(references(parsed)).toEqual(['m', 'r']);
});
