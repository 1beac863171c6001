import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { type ComparedEvaluation, compareRuns, gather, readRun } from './compare.js';
import { compareChart, compareMarkdown, compareText } from './compare-report.js';
import { renderSvg } from './plot.js';
import { defineKind } from './stage.js';

let dir = '';
beforeAll(() => {
  dir = mkdtempSync(path.join(os.tmpdir(), 'dunwu-compare-'));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const schema = z.strictObject({ model: z.string().optional(), steps: z.number().optional() });
const kindsOf = (...names: string[]) =>
  names.map((kind) =>
    defineKind<z.output<typeof schema>>({
      kind,
      summary: kind,
      spec: async () => ({ schema, references: ({ model }) => (model === undefined ? [] : [model]) }),
      work: async () => {
        throw new Error('not used');
      },
    }),
  );
const kinds = kindsOf('pretrain', 'grpo', 'eval');

interface FakeRun {
  readonly seed: number;
  readonly steps?: number;
  readonly accuracy: number;
  readonly sampled?: number;
  readonly seconds: number;
  /** validation/accuracy at steps 5, 10, …; null: stage not begun. */
  readonly curve: readonly number[] | null;
}

/** A run folder with stages base (pretrain), zero (grpo) and look (eval of zero). */
function fakeRun(name: string, run: FakeRun): string {
  const folder = path.join(dir, name);
  mkdirSync(path.join(folder, 'stages'), { recursive: true });
  writeFileSync(
    path.join(folder, 'recipe.yaml'),
    `# run\nname: mini\ndescription: seed ${run.seed}\nseed: ${run.seed}\nstages:\n` +
      `  - { name: base, kind: pretrain, steps: ${run.steps ?? 10} }\n  - { name: zero, kind: grpo, model: base }\n` +
      '  - { name: look, kind: eval, model: zero }\n',
  );
  const record = (stage: string, kind: string, seconds: number, more: object = {}): void =>
    writeFileSync(
      path.join(folder, 'stages', `${stage}.json`),
      JSON.stringify({ name: stage, kind, seconds, tokens: 100 * seconds, flops: 1000 * seconds, ...more }),
    );
  record('base', 'pretrain', 10);
  if (run.curve !== null) {
    record('zero', 'grpo', run.seconds);
    const shares = {
      accuracy: run.sampled,
      format: 0.9,
      language_consistency: 0.5,
      k: 4,
      pass_at_k: 0.95,
      cons_at_k: 0.9,
    };
    record('look', 'eval', 7, {
      eval: {
        accuracy: run.accuracy,
        format: 1,
        language_consistency: 0.5,
        mean_length: 40,
        ...(run.sampled === undefined ? {} : { sampled: shares }),
      },
    });
  }
  const rows = (run.curve ?? []).flatMap((value, i) => [
    { stage: 'zero', step: 5 * i + 4, reward: value, samples: 8 * (5 * i + 4) },
    { stage: 'zero', step: 5 * i + 5, reward: value + 0.5, samples: 8 * (5 * i + 5), 'validation/accuracy': value },
  ]);
  writeFileSync(path.join(folder, 'metrics.jsonl'), rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
  return folder;
}

const three = (): string[] => [
  fakeRun('a', { seed: 1, accuracy: 0.8, sampled: 0.6, seconds: 20, curve: [0.2, 0.5, 0.9] }),
  fakeRun('b', { seed: 2, accuracy: 0.9, sampled: 0.7, seconds: 22, curve: [0.5, 0.4, 0.8] }),
  fakeRun('c', { seed: 3, accuracy: 1, sampled: 0.8, seconds: 24, curve: [0.1, 0.2, 0.3] }),
];

test('means over the seeds with t-intervals, by hand', async () => {
  const { recipes, evaluations, reach } = await compareRuns(three().map(readRun), { kinds });
  expect(recipes).toMatchObject([{ label: 'mini', differences: [], runs: [{ seed: 1 }, { seed: 2 }, { seed: 3 }] }]);
  expect(reach).toBeNull();
  expect(evaluations).toHaveLength(1);
  const [look] = evaluations as [ComparedEvaluation];
  expect(look).toMatchObject({ recipe: 'mini', stage: 'look', runs: 3 });
  // 0.8, 0.9, 1: s = 0.1, t(2) · 0.1/√3 = 0.2484138.
  expect(look.accuracy.mean).toBeCloseTo(0.9, 12);
  expect(look.accuracy.ci95?.[0]).toBeCloseTo(0.9 - 0.2484138, 6);
  expect(look.sampled?.accuracy.mean).toBeCloseTo(0.7, 12);
  expect(look.sampled).toMatchObject({ k: 4, pass_at_k: { mean: expect.closeTo(0.95, 12) } });
  expect(look.sampled?.cons_at_k?.mean).toBeCloseTo(0.9, 12);
  expect(look.format).toEqual({ mean: 1, standard_error: 0, ci95: [1, 1] });
  // The cost of the model: base 10 s and zero 20, 22, 24 s; the evaluation's own 7 s do not count.
  expect(look.cost?.seconds.mean).toBeCloseTo(32, 12);
  expect(look.cost?.seconds.standard_error).toBeCloseTo(2 / Math.sqrt(3), 12);
  expect(look.cost?.flops.mean).toBeCloseTo(32_000, 9);
});

test('steps to a threshold: the first one, with its samples; runs that never reached it count as such', async () => {
  const reach = async (threshold: number) =>
    (await compareRuns(three().map(readRun), { reach: { metric: 'validation/accuracy', threshold } })).reach?.stages[0];
  const low = await reach(0.2);
  expect(low?.runs.map(({ reached, step, samples }) => [reached, step, samples])).toEqual([
    [true, 5, 40],
    [true, 5, 40],
    [true, 10, 80],
  ]);
  // 5, 5, 10: mean 20/3, s² = 25/3, error √(25/9) = 5/3, times t(2) = 4.302653.
  expect(low).toMatchObject({ stage: 'zero', reached: 3, censored: false });
  expect(low?.steps.mean).toBeCloseTo(20 / 3, 12);
  expect(low?.steps.ci95?.[1]).toBeCloseTo(20 / 3 + (4.302653 * 5) / 3, 5);
  expect(low?.samples?.mean).toBeCloseTo(160 / 3, 12);
  const half = await reach(0.5); // 10, 5, and one that ends at 15 without it
  expect(half).toMatchObject({ reached: 2, censored: true, steps: { mean: 10, standard_error: null, ci95: null } });
  expect(half?.runs[2]).toMatchObject({ reached: false, step: 15, samples: 120 });
  expect(await reach(2)).toMatchObject({ reached: 0, censored: true, steps: { mean: 15 } });
});

test('another recipe has rows of its own and says what differs; an unfinished run is named', async () => {
  const runs = [
    ...three(),
    fakeRun('d', { seed: 1, steps: 20, accuracy: 0.5, seconds: 20, curve: [0.6] }),
    fakeRun('e', { seed: 4, accuracy: 0, seconds: 0, curve: null }),
  ].map(readRun);
  const comparison = await compareRuns(runs, { kinds, reach: { metric: 'validation/accuracy', threshold: 0.5 } });
  expect(comparison.recipes).toMatchObject([
    { label: 'mini', runs: [{}, {}, {}, { seed: 4, unfinished: ['zero', 'look'] }] },
    { label: 'mini #2', differences: ['stages.base.steps: 10 → 20'], runs: [{ seed: 1, unfinished: [] }] },
  ]);
  expect(comparison.evaluations).toMatchObject([
    { recipe: 'mini', runs: 3 },
    { recipe: 'mini #2', runs: 1, accuracy: { mean: 0.5, ci95: null }, sampled: null },
  ]);
  expect(comparison.reach?.stages[0]?.unmeasured).toEqual([path.join(dir, 'e')]);
  const text = compareText(comparison);
  expect(text).toContain('mini #2 differs: stages.base.steps: 10 → 20.');
  expect(text).toContain(`${path.join(dir, 'e')}: not finished: zero, look.`);
  expect(text).toContain(`zero: not measured in ${path.join(dir, 'e')}.`);
  expect(text).toMatch(/\n {2}mini {5}zero {4}2 of 3 {3}≥ 10 {5}≥ 80 {2}10, 5, > 15\n/);
  expect(text).toMatch(/\n {2}mini #2 {2}zero {4}1 of 1 {6}5 {7}40 {2}5\n/);
});

test('the tables, in both languages', async () => {
  const comparison = await compareRuns(three().map(readRun), { kinds });
  const lines = compareText(comparison).split('\n');
  const at = lines.indexOf('Evaluations');
  expect(lines[at + 1]?.split(/ {2,}/).slice(1)).toEqual(
    'Stage  Runs  Greedy  Sampled  pass@4  cons@4  Format, greedy  sampled  Language, greedy  sampled  Length  Time  FLOPs'.split(
      '  ',
    ),
  );
  expect(lines[at + 2]?.split(/ {2,}/).slice(1)).toEqual(
    'look  3  90.0 ± 24.8  70.0 ± 24.8  95.0 ± 0.0  90.0 ± 0.0  100.0 ± 0.0  90.0 ± 0.0  50.0 ± 0.0  50.0 ± 0.0  40.0 ± 0.0  32s ± 5.0s  32.0k ± 4.97k'.split(
      '  ',
    ),
  );
  const english = compareMarkdown(comparison, 'en', 'a b.svg');
  expect(english).toContain('\n| look | 3 | 90.0 ± 24.8 | 70.0 ± 24.8 |');
  expect(english).toContain('\n|---|---:|---:|');
  expect(english).toMatch(/!\[Mean over the runs.*\]\(a%20b\.svg\)/);
  const chinese = compareMarkdown(comparison, 'zh');
  expect(chinese).toContain('# 对比');
  expect(chinese).toContain('| 阶段 | 运行数 | 贪心 | 采样 | pass@4 |');
  expect(chinese).not.toMatch(/Runs|Stage|Mean/);
});

test('curves: the mean over the runs and their range, at the steps that all have', async () => {
  const runs = three().map(readRun);
  const chart = compareChart(gather(runs), ['validation/accuracy', 'reward', 'nothing'], 'en');
  expect(chart?.option.title).toMatchObject([{ text: 'validation/accuracy' }, { text: 'reward' }]);
  const series = (drawn: typeof chart) => (drawn?.option.series ?? []) as { data: [number, number][]; name: string }[];
  const [low, range, line] = series(chart);
  const close = (pairs: number[][]) => pairs.map((pair) => pair.map((x) => expect.closeTo(x, 12)));
  expect(low?.data).toEqual(
    close([
      [5, 0.1],
      [10, 0.2],
      [15, 0.3],
    ]),
  );
  expect(range?.data).toEqual(
    close([
      [5, 0.4],
      [10, 0.3],
      [15, 0.6],
    ]),
  );
  expect(line).toMatchObject({
    name: 'zero',
    data: close([
      [5, 0.8 / 3],
      [10, 1.1 / 3],
      [15, 2 / 3],
    ]),
  });
  expect(await renderSvg(chart as NonNullable<typeof chart>)).toContain('>validation/accuracy</text>');
  const short = fakeRun('short', { seed: 9, accuracy: 0, seconds: 1, curve: [0.2, 0.3] });
  const cut = compareChart(gather([...runs, readRun(short)]), ['validation/accuracy'], 'en');
  expect(series(cut)[2]?.data).toHaveLength(2);
  expect(compareChart(gather(runs), ['nothing'], 'en')).toBeNull();
});

test('what cannot be compared', async () => {
  const [a] = three() as [string];
  expect(() => readRun(path.join(dir, 'nowhere'))).toThrow('nowhere: is no run folder');
  expect(() => gather([readRun(a), readRun(`${a}/`)])).toThrow('is given twice');
  const twin = fakeRun('twin', { seed: 1, accuracy: 0, seconds: 1, curve: [] });
  expect(() => gather([readRun(a), readRun(twin)])).toThrow('have the same recipe and the same seed (1)');
  const runs = [readRun(a)];
  await expect(compareRuns(runs, { reach: { metric: 'acuracy', threshold: 1 } })).rejects.toThrow(
    'no grpo or ppo stage logged `acuracy`; there are reward, samples, validation/accuracy',
  );
  await expect(compareRuns(runs, { reach: { metric: 'reward', threshold: 1, stages: ['one'] } })).rejects.toThrow(
    'no run has a stage one; there are base, zero, look',
  );
  const bad = fakeRun('bad', { seed: 5, accuracy: 0.1, seconds: 1, curve: [] });
  writeFileSync(path.join(bad, 'stages/look.json'), '{"name": "look", "kind": "eval", "seconds": "1"}');
  expect(() => readRun(bad)).toThrow(/bad\/stages\/look\.json: seconds: /);
  writeFileSync(path.join(bad, 'stages/look.json'), '{');
  expect(() => readRun(bad)).toThrow(/look\.json: cannot be read: /);
  writeFileSync(path.join(bad, 'recipe.yaml'), 'name: x\n');
  expect(() => readRun(bad)).toThrow(/recipe\.yaml: seed: /);
});

test('what is given is left out of the price, and what was provided is counted once', async () => {
  const folder = path.join(dir, 'ways');
  mkdirSync(path.join(folder, 'stages'), { recursive: true });
  const stages = [
    ['base', 'pretrain', undefined, 10, {}],
    ['draws', 'sample', 'base', 1, { answers: 40, scored: 80 }],
    ['pairs', 'preferences', 'draws', 2, { preferences: 30 }],
    ['rlhf', 'grpo', 'pairs', 4, { scored: 500 }],
    ['rlhf-look', 'eval', 'rlhf', 100, undefined],
    ['zero', 'grpo', 'base', 8, { answers: 60, scored: 700 }],
    ['zero-look', 'eval', 'zero', 100, undefined],
    ['student', 'grpo', 'zero', 16, { solutions: 9, answers: 3, scored: 5 }],
    ['student-look', 'eval', 'student', 100, undefined],
  ] as const;
  writeFileSync(
    path.join(folder, 'recipe.yaml'),
    `name: ways\nseed: 1\nstages:\n${stages
      .map(
        ([name, kind, model]) =>
          `  - { name: ${name}, kind: ${kind}${model === undefined ? '' : `, model: ${model}`} }`,
      )
      .join('\n')}\n`,
  );
  for (const [name, kind, , seconds, provided] of stages) {
    const shares = { accuracy: 0.5, format: 0.5, language_consistency: 0.5, mean_length: 10 };
    writeFileSync(
      path.join(folder, 'stages', `${name}.json`),
      JSON.stringify({ name, kind, seconds, tokens: 0, flops: 0, ...(provided ? { provided } : { eval: shares }) }),
    );
  }
  const all = [...kinds, ...kindsOf('sample', 'preferences')];
  const prices = async (given: string[]) =>
    (await compareRuns([readRun(folder)], { kinds: all, given })).evaluations.map(({ stage, cost }) => [
      stage,
      cost?.seconds.mean,
      cost?.solutions?.mean,
      cost?.preferences?.mean,
      cost?.answers?.mean,
      cost?.scored?.mean,
    ]);
  expect(await prices([])).toEqual([
    ['rlhf-look', 17, 0, 30, 0, 580],
    ['zero-look', 18, 0, 0, 60, 700],
    // No samples are kept: what the two stages count is summed.
    ['student-look', 34, 9, 0, 63, 705],
  ]);
  expect(await prices(['base', 'zero'])).toEqual([
    ['rlhf-look', 7, 0, 30, 0, 580],
    ['zero-look', 8, 0, 0, 60, 700],
    ['student-look', 16, 9, 0, 3, 5],
  ]);
  // Two of the last stage's three problems were the earlier stage's too, and each problem has several responses.
  mkdirSync(path.join(folder, 'samples'));
  const judged = (from: number, to: number) =>
    Array.from({ length: 2 * (to - from) }, (_, i) => {
      const parts = [{ name: 'accuracy', status: 'wrong' }];
      return `${JSON.stringify({ prompt: `p${from + (i >> 1)}`, trace: { total: 0, parts } })}\n`;
    }).join('');
  writeFileSync(path.join(folder, 'samples', 'zero.jsonl'), judged(0, 60));
  writeFileSync(path.join(folder, 'samples', 'student.jsonl'), judged(58, 61));
  expect((await prices([]))[2]).toEqual(['student-look', 34, 9, 0, 61, 705]);
  await expect(prices(['teacher'])).rejects.toThrow(/no run has a stage teacher; there are base, draws/);
});
