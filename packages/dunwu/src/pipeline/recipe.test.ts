import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { z } from 'zod';
import { UsageError } from '../util/errors.js';
import { type LoadOptions, parseRecipe, plainRecipe, type Recipe, recipeDifferences, recipeYaml } from './recipe.js';
import { defineKind } from './stage.js';

const trainSchema = z.strictObject({
  steps: z.int().min(1),
  lr: z.number().positive().default(0.001),
  model: z.string().optional(),
  optimizer: z
    .discriminatedUnion('type', [
      z.strictObject({ type: z.literal('adamw'), beta1: z.number().default(0.9) }),
      z.strictObject({ type: z.literal('muon'), momentum: z.number().default(0.95) }),
    ])
    .optional(),
  batch: z.union([z.literal('auto'), z.int().positive()]).default('auto'),
});
type Train = z.output<typeof trainSchema>;

const train = defineKind<Train>({
  kind: 'train',
  summary: 'for tests',
  spec: async () => ({
    schema: trainSchema,
    references: (config) => (config.model === undefined ? [] : [config.model]),
  }),
  work: async () => ({ run: async () => ({ tokens: 0, flops: 0 }) }),
});

const options: LoadOptions = { kinds: [train], task: z.strictObject({ type: z.enum(['word-problem', 'equation']) }) };

const GOOD = `name: mini
task: { type: equation }
stages:
  - name: base
    kind: train
    steps: 10
  - name: zero
    kind: train
    model: base
    steps: 20
`;

async function fault(text: string, more: Partial<LoadOptions> = {}): Promise<string> {
  try {
    await parseRecipe(text, 'r.yaml', { ...options, ...more });
  } catch (error) {
    expect(error).toBeInstanceOf(UsageError);
    return (error as Error).message;
  }
  throw new Error('the recipe was accepted');
}

const load = (text: string, more: Partial<LoadOptions> = {}): Promise<Recipe> =>
  parseRecipe(text, 'r.yaml', { ...options, ...more });

test('fills in every default, and the saved form gives the same recipe again', async () => {
  const recipe = await load(GOOD);
  expect(plainRecipe(recipe)).toEqual({
    name: 'mini',
    seed: 1,
    compute: { device: 'auto', dtype: 'auto', threads: 'auto', float32_matmul_precision: 'auto' },
    task: { type: 'equation' },
    stages: [
      { name: 'base', kind: 'train', steps: 10, lr: 0.001, batch: 'auto' },
      { name: 'zero', kind: 'train', model: 'base', steps: 20, lr: 0.001, batch: 'auto' },
    ],
  });
  expect(await load(recipeYaml(recipe))).toEqual(recipe);
});

test('an unknown key: place, suggestion, what is allowed', async () => {
  expect(await fault(GOOD.replace('steps: 20', 'stpes: 20'))).toBe(
    'r.yaml:7:5: stages.zero.steps: is missing: a number is needed\n' +
      'r.yaml:10:5: stages.zero.stpes: unknown key. Did you mean `steps`? Allowed: name, kind, steps, lr, model, optimizer, batch',
  );
  expect(await fault(`sede: 3\n${GOOD}`)).toBe(
    'r.yaml:1:1: sede: unknown key. Did you mean `seed`? Allowed: name, description, seed, compute, task, stages',
  );
  expect(await fault(`${GOOD}compute:\n  colour: red\n`)).toBe(
    'r.yaml:12:3: compute.colour: unknown key. Allowed: device, dtype, threads, float32_matmul_precision',
  );
  const nested = GOOD.replace('steps: 20', 'steps: 20\n    optimizer: { type: muon, beta1: 0.8 }');
  expect(await fault(nested)).toBe('r.yaml:11:30: stages.zero.optimizer.beta1: unknown key. Allowed: type, momentum');
});

test('a wrong value: place, what was found, what is allowed', async () => {
  expect(await fault(GOOD.replace('steps: 10', 'steps: ten'))).toBe(
    'r.yaml:6:12: stages.base.steps: expected a number, got "ten"',
  );
  expect(await fault(GOOD.replace('steps: 10', 'steps: 0'))).toBe('r.yaml:6:12: stages.base.steps: must be ≥ 1, got 0');
  expect(await fault(GOOD.replace('kind: train', 'kind: trian'))).toBe(
    'r.yaml:5:11: stages.base.kind: "trian" is not allowed. Did you mean `train`? Allowed: train',
  );
  expect(await fault(GOOD.replace('equation', 'equations'))).toBe(
    'r.yaml:2:15: task.type: "equations" is not allowed. Did you mean `equation`? Allowed: word-problem, equation',
  );
  expect(await fault(`${GOOD}compute: { device: gpu }\n`)).toBe(
    'r.yaml:11:20: compute.device: expected auto, cpu, cuda or cuda:N',
  );
  expect(await fault(`${GOOD}compute: { threads: many, dtype: float16 }\n`)).toBe(
    'r.yaml:11:21: compute.threads: "many" is not allowed. Allowed: `auto` or a number\n' +
      'r.yaml:11:34: compute.dtype: "float16" is not allowed. Did you mean `bfloat16`? Allowed: auto, float32, bfloat16',
  );
  const tagged = GOOD.replace('steps: 20', 'steps: 20\n    optimizer: { type: adam }');
  expect(await fault(tagged)).toBe(
    'r.yaml:11:24: stages.zero.optimizer.type: "adam" is not allowed. Did you mean `adamw`? Allowed: adamw, muon',
  );
  expect(await fault(GOOD.replace('name: base', 'name: ../up'))).toContain(
    'r.yaml:4:11: stages.../up.name: a name is letters',
  );
  expect(await fault(GOOD.replace('task: { type: equation }\n', ''))).toContain(
    'task: is missing: a block of keys is needed',
  );
});

