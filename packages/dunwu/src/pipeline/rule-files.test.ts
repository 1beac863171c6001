import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { RewardProgram, type RewardProgramConfig, rewardProgramConfig } from '../reward/program.js';
import { loadRecipe } from './recipe.js';
import { RunFolder } from './run-folder.js';
import { defineKind } from './stage.js';

const kinds = [
  defineKind({
    kind: 'rl',
    summary: 'for tests',
    spec: async () => ({ schema: z.strictObject({ rewards: rewardProgramConfig }) }),
    work: async () => ({ run: async () => ({ tokens: 0, flops: 0 }) }),
  }),
];

let folder = '';
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'dunwu-recipe-rules-'));
  await writeFile(path.join(folder, 'my-rules.mjs'), 'export const polite = (p, r) => /please/.test(r) ? 1 : 0;');
  await writeFile(path.join(folder, 'other.mjs'), 'export const polite = () => 1;');
  await writeFile(path.join(folder, 'wrong.mjs'), 'export const polite = "yes";');
});
afterAll(async () => rm(folder, { recursive: true }));

async function load(...rewards: string[]) {
  const stages = rewards.map((block, i) => `  - name: s${i}\n    kind: rl\n    rewards: ${block}\n`).join('');
  const file = path.join(folder, 'r.yaml');
  await writeFile(file, `name: r\ntask: {}\nstages:\n${stages}`);
  return loadRecipe(file, { kinds, task: z.strictObject({}) });
}

const fault = (...rewards: string[]): Promise<string> =>
  load(...rewards).then(
    () => 'the recipe was accepted',
    (error: Error) => error.message.replaceAll(folder, ''),
  );

test('a recipe uses rules from a file beside it', async () => {
  const recipe = await load('{ import: ./my-rules.mjs, rules: { format: 1, polite: { weight: 0.5 } } }');
  const [{ config }] = recipe.stages as [{ config: { rewards: RewardProgramConfig } }];
  const problem = { id: 'p', prompt: 'q', source: 's', language: 'en', meta: {} };
  expect(new RewardProgram(config.rewards).score(problem, 'please').total).toBe(0.5);
});

test('errors name place, file and export', async () => {
  expect(await fault('{ import: ./none.mjs, rules: { polite: 1 } }')).toBe(
    '/r.yaml:6:24: stages.s0.rewards.import: /none.mjs: cannot load rules: there is no such file',
  );
  expect(await fault('{ import: wrong.mjs, rules: { polite: 1 } }')).toContain(
    'stages.s0.rewards.import: /wrong.mjs: the export "polite": is "yes"; a rule is a function',
  );
  expect(await fault('{ import: ../my-rules.mjs, rules: { polite: 1 } }')).toContain('there is no such file');
  expect(await fault('{ import: [./my-rules.mjs], rules: { format: 1 } }')).toContain(
    "stages.s0.rewards.import.0: none of its rules (polite) is among this program's rules",
  );
  expect(await fault('{ import: ./my-rules.mjs, rules: { polite: { tone: 1 } } }')).toContain('tone');
  const good = '{ import: ./my-rules.mjs, rules: { polite: 1 } }';
  expect(await fault(good, good)).toBe('the recipe was accepted');
  expect(await fault(good, '{ import: ./other.mjs, rules: { polite: 1 } }')).toContain(
    'stages.s1.rewards.import: the rule `polite` is in ./my-rules.mjs too: rename one of them',
  );
});

test('a rule that is nowhere is named, with the nearest one', async () => {
  expect(await fault('{ rules: { acuracy: 1 } }')).toMatch(
    /rewards\.rules\.acuracy: there is no rule `acuracy`\. Did you mean `accuracy`\? Rules: format, accuracy, /,
  );
});

test('a run folder keeps a copy of the rules beside its recipe, which runs again from there; changed rules end a resume', async () => {
  const recipe = await load('{ import: ./my-rules.mjs, rules: { format: 1, polite: { weight: 0.5 } } }');
  const dir = path.join(folder, 'run');
  (await RunFolder.open(dir, recipe, false)).close();
  expect(await readFile(path.join(dir, 'my-rules.mjs'), 'utf8')).toContain('/please/');
  const again = await loadRecipe(path.join(dir, 'recipe.yaml'), { kinds, task: z.strictObject({}) });
  expect(again.ruleFiles).toEqual(['./my-rules.mjs']);
  // Killed before the copy was made: it is made up for.
  await rm(path.join(dir, 'my-rules.mjs'));
  (await RunFolder.open(dir, recipe, true)).close();
  await writeFile(path.join(dir, 'my-rules.mjs'), 'export const polite = () => 1;');
  await expect(RunFolder.open(dir, recipe, true)).rejects.toThrow(
    /cannot resume .*the recipe is not the one of this run\.\n {2}\.\/my-rules\.mjs: is not as it was when the run began/,
  );
});
