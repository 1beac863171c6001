import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { RewardModel } from '../../reward/reward-model.js';
import { Tokenizer } from '../../text/tokenizer.js';
import { runStages } from '../testing/stage-run.js';
import { schema } from './reward-model.schema.js';

const root = mkdtempSync(path.join(os.tmpdir(), 'dunwu-reward-stage-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const recipe = (stage: string, more = '') => `name: judge
seed: 3
stages:
  - { name: base, kind: tiny }
${more}  - { name: judge, kind: reward-model, model: base, batch: 6, held_out: 0.3, evaluate_every: 3, save_every: 2,
      optimizer: { kind: adamw, learning_rate: 0.01 }, ${stage} }
`;
const read = (dir: string, file: string) => readFileSync(path.join(dir, file), 'utf8');
const timeless = (dir: string) =>
  read(dir, 'metrics.jsonl')
    .trimEnd()
    .split('\n')
    .map((line) => Object.entries(JSON.parse(line)).filter(([name]) => !name.startsWith('time/')));

describe('preference pairs', () => {
  const pair = (prompt: string, chosen: string, rejected: string) =>
    `${JSON.stringify({ id: prompt, prompt, chosen, rejected, source: 'x', language: 'en' })}\n`;
  const answer = (text: string) => `<think>hm</think><answer>${text}</answer>`;
  writeFileSync(
    path.join(root, 'pairs.jsonl'),
    Array.from({ length: 40 }, (_, i) => pair(`${i}?`, answer(`${i}`), answer(`${i}9`))).join('') +
      pair('same?', '<think>a</think><answer>1</answer>', '<think>b</think><answer> 1 </answer>') +
      pair('long?', 'x'.repeat(400), 'y'),
  );
  const STAGE = 'rows: preference, reads: final, epochs: 2, data: { file: pairs.jsonl }';
  const whole = path.join(root, 'whole');

  test('learns, measures on rows held out, says what was left out, and leaves a folder that scores', async () => {
    const { status, stages, lines } = await runStages(recipe(STAGE), whole);
    expect(status).toBe('done');
    const { extra, model } = stages[1] ?? {};
    expect(extra).toMatchObject({ rows: 'preference', reads: 'final', trained: 28 });
    expect(extra).toMatchObject({ left_out: { no_difference: 1, oversized: 1 } });
    const held = extra?.held_out as { n: number; accuracy: number; calibration: { bins: { count: number }[] } };
    expect(held.n).toBe(12);
    expect(held.calibration.bins.reduce((sum, { count }) => sum + count, 0)).toBe(12);
    expect(lines.join('\n')).toMatch(/rows left out, longer than the model's 160 positions: .*pairs\.jsonl:42/);
    expect(lines.join('\n')).toMatch(/do not differ in what is read: .*pairs\.jsonl:41/);
    const share = `${(100 * held.accuracy).toFixed(1)} %`;
    expect(read(whole, 'report.md')).toContain(`12 pairs held out: the better response scores higher in ${share}`);
    expect(read(whole, 'report.zh.md')).toMatch(/留出 12 对：[\s\S]*\| 模型认为判对的概率 \| 对数 \|/);
    const rewardModel = RewardModel.load(model as string);
    const tokenizer = Tokenizer.load(model as string);
    const [a, b] = rewardModel.score(tokenizer, [
      { prompt: '3?', response: answer('3') },
      { prompt: '3?', response: `<think>${'other '.repeat(3)}</think>3` },
    ]);
    expect([rewardModel.kind, rewardModel.reads, a]).toEqual(['preference', 'final', b]);
    rewardModel.dispose();
  });

  test('stopped and resumed: the same numbers and weights', async () => {
    const out = path.join(root, 'stopped');
    expect(await runStages(recipe(STAGE), out, { stopWhen: (done) => done >= 3 })).toMatchObject({
      status: 'interrupted',
    });
    await runStages(recipe(STAGE), out, { resume: true });
    expect(timeless(out)).toEqual(timeless(whole));
    for (const file of ['model.safetensors', 'score_head.safetensors', 'reward_model.json']) {
      const both = [whole, out].map((dir) => readFileSync(path.join(dir, 'models/judge', file)));
      expect(both[0]?.equals(both[1] as Buffer), file).toBe(true);
    }
  });
});

test('safety labels of a preferences stage', async () => {
  const out = path.join(root, 'safety');
  const made = `  - { name: marks, kind: preferences, rows: safety, from: { task: { type: general, harmful: 0.5 }, n: 40 } }\n`;
  const { stages } = await runStages(recipe('rows: safety, reads: whole, data: { stage: marks }', made), out);
  expect(stages[2]?.extra).toMatchObject({ rows: 'safety', held_out: { accuracy: expect.any(Number) } });
  expect(read(out, 'report.md')).toContain('judged as labelled');
  // Pairs where labels are asked for.
  const wrong = recipe('rows: preference, reads: whole, data: { stage: marks }', made);
  await expect(runStages(wrong, path.join(root, 'wrong'))).rejects.toThrow(
    /datasets.marks\.jsonl:1: "chosen": .*expected \{"prompt", "chosen", "rejected"\}/,
  );
});

describe('the configuration', () => {
  const base = {
    model: 'm',
    data: { stage: 'd' },
    rows: 'preference',
    reads: 'final',
    batch: 4,
    optimizer: { kind: 'adamw', learning_rate: 0.01 },
  };
  test('is accepted, with its defaults', () => {
    expect(schema.parse(base)).toMatchObject({ data: [{ stage: 'd' }], epochs: 1, held_out: 0.1 });
    expect(schema.parse({ ...base, data: [{ stage: 'd' }, { file: 'x' }] }).data).toHaveLength(2);
  });
  test.each([
    [{ data: { stage: 'd', file: 'x' } }, 'data: give { stage }'],
    [{ data: [] }, 'data'],
    [{ rows: 'safety', label_smoothing: 0.1 }, 'label_smoothing: would be ignored'],
    [{ reads: undefined }, 'reads'],
    [{ held_out: 0.7 }, 'held_out'],
  ])('%o is refused', (over, message) => {
    const result = schema.safeParse({ ...base, ...over });
    expect(result.error?.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`).join('\n')).toContain(
      message,
    );
  });
});