test('broken YAML, duplicate keys, no block of keys', async () => {
  expect(await fault('name: [1')).toMatch(/^r\.yaml:1:\d+: /);
  expect(await fault('name: a\nname: b\n')).toBe('r.yaml:2:1: Map keys must be unique');
  expect(await fault('- a\n')).toBe('r.yaml:1:1: a recipe is a block of keys (name, stages, …), got a list of 1');
  expect(await fault('')).toContain('r.yaml:1:1: a recipe is a block of keys');
});

test('stage names are unique, references point to earlier stages', async () => {
  expect(await fault(GOOD.replace('name: zero', 'name: Base'))).toBe(
    'r.yaml:7:11: stages.Base.name: the name `base` is taken by an earlier stage: stage names must be unique',
  );
  expect(await fault(GOOD.replace('model: base', 'model: bsae'))).toBe(
    'r.yaml:9:12: stages.zero.model: there is no stage `bsae`. Did you mean `base`? Allowed: base',
  );
  expect(await fault(GOOD.replace('steps: 10', 'steps: 10\n    model: zero'))).toBe(
    'r.yaml:7:12: stages.base.model: stage `zero` does not come before this one. This is the first stage',
  );
});

test('--set and --seed change values, and faults in them are told as theirs', async () => {
  const recipe = await load(GOOD, {
    set: ['stages.base.steps=99', 'compute.threads=2', 'stages.zero.optimizer.type=muon', 'task.type=word-problem'],
    seed: 7,
  });
  expect(recipe.seed).toBe(7);
  expect(recipe.compute.threads).toBe(2);
  expect(recipe.task).toEqual({ type: 'word-problem' });
  expect(recipe.stages.map((stage) => stage.config)).toEqual([
    { steps: 99, lr: 0.001, batch: 'auto' },
    { model: 'base', steps: 20, lr: 0.001, batch: 'auto', optimizer: { type: 'muon', momentum: 0.95 } },
  ]);

  expect(await fault(GOOD, { set: ['stages.base.setps=9'] })).toBe(
    '--set stages.base.setps=9: stages.base.setps: unknown key. Did you mean `steps`? Allowed: name, kind, steps, lr, model, optimizer, batch',
  );
  expect(await fault(GOOD, { set: ['stages.bose.steps=9'] })).toBe(
    '--set stages.bose.steps=9: there is no stage `bose`. Did you mean `base`? Stages: base, zero',
  );
  expect(await fault(GOOD, { set: ['stages.base.steps=x'] })).toBe(
    '--set stages.base.steps=x: stages.base.steps: expected a number, got "x"',
  );
  expect(await fault(GOOD, { set: ['comptue.threads=2'] })).toContain('comptue: unknown key. Did you mean `compute`?');
  expect(await fault(GOOD, { set: ['name.x=1'] })).toBe('--set name.x=1: `name` is "mini" and has no keys');
  expect(await fault(GOOD, { set: ['steps'] })).toContain('expected KEY=VALUE');
  expect(await fault(GOOD, { set: ['__proto__.x=1'] })).toContain('malformed');
  expect(await fault(GOOD, { seed: -1 })).toBe('--seed -1: seed: must be ≥ 0, got -1');
});

test('differences between two recipes name the keys', async () => {
  const before = recipeYaml(await load(GOOD));
  expect(recipeDifferences(before, recipeYaml(await load(`description: new words\n${GOOD}`)))).toEqual([]);
  const after = recipeYaml(await load(GOOD, { set: ['stages.zero.lr=0.01', 'stages.zero.batch=4'], seed: 2 }));
  expect(recipeDifferences(before, after)).toEqual([
    'seed: 1 → 2',
    'stages.zero.lr: 0.001 → 0.01',
    'stages.zero.batch: "auto" → 4',
  ]);
  const fewer = recipeYaml(await load(GOOD.slice(0, GOOD.indexOf('  - name: zero'))));
  expect(recipeDifferences(before, fewer)[0]).toBe('stages (order): base, zero → base');
  expect(parse(before).seed).toBe(1);
});
