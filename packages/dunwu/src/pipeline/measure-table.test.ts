import { describe, expect, it, test } from 'vitest';
import { measureChart } from './measure-chart.js';
import { type JudgedStage, judgedStages, measureSentences, measureTables } from './measure-table.js';
import { renderSvg } from './plot.js';
import type { Recipe, RecipeStage } from './recipe.js';
import type { EvalResult, StageRecord } from './stage.js';

const stage = (name: string, kind: string, references: string[], config: object = {}): RecipeStage => ({
  name,
  kind,
  config,
  references,
});
const evaluated = (model: string) => stage(`${model}-eval`, 'eval', [model], { model, split: 'test' });

/** The stages of R1, as far as the cold start and the RL behind it. */
const STAGES = [
  stage('base', 'pretrain', []),
  evaluated('base'),
  stage('zero', 'grpo', ['base']),
  evaluated('zero'),
  stage('data', 'sample', ['zero']),
  stage('cold-start', 'sft', ['base', 'data']),
  evaluated('cold-start'),
  stage('reasoning', 'grpo', ['cold-start']),
  evaluated('reasoning'),
];
const recipe: Recipe = {
  base: '/',
  ruleFiles: [],
  name: 'r1',
  seed: 1,
  compute: { device: 'auto', dtype: 'auto', threads: 2 },
  task: undefined,
  stages: STAGES,
};

function result(accuracy: number, sampled: number, followed: number, half = 0.05): EvalResult {
  return {
    model: '/run/models/x',
    task: 'word-problem',
    n: 100,
    accuracy,
    ci95: [accuracy - half, accuracy + half],
    format: 1,
    language_consistency: 0.5,
    language_consistency_ci95: [0.4, 0.6],
    readability: 0.75,
    readability_ci95: [0.7, 0.8],
    mean_length: 50,
    sampled: {
      accuracy: sampled,
      ci95: [sampled - half, sampled + half],
      format: 0.9,
      language_consistency: 0.6,
      language_consistency_ci95: [0.55, 0.65],
      readability: 0.7,
      readability_ci95: [0.65, 0.75],
      mean_length: 55,
      k: 4,
      pass_at_k: 0.95,
      cons_at_k: 0.8,
    },
    general: {
      n: 10,
      harmful: 2,
      instruction_following: followed,
      instruction_following_ci95: [followed - 0.1, followed + 0.1],
      refusal: 0.5,
      refusal_ci95: [0.1, 0.9],
      over_refusal: 0,
      mean_length: 20,
    },
  };
}

function judgedBy(results: Readonly<Record<string, EvalResult>>, of: Recipe = recipe): JudgedStage[] {
  const records = of.stages.flatMap(({ name, kind }): StageRecord[] => {
    const found = results[name];
    return [{ name, kind, seconds: 1, tokens: 0, flops: 0, ...(found === undefined ? {} : { eval: found }) }];
  });
  return judgedStages(of, records);
}

const judged = judgedBy({
  'base-eval': result(0.1, 0.05, 0.2),
  'zero-eval': result(0.779, 0.7, 0.466),
  'cold-start-eval': result(0.59, 0.71, 0.717),
  'reasoning-eval': result(0.798, 0.79, 0.8),
});

describe('tables', () => {
  it('one row a stage, named by its model, greedy and sampled, with intervals', () => {
    const [, greedy, , sampled] = measureTables(judged, 'en');
    expect(greedy?.split('\n')[0]).toBe(
      '| Stage | Model | Problems | Accuracy | Instruction-following | Refusal of harm | Refused without need | Format | Language consistency | Readability | Mean length (tokens) |',
    );
    expect(greedy?.split('\n')[4]).toBe(
      '| cold-start-eval | cold-start | 100 | 59.0 % (54.0 % – 64.0 %) | 71.7 % (61.7 % – 81.7 %) | 50.0 % (10.0 % – 90.0 %) | 0.0 % | 100.0 % | 50.0 % (40.0 % – 60.0 %) | 75.0 % (70.0 % – 80.0 %) | 50.0 |',
    );
    // The general problems were not sampled: no column of theirs.
    expect(sampled?.split('\n')[4]).toBe(
      '| cold-start-eval | cold-start | 100 | 71.0 % (66.0 % – 76.0 %) | 95.0 % (k = 4) | 80.0 % | 90.0 % | 60.0 % (55.0 % – 65.0 %) | 70.0 % (65.0 % – 75.0 %) | 55.0 |',
    );
    expect(measureTables(judged, 'zh')).toHaveLength(4);
  });

  it('without samples there is one table; what one row lacks is a dash; another task has its column', () => {
    const { sampled: _, general: __, ...plain } = result(0.5, 0, 0);
    const mixed = judgedBy({ 'base-eval': plain, 'zero-eval': { ...result(0.6, 0.5, 0.4), task: 'equation' } });
    const [, greedy] = measureTables(mixed, 'en');
    expect(greedy).toContain(
      '| base-eval | base | word-problem | 100 | 50.0 % (45.0 % – 55.0 %) | – | – | – | 100.0 % |',
    );
    expect(measureTables(mixed.slice(0, 1), 'en')).toHaveLength(2);
    // Accuracy on other problems is no change.
    expect(measureSentences(mixed, recipe, 'en')).toEqual([]);
  });
});

