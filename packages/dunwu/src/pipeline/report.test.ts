import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Trace } from '../reward/trace.js';
import { readCurves, stageCharts } from './curves.js';
import type { Recipe } from './recipe.js';
import { machineLine, writeReport } from './report.js';
import type { EvalResult, StageRecord } from './stage.js';
import { readTranscripts } from './transcripts.js';

const recipe: Recipe = {
  base: '/',
  ruleFiles: [],
  name: 'mini',
  description: 'A small one.',
  seed: 3,
  compute: { device: 'auto', dtype: 'auto', threads: 2 },
  task: undefined,
  stages: [],
};

const judged = (accuracy: number, sampled: number): EvalResult => ({
  model: 'm',
  task: 'word-problem',
  n: 300,
  accuracy,
  ci95: [accuracy - 0.05, accuracy + 0.05],
  format: 0.5,
  language_consistency: 0.48,
  mean_length: 80.25,
  sampled: { accuracy: sampled, format: 0.4, language_consistency: 0.5, pass_at_k: { 8: 0.215 } },
});

const trace: Trace = {
  total: 1.5,
  parts: [
    { name: 'accuracy', points: 1, max: 1, status: 'ok', evidence: [], weight: 1 },
    { name: 'format', points: 1, max: 1, status: 'ok', evidence: [], weight: 0.5 },
  ],
};

