import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { createTask } from '../../task/registry.js';
import { normaliseLines } from '../curation/post-process.js';
import { runStages } from '../testing/stage-run.js';
import { drawProblems } from './draw-problems.js';
import { schema } from './sample.schema.js';

const root = mkdtempSync(path.join(os.tmpdir(), 'dunwu-sample-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const SAMPLE = 'name: drawn, kind: sample, model: base, problems: 30, samples: 4, chunk: 8';
const recipe = (stage = SAMPLE, keep = '{ min_points: { length: 1 }, per_problem: 2 }') => `name: draw
seed: 3
task: { type: word-problem, steps: [2, 2], languages: { en: 1, zh: 1 } }
stages:
  - { name: base, kind: tiny }
  - { ${stage}, sampling: { temperature: 1.5, max_tokens: 60 }, post_process: [normalise_lines],
      rewards: { rules: { length: { max: 120 }, format: 1 } }, keep: ${keep} }
`;
const read = (dir: string, file: string) => readFileSync(path.join(dir, file), 'utf8');
const rows = (dir: string, file: string) =>
  read(dir, file)
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
const timeless = (dir: string) =>
  rows(dir, 'metrics.jsonl').map((row) => Object.entries(row).filter(([name]) => !name.startsWith('time/')));

describe('a run', () => {
  const whole = path.join(root, 'whole');

  test('draws, judges, keeps: rows, verdicts and counts agree', async () => {
    const { status, stages } = await runStages(recipe(), whole);
    expect(status).toBe('done');
    const drawn = rows(whole, 'samples/drawn.jsonl');
    expect(drawn).toHaveLength(120);
    expect(new Set(drawn.map(({ id }) => id)).size).toBe(30);
    expect(drawn.map(({ step }) => step)).toEqual(Array.from({ length: 120 }, (_, i) => 1 + Math.floor(i / 32)));
    const kept = drawn.filter(({ verdict }) => verdict === 'kept');
    expect(kept.length).toBeGreaterThan(2);
    for (const row of drawn) {
      expect(row.verdict === 'truncated').toBe(row.reason === 'length');
      if (row.raw !== undefined) expect(normaliseLines(String(row.raw))).toBe(row.response);
    }
    expect(drawn.some(({ raw, response }) => raw !== undefined && raw !== response)).toBe(true);
    const data = rows(whole, 'datasets/drawn.jsonl');
    expect(data.map(({ prompt, response }) => [prompt, response])).toEqual(
      kept.map((row) => [row.prompt, row.response]),
    );
    expect(data[0]).toMatchObject({ source: 'word-problem', answer: kept[0]?.answer, language: kept[0]?.language });
    expect(data[0]).toMatchObject({ trace: { parts: [{ name: 'length', points: 1 }, { name: 'format' }] } });
    expect(new Set(data.map(({ id }) => id)).size).toBe(data.length);
    expect(stages[1]?.extra).toMatchObject({ drawn: 120, kept: kept.length });
    expect(rows(whole, 'metrics.jsonl').at(-1)).toMatchObject({ step: 4, drawn: 120, kept: kept.length });
    expect(read(whole, 'report.zh.md')).toContain('未保留的，按第一个成立的原因：\n  \n  | 原因 | 回答数 | 占比 |');
  });

  test('stopped after some chunks and resumed: the same bytes', async () => {
    const out = path.join(root, 'stopped');
    expect(await runStages(recipe(), out, { stopWhen: (done) => done >= 8 })).toMatchObject({ status: 'interrupted' });
    expect(rows(out, 'samples/drawn.jsonl')).toHaveLength(32);
    expect(await runStages(recipe(), out, { resume: true, stopWhen: (done) => done >= 16 })).toMatchObject({
      status: 'interrupted',
    });
    // A line that a killed process left behind its last checkpoint.
    writeFileSync(path.join(out, 'samples/drawn.jsonl'), `${read(out, 'samples/drawn.jsonl')}{"step":3,"id":"x"}\n`);
    expect(await runStages(recipe(), out, { resume: true })).toMatchObject({ status: 'done' });
    for (const file of ['samples/drawn.jsonl', 'datasets/drawn.jsonl']) expect(read(out, file)).toBe(read(whole, file));
    expect(timeless(out)).toEqual(timeless(whole));
  });

  test('responses changed between sessions are found', async () => {
    const out = path.join(root, 'changed');
    await runStages(recipe(), out, { stopWhen: (done) => done >= 8 });
    const lines = read(out, 'samples/drawn.jsonl').split('\n');
    lines.splice(5, 1);
    writeFileSync(path.join(out, 'samples/drawn.jsonl'), lines.join('\n'));
    await expect(runStages(recipe(), out, { resume: true })).rejects.toThrow(
      /drawn\.jsonl:6: is not response 6 of this stage: the file was changed\. Remove the folder/,
    );
  });

  test('too few kept: the error says why and what to do; max keeps the first', async () => {
    const few = path.join(root, 'few');
    await expect(runStages(recipe(SAMPLE, '{ require: [format], min_rows: 5 }'), few)).rejects.toThrow(
      /stage drawn failed: 0 of 120 responses were kept, min_rows is 5\. Most were turned away by `truncated`.*Draw more/s,
    );
    const cut = path.join(root, 'cut');
    await runStages(recipe(SAMPLE, '{ min_points: { length: 1 }, per_problem: 2, max: 2 }'), cut);
    expect(read(cut, 'datasets/drawn.jsonl')).toBe(
      `${read(whole, 'datasets/drawn.jsonl').split('\n').slice(0, 2).join('\n')}\n`,
    );
  });
});

test('problems: different ones of the train split, the same for a seed, more of them begin the same', () => {
  const task = createTask({ type: 'word-problem', steps: [2, 2] });
  const ids = drawProblems(task, 50, 7).map(({ id }) => id);
  expect(new Set(ids).size).toBe(50);
  expect(
    drawProblems(task, 80, 7)
      .slice(0, 50)
      .map(({ id }) => id),
  ).toEqual(ids);
  expect(drawProblems(task, 50, 8).map(({ id }) => id)).not.toEqual(ids);
  const held = new Set(task.fixed('test', 200).map(({ meta }) => meta.expression));
  for (const { meta } of drawProblems(task, 80, 7)) expect(held.has(meta.expression)).toBe(false);
});

test('problems of a data set: every one of them can be had, and no more', () => {
  const file = path.join(root, 'few.jsonl');
  writeFileSync(file, Array.from({ length: 60 }, (_, i) => `{"question":"${i}+1?","golden":"${i + 1}"}\n`).join(''));
  const task = createTask({ type: 'dataset', path: file });
  const size = task.size('train');
  const ids = drawProblems(task, size, 1).map(({ id }) => id);
  expect(ids.toSorted()).toEqual(
    task
      .fixed('train', size)
      .map(({ id }) => id)
      .toSorted(),
  );
  expect(ids).not.toEqual(task.fixed('train', size).map(({ id }) => id));
  expect(() => drawProblems(task, size + 1, 1)).toThrow(
    `problems: ${size + 1} asked for, the train split of few has ${size}`,
  );
});

describe('the configuration', () => {
  const base = {
    model: 'm',
    problems: 4,
    samples: 2,
    sampling: { max_tokens: 8 },
    rewards: { rules: { accuracy: 1 } },
    keep: { require: ['accuracy'] },
  };
  test.each([
    [{ keep: { require: ['format'] } }, 'keep.require.0: format is not among rewards.rules (accuracy)'],
    [{ keep: { min_points: { steps: 1 } } }, 'keep.min_points.steps: steps is not among rewards.rules (accuracy)'],
    [{ keep: {} }, 'keep: asks nothing of a response: give require, min_points or min_total'],
    [{ keep: { require: ['accuracy'], per_problem: 3 } }, 'keep.per_problem: cannot exceed samples (2)'],
    [{ keep: { require: ['accuracy'], max: 3, min_rows: 4 } }, 'keep.max: is below min_rows (4)'],
    [{ sampling: { max_tokens: 8, temperature: 0 } }, 'samples: must be 1 at temperature 0'],
    [{ post_process: ['summary', 'summary'] }, 'post_process.1: summary is there already'],
  ])('%o is refused', (over, message) => {
    const result = schema.safeParse({ ...base, ...over });
    expect(result.error?.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`).join('\n')).toContain(
      message,
    );
  });
  test('is accepted, with its defaults', () => {
    expect(schema.parse(base)).toMatchObject({
      chunk: 32,
      post_process: [],
      curate: 'auto',
      keep: { unique: true, per_problem: 1, choose: 'random', min_rows: 1 },
    });
  });
});