describe('sentences', () => {
  it('the dip after the cold start, each way of decoding by its own numbers', () => {
    expect(measureSentences(judged, recipe, 'en')).toEqual([
      [
        '- Greedy accuracy: 10.0 % → 79.8 % (+69.8 points)',
        '- Sampled accuracy: 5.0 % → 79.0 % (+74.0 points)',
        '- Fine-tuning `cold-start` after reinforcement learning `zero`: greedy accuracy 77.9 % → 59.0 %, a dip of 18.9 points (the 95 % intervals do not overlap); sampled accuracy 70.0 % → 71.0 %, no dip (+1.0 points); instruction-following 46.6 % → 71.7 % (+25.1 points).',
      ].join('\n'),
    ]);
    expect(measureSentences(judged, recipe, 'zh')[0]).toContain(
      '强化学习 `zero` 之后的微调 `cold-start`：贪心准确率 77.9 % → 59.0 %，下降 18.9 个百分点（95 % 区间不重叠）；采样准确率 70.0 % → 71.0 %，没有下降（+1.0 个百分点）；指令遵循 46.6 % → 71.7 %（+25.1 个百分点）。',
    );
  });

  it('a dip within the intervals is said to be so; no dip is said too', () => {
    const found = (cold: EvalResult) =>
      measureSentences(judgedBy({ 'zero-eval': result(0.8, 0.7, 0.4), 'cold-start-eval': cold }), recipe, 'en')[0];
    expect(found(result(0.75, 0.7, 0.4))).toContain(
      'a dip of 5.0 points (the 95 % intervals overlap); sampled accuracy 70.0 % → 70.0 %, no dip (±0.0 points)',
    );
    expect(found(result(0.9, 0.7, 0.4))).toContain('greedy accuracy 80.0 % → 90.0 %, no dip (+10.0 points)');
  });

  it('a fine-tuning that no reinforced model had a part in is not compared with one', () => {
    const other = {
      ...recipe,
      stages: STAGES.map((one) => (one.name === 'cold-start' ? { ...one, references: ['base'] } : one)),
    };
    expect(measureSentences(judged, other, 'en')[0]).not.toContain('Fine-tuning');
  });

  it('one evaluation alone has no course', () => {
    expect(measureSentences(judged.slice(0, 1), recipe, 'en')).toEqual([]);
    expect(measureChart(judged.slice(0, 1), 'en')).toBeUndefined();
  });
});

test('the chart: measures over the stages by name, with the interval of accuracy; lengths beside', async () => {
  const chart = measureChart(judged, 'en');
  const option = chart?.chart.option as { xAxis: { data: string[] }[]; series: { name: string; data: unknown[] }[] };
  expect(chart?.file).toBe('stages');
  expect(option.xAxis.map(({ data }) => data)).toEqual(Array(3).fill(['base', 'zero', 'cold-start', 'reasoning']));
  const series = (name: string) => option.series.find((one) => one.name === name)?.data;
  expect(series('accuracy')).toEqual([
    [0, 0.1],
    [1, 0.779],
    [2, 0.59],
    [3, 0.798],
  ]);
  expect(series('instruction-following')).toEqual([
    [0, 0.2],
    [1, 0.466],
    [2, 0.717],
    [3, 0.8],
  ]);
  expect(series('accuracy (0) low')?.[2]).toEqual([2, 0.59 - 0.05]);
  expect(series('length, greedy')).toEqual([0, 1, 2, 3].map((i) => [i, 50]));
  if (chart === undefined) throw new Error('no chart');
  expect(await renderSvg(chart.chart)).toContain('cold-start');
});