let dir = '';
let stages: StageRecord[] = [];
beforeAll(() => {
  dir = mkdtempSync(path.join(os.tmpdir(), 'dunwu-report-'));
  mkdirSync(path.join(dir, 'samples'));
  stages = [
    {
      name: 'base',
      kind: 'pretrain',
      seconds: 90,
      tokens: 1_800_000,
      flops: 2.5e13,
      model: path.join(dir, 'models/base'),
    },
    { name: 'before', kind: 'eval', seconds: 10, tokens: 5000, flops: 1e10, eval: judged(0.1, 0.05) },
    {
      name: 'zero',
      kind: 'grpo',
      seconds: 100,
      tokens: 200_000,
      flops: 5e12,
      model: '/elsewhere/m',
      notes: ['ratio is 1'],
    },
    { name: 'after', kind: 'eval', seconds: 10, tokens: 5000, flops: 1e10, eval: judged(0.8325, 0.685) },
  ];
  const metrics = [
    { stage: 'base', step: 1, loss: 6.2, 'load/1': [10, 30], 'load/2': [5, 5] },
    { stage: 'base', step: 2, loss: 3.1, 'load/1': [20, 20], 'load/2': [0, 10] },
    {
      stage: 'zero',
      step: 1,
      loss: 0,
      reward: 0.3,
      'reward/format': 0.2,
      'reward/accuracy': 0.1,
      accuracy: 0.05,
      entropy: 1.5,
      length: 80,
      kl: 'NaN',
    },
    {
      stage: 'zero',
      step: 2,
      loss: 0,
      reward: 1.2,
      'reward/format': 0.5,
      accuracy: 0.7,
      entropy: 0.5,
      length: 60,
      kl: 0.02,
    },
  ];
  writeFileSync(path.join(dir, 'metrics.jsonl'), metrics.map((row) => `${JSON.stringify(row)}\n`).join(''));
  const rows = (response: string, modes: readonly string[]) =>
    modes
      .flatMap((mode) =>
        ['en', 'en', 'zh'].map((language, i) => ({
          step: 0,
          id: `p${i}`,
          language,
          mode,
          prompt: `${language} ${i}: 3 + 4 = ?`,
          answer: '7',
          response: `${response} ${mode} \`\`\`fence\`\`\``,
          trace,
        })),
      )
      .map((row) => `${JSON.stringify(row)}\n`)
      .join('');
  writeFileSync(path.join(dir, 'samples/before.jsonl'), rows('old', ['greedy', 'sampled']));
  writeFileSync(path.join(dir, 'samples/after.jsonl'), rows('new', ['sampled', 'greedy']));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

test('report.json has the agreed shape', async () => {
  await writeReport(dir, recipe, stages);
  const report = JSON.parse(readFileSync(path.join(dir, 'report.json'), 'utf8'));
  expect(Object.keys(report)).toEqual(['recipe', 'seed', 'seconds', 'stages']);
  expect(report).toMatchObject({ recipe: 'mini', seed: 3, seconds: 210 });
  expect(report.stages).toEqual([
    { name: 'base', kind: 'pretrain', seconds: 90, tokens: 1_800_000, flops: 2.5e13, model: 'models/base', eval: null },
    { name: 'before', kind: 'eval', seconds: 10, tokens: 5000, flops: 1e10, model: null, eval: judged(0.1, 0.05) },
    { name: 'zero', kind: 'grpo', seconds: 100, tokens: 200_000, flops: 5e12, model: '/elsewhere/m', eval: null },
    { name: 'after', kind: 'eval', seconds: 10, tokens: 5000, flops: 1e10, model: null, eval: judged(0.8325, 0.685) },
  ]);
});

test('report.md and report.zh.md: tables, change, costs, curves, transcripts', async () => {
  const files = await writeReport(dir, recipe, stages);
  const english = readFileSync(files.markdown, 'utf8');
  const chinese = readFileSync(files.chinese, 'utf8');
  expect(english).toContain('| after | m | 300 | 83.3 % (78.3 % – 88.3 %) | 50.0 % | 48.0 % | 80.3 |');
  expect(english).toContain('| after | m | 300 | 68.5 % | 21.5 % (k = 8) | 40.0 % | 50.0 % |');
  expect(english).toContain(
    '- Greedy accuracy: 10.0 % → 83.3 % (+73.3 points)\n- Sampled accuracy: 5.0 % → 68.5 % (+63.5 points)',
  );
  expect(english).toContain('| base | pretrain | 1m 30s | 1.80M | 2.50e+13 | 20.0k |');
  expect(english).toContain('| **Total** |  | 3m 30s | 2.01M | 3.00e+13 | 9.57k |');
  expect(english).toContain('- zero: ratio is 1');
  expect(english).toContain('### en 0: 3 + 4 = ? (greedy)');
  expect(english).toContain(
    '**before**\n\n````text\nold greedy ```fence```\n````\n\nPoints: 1.5 = accuracy 1/1 (ok) × 1 + format 1/1 (ok) × 0.5',
  );
  expect(english).toContain('**after**\n\n````text\nnew greedy ```fence```\n````');
  expect(chinese).toContain('## 每个阶段之后');
  expect(chinese).toContain('- 贪心准确率：10.0 % → 83.3 %（+73.3 个百分点）');
  expect(chinese).toContain('### zh 2: 3 + 4 = ? (采样，T = 1)');
  expect(english.split('\n').length).toBe(chinese.split('\n').length); // the same content
  for (const text of [english, chinese]) {
    for (const [, file] of text.matchAll(/!\[[^\]]*\]\(([^)]+)\)/g)) {
      expect(readFileSync(path.join(dir, decodeURI(file ?? '')), 'utf8')).toMatch(/^<svg /);
    }
    expect(text).toContain(machineLine(text === english ? 'en' : 'zh'));
  }
  expect(
    readdirSync(dir)
      .filter((name) => name.endsWith('.svg'))
      .sort(),
  ).toEqual([
    'base-experts.svg',
    'base-experts.zh.svg',
    'base-loss.svg',
    'base-loss.zh.svg',
    'stages.svg',
    'stages.zh.svg',
    'zero-policy.svg',
    'zero-policy.zh.svg',
    'zero-reward.svg',
    'zero-reward.zh.svg',
  ]);
});

