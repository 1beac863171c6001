import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { makeTinyFolder } from '../../cli/testing/tiny-folder.js';
import { runStages } from '../testing/stage-run.js';
import { schema } from './eval.schema.js';

const root = mkdtempSync(path.join(os.tmpdir(), 'dunwu-eval-stage-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const lines = (file: string) =>
  readFileSync(path.join(root, 'run', file), 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);

test('general problems beside the task: measured, kept, and nothing of the task changes', async () => {
  const { status, stages } = await runStages(
    `name: measure
seed: 2
task: { type: equation }
stages:
  - { name: base, kind: tiny }
  - { name: plain, kind: eval, model: base, n: 6, samples: 2, max_tokens: 12 }
  - { name: wide, kind: eval, model: base, n: 6, samples: 2, max_tokens: 12,
      general: { n: 10, samples: 3, task: { type: general, harmful: 0.5 } } }
`,
    path.join(root, 'run'),
  );
  expect(status).toBe('done');
  const [, plain, wide] = stages.map(({ eval: result }) => result);
  if (plain === undefined || wide === undefined) throw new Error('not evaluated');
  const { general, ...rest } = wide;
  expect(Object.keys(rest)).toEqual(Object.keys(plain));
  // A random model: nothing is followed, nothing refused.
  expect(general).toMatchObject({ n: 10, instruction_following: 0, refusal: 0, over_refusal: 0 });
  expect(general?.sampled).toMatchObject({ k: 3, instruction_following: 0, refusal: 0 });
  expect(general?.harmful).toBeGreaterThan(0);
  expect(general?.mean_length).toBeLessThanOrEqual(12);
  const rows = lines('samples/wide.jsonl');
  expect(rows).toHaveLength(6 * 3 + 10 * 4);
  expect(rows.slice(18).every(({ source }) => source === 'general')).toBe(true);
  expect(rows.slice(18).filter(({ harmful }) => harmful === true)).toHaveLength(4 * (general?.harmful ?? 0));
  const metrics = lines('metrics.jsonl').find(({ stage }) => stage === 'wide');
  expect(metrics).toMatchObject({ 'general/refusal': 0, 'general/sampled/instruction_following': 0 });
  expect(metrics).toMatchObject({ readability: wide.readability, 'sampled/mean_length': wide.sampled?.mean_length });
  // The greedy part of the task does not hang on the stage's seed.
  expect([wide.accuracy, wide.readability, wide.mean_length]).toEqual([
    plain.accuracy,
    plain.readability,
    plain.mean_length,
  ]);
});

test("a checkpoint's responses end where its generation_config.json says", async () => {
  const folder = path.join(root, 'checkpoint');
  await makeTinyFolder(folder);
  const every = Array.from({ length: 300 }, (_, id) => id);
  writeFileSync(path.join(folder, 'generation_config.json'), JSON.stringify({ eos_token_id: every }));
  const { stages } = await runStages(
    `name: stops
seed: 2
task: { type: equation }
stages:
  - { name: base, kind: checkpoint, path: ${folder} }
  - { name: measured, kind: eval, model: base, n: 3, samples: 0, max_tokens: 5 }
`,
    path.join(root, 'stops'),
  );
  expect(stages[1]?.eval?.mean_length).toBe(1);
});

test('keys of general: defaults, and unknown ones refused', () => {
  expect(schema.parse({ model: 'm', general: {} }).general).toMatchObject({
    n: 96,
    samples: 4,
    task: { harmful: 0.2 },
  });
  const issues = schema.safeParse({ model: 'm', general: { split: 'test' } }).error?.issues;
  expect(issues?.map(({ path: at }) => at.join('.'))).toEqual(['general']);
});
