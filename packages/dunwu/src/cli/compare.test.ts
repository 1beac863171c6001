import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { cli } from './testing/capture.js';

let dir = '';
const runs: string[] = [];
beforeAll(() => {
  dir = mkdtempSync(path.join(os.tmpdir(), 'dunwu-compare-cli-'));
  for (const [i, accuracy] of [0.25, 0.75].entries()) {
    const run = path.join(dir, `seed-${i + 1}`);
    runs.push(run);
    mkdirSync(path.join(run, 'stages'), { recursive: true });
    // A recipe of the product's own kinds, as `dunwu run` would have resolved it; an evaluation of an outside stage's model.
    writeFileSync(
      path.join(run, 'recipe.yaml'),
      `name: mini\nseed: ${i + 1}\nstages:\n  - { name: zero, kind: grpo }\n  - { name: look, kind: eval, model: zero }\n`,
    );
    const cost = { seconds: 60 * (i + 1), tokens: 10, flops: 1e9 };
    const shares = { accuracy, format: 1, language_consistency: 1, mean_length: 20 };
    writeFileSync(path.join(run, 'stages/zero.json'), JSON.stringify({ name: 'zero', kind: 'grpo', ...cost }));
    writeFileSync(
      path.join(run, 'stages/look.json'),
      JSON.stringify({ name: 'look', kind: 'eval', ...cost, eval: shares }),
    );
    const rows = [1, 2].map((step) => ({ stage: 'zero', step, 'validation/accuracy': accuracy * step, samples: step }));
    writeFileSync(path.join(run, 'metrics.jsonl'), rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
  }
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

test('--json, the table, and the files that were asked for', async () => {
  const json = await cli('compare', ...runs, '--threshold', '0.7', '--json');
  expect(json.code).toBe(0);
  expect(JSON.parse(json.out)).toMatchObject({
    recipes: [
      {
        label: 'mini',
        runs: [
          { dir: runs[0], seed: 1 },
          { dir: runs[1], seed: 2 },
        ],
      },
    ],
    evaluations: [{ stage: 'look', runs: 2, accuracy: { mean: 0.5 } }],
    reach: { threshold: 0.7, stages: [{ reached: 1, censored: true, steps: { mean: 1.5, ci95: null } }] },
  });
  const [markdown, svg] = [path.join(dir, 'c.md'), path.join(dir, 'c.svg')];
  const text = await cli(
    'compare',
    ...runs,
    '--threshold',
    '0.7',
    '--markdown',
    markdown,
    '--svg',
    svg,
    '--language',
    'zh',
  );
  // 0.25 and 0.75: t(1) · 0.3535534/√2 = 12.7062 · 0.25.
  expect(text.out).toContain('50.0 ± 317.7');
  expect(text.out).toContain('> 2、1');
  expect(readFileSync(markdown, 'utf8')).toContain('](c.svg)');
  expect(readFileSync(svg, 'utf8')).toContain('>validation/accuracy</text>');
});

test('wrong commands: exit 2, and what to do', async () => {
  for (const [args, message] of [
    [[dir], `${dir}: is no run folder`],
    [[...runs, '--reach', 'zero'], '--reach zero: would be ignored; give --threshold too'],
    [[...runs, '--threshold', 'high'], '--threshold high: a number is needed'],
    [
      [...runs, '--threshold', '1', '--metric', 'x'],
      'no grpo or ppo stage logged `x`; there are samples, validation/accuracy',
    ],
    [[...runs, '--svg', path.join(dir, 'no/c.svg')], 'there is no folder'],
    [[...runs, '--svg', path.join(dir, 'x.svg'), '--metric', 'x'], 'no stage of these runs logged `x` more than once'],
    [[runs[0] as string, runs[0] as string], 'is given twice'],
  ] as const) {
    const { code, err } = await cli('compare', ...args);
    expect(err).toContain(message);
    expect(code).toBe(2);
  }
});
