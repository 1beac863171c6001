import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type EvaluatedSample, judge } from '../eval/evaluate.js';
import type { Problem } from '../task/problem.js';
import { EvaluationFolder, modelDigest, problemsDigest } from './evaluation-folder.js';

let dir = '';
beforeAll(() => {
  dir = mkdtempSync(path.join(os.tmpdir(), 'dunwu-evaluation-folder-'));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const problems: Problem[] = [1, 2, 3].map((n) => ({
  id: `p${n}`,
  prompt: `${n}+1?`,
  answer: String(n + 1),
  source: 's',
  language: 'en',
  meta: {},
}));

/** What a batch of one problem and one sample gives. */
const batch = (n: number): EvaluatedSample[] =>
  (['greedy', 'sampled'] as const).map((mode) => ({
    ...judge(problems[n] as Problem, `<think>\u2028"${n}"</think><answer>${n + 2}</answer>`, mode),
    sample: 0,
    length: 3,
    reason: 'stop',
  }));

test('responses come back as they were, judged; a batch that was cut short goes', async () => {
  const out = path.join(dir, 'out');
  const first = await EvaluationFolder.open(out, { seed: 1 }, false);
  expect(first.finished(problems, 1, 1)).toEqual([]);
  first.append(batch(0));
  first.append(batch(1).slice(0, 1)); // killed here
  await expect(EvaluationFolder.open(out, { seed: 1 }, true)).rejects.toThrow(`process ${process.pid}`); // in use
  first.close();
  const again = await EvaluationFolder.open(out, { seed: 1 }, true);
  expect(again.finished(problems, 1, 1)).toEqual(batch(0));
  expect(readFileSync(path.join(out, 'samples.jsonl'), 'utf8').trimEnd().split('\n')).toHaveLength(2);
  again.append(batch(1));
  again.append(batch(2));
  again.close();
  const done = await EvaluationFolder.open(out, { seed: 1 }, true);
  expect(done.finished(problems, 1, 1)).toEqual([...batch(0), ...batch(1), ...batch(2)]);
  expect(() => done.finished(problems, 1, 2)).toThrow(`samples.jsonl:2: is not response 2 of this evaluation`);
  done.close();
});

test("another folder's things, and other settings, are left alone", async () => {
  const other = path.join(dir, 'other');
  mkdirSync(other);
  writeFileSync(path.join(other, 'thesis.tex'), 'x');
  await expect(EvaluationFolder.open(other, {}, true)).rejects.toThrow('is not empty and holds no evaluation');
  const out = path.join(dir, 'settings');
  (await EvaluationFolder.open(out, { seed: 1, template: null }, false)).close();
  await expect(EvaluationFolder.open(out, { seed: 2, template: null }, true)).rejects.toThrow('seed: 1 there, 2 now');
  await expect(EvaluationFolder.open(out, { seed: 1, template: null }, false)).rejects.toThrow('go on with --resume');
});

test('digests change with the weights, the tokenizer and the questions, not with other files', async () => {
  const model = path.join(dir, 'model');
  mkdirSync(model);
  const write = (name: string, text: string): void => writeFileSync(path.join(model, name), text);
  for (const name of ['config.json', 'tokenizer.json', 'model.safetensors']) write(name, 'one');
  const seen = [await modelDigest(model)];
  write('README.md', 'hello');
  expect(await modelDigest(model)).toBe(seen[0]);
  for (const name of ['config.json', 'tokenizer.json', 'model.safetensors']) {
    write(name, 'two');
    seen.push(await modelDigest(model));
  }
  expect(new Set(seen).size).toBe(4);
  const prompts = [[1, 2], [3], [4]];
  const digest = problemsDigest(problems, prompts);
  expect(problemsDigest(problems, [[1, 2], [3], [4]])).toBe(digest);
  expect(problemsDigest(problems, [[1], [2, 3], [4]])).not.toBe(digest);
  const [first, ...rest] = problems as [Problem, ...Problem[]];
  expect(problemsDigest([{ ...first, answer: '9' }, ...rest], prompts)).not.toBe(digest);
});