test('curves hold the logged values; load is relative to an even share', () => {
  const [base, zero] = readCurves(path.join(dir, 'metrics.jsonl'));
  if (base === undefined || zero === undefined) throw new Error('two stages were logged');
  const [loss, experts] = stageCharts(base, 'en');
  expect(loss?.chart.option.series).toMatchObject([
    {
      name: 'loss',
      data: [
        [1, 6.2],
        [2, 3.1],
      ],
    },
  ]);
  // load/1: [10, 30] is 0.5 and 1.5 of the mean; rows from the bottom: L1 E0, L1 E1, L2 E0, L2 E1; columns: the steps.
  expect(experts?.chart.option.series).toMatchObject([
    {
      data: [
        [0, 0, 0.5],
        [1, 0, 1],
        [0, 1, 1.5],
        [1, 1, 1],
        [0, 2, 1],
        [1, 2, 0],
        [0, 3, 1],
        [1, 3, 2],
      ],
    },
  ]);
  const [reward, policy] = stageCharts(zero, 'zh');
  expect(reward?.caption).toBe('zero: 奖励及其各部分、准确率');
  expect(reward?.chart.option.series).toMatchObject([
    {
      name: 'reward',
      data: [
        [1, 0.3],
        [2, 1.2],
      ],
    },
    { name: 'reward/format' },
    { name: 'reward/accuracy', xAxisIndex: 0 },
    {
      name: 'accuracy',
      xAxisIndex: 1,
      data: [
        [1, 0.05],
        [2, 0.7],
      ],
    },
  ]);
  expect(policy?.chart.option.series).toMatchObject([
    { name: 'entropy' },
    { name: 'length' },
    {
      name: 'kl',
      data: [
        [1, '-'],
        [2, 0.02],
      ],
    },
  ]);
});

test('every kind of stage has curves of what it logs', () => {
  const rows = (stage: string, metrics: object) => [1, 2].map((step) => ({ stage, step, tokens: step, ...metrics }));
  const file = path.join(dir, 'kinds.jsonl');
  const logged = [
    ...rows('sft', { loss: 1, 'validation/loss': 2, accuracy: 0.5 }),
    ...rows('rm', { loss: 1, accuracy: 0.7, margin: 0.3, 'reward/chosen': 1, 'reward/rejected': 0 }),
    ...rows('ppo', {
      reward: 1,
      'loss/policy': 0,
      'loss/value': 0.2,
      explained_variance: 0.4,
      'clip/low': 0,
      'clip/high': 0.1,
      'ratio/max': 2,
      language_consistency: 0.5,
      'validation/sampled/language_consistency': 0.6,
    }),
    ...rows('own', { surprise: 3, 'time/step_s': 1, learning_rate: 1 }),
  ];
  writeFileSync(file, logged.map((row) => `${JSON.stringify(row)}\n`).join(''));
  const drawn = readCurves(file).map((curves) =>
    stageCharts(curves, 'en').map(({ file: name, chart }) => [
      name,
      (chart.option.series as { name: string }[]).map((series) => series.name),
    ]),
  );
  expect(drawn).toEqual([
    [
      ['sft-loss', ['loss', 'validation/loss']],
      ['sft-reward', ['accuracy']],
    ],
    [
      ['rm-loss', ['loss', 'margin']],
      ['rm-reward', ['reward/chosen', 'reward/rejected', 'accuracy']],
    ],
    [
      ['ppo-reward', ['reward', 'language_consistency', 'validation/sampled/language_consistency']],
      ['ppo-clip', ['clip/low', 'clip/high', 'ratio/max']],
      ['ppo-value', ['loss/value', 'explained_variance']],
    ],
    [['own-values', ['surprise']]],
  ]);
});

test('transcripts: the first problem of each way and language that both answered', () => {
  const transcripts = readTranscripts(dir, stages);
  expect(transcripts.map(({ mode, prompt }) => `${mode} ${prompt.slice(0, 4)}`)).toEqual([
    'greedy en 0',
    'greedy zh 2',
    'sampled en 0',
    'sampled zh 2',
  ]);
  expect(transcripts[1]?.responses.map(({ stage, response }) => `${stage}: ${response.slice(0, 10)}`)).toEqual([
    'before: old greedy',
    'after: new greedy',
  ]);
  // Without evaluations: the ends of the last stage with samples.
  const rows = [0, 0, 7].map((step) => `${JSON.stringify({ step, prompt: 'q', response: `r${step}` })}\n`);
  writeFileSync(path.join(dir, 'samples/zero.jsonl'), rows.join(''));
  const ends = readTranscripts(
    dir,
    stages.slice(0, 3).map(({ eval: _, ...stage }) => stage),
  );
  expect(ends.map(({ responses }) => responses[0])).toEqual([
    { stage: 'zero', step: 0, response: 'r0', trace: undefined },
    { stage: 'zero', step: 7, response: 'r7', trace: undefined },
  ]);
});
