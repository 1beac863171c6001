import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { findModel } from './model-folder.js';
import { chooseTask } from './task-argument.js';
import { cli } from './testing/capture.js';
import { makeTinyFolder } from './testing/tiny-folder.js';

let dir = '';
let run = '';
let model = '';
beforeAll(async () => {
  dir = mkdtempSync(path.join(os.tmpdir(), 'dunwu-eval-'));
  run = path.join(dir, 'run');
  model = path.join(run, 'models/base');
  await makeTinyFolder(model);
  mkdirSync(path.join(run, 'stages'));
  mkdirSync(path.join(run, 'models/zero')); // begun, not finished
  writeFileSync(path.join(run, 'stages/base.json'), JSON.stringify({ name: 'base', model: 'models/base' }));
  writeFileSync(
    path.join(run, 'recipe.yaml'),
    'name: r\ntask: { type: equation, steps: [3, 4] }\nstages:\n' +
      '  - { name: base, kind: pretrain }\n  - { name: look, kind: eval, max_tokens: 9 }\n  - { name: zero, kind: grpo }\n',
  );
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

test('--json: the published keys, the same bytes in every run', async () => {
  const args = [
    'eval',
    model,
    '--task',
    '{type: equation}',
    '--n',
    '5',
    '--samples',
    '2',
    '--max-tokens',
    '8',
    '--json',
  ];
  const first = await cli(...args);
  expect(first.code).toBe(0);
  expect(first.err).toContain(`${model} on `);
  expect(first.err).toContain('evaluate 15/15');
  const result = JSON.parse(first.out) as Record<string, unknown>;
  expect(Object.keys(result)).toEqual([
    'model',
    'task',
    'n',
    'accuracy',
    'ci95',
    'format',
    'language_consistency',
    'mean_length',
    'language_consistency_ci95',
    'readability',
    'readability_ci95',
    'sampled',
  ]);
  expect(result).toMatchObject({ model, task: 'equation', n: 5, accuracy: 0, format: 0 });
  expect(result.sampled).toMatchObject({ accuracy: 0, format: 0, pass_at_k: 0 });
  expect((await cli(...args)).out).toBe(first.out);
  const greedy = await cli('eval', model, '--n', '2', '--json');
  expect(JSON.parse(greedy.out)).not.toHaveProperty('sampled');
});

test('a run folder: its last finished model, its task, its length; the table; every response in a file', async () => {
  const out = path.join(dir, 'responses.jsonl');
  const { code, out: text, err } = await cli('eval', run, '--n', '3', '--samples', '2', '--out', out);
  expect(code).toBe(0);
  expect(err).toContain(`(${path.join(run, 'recipe.yaml')})`);
  expect(text).toContain(`${model}\nequation, 3 problems (test split)\n`);
  expect(text).toMatch(/\naccuracy +0\.0 % +0\.0 %\n/);
  expect(text).toMatch(/\npass@2 +0\.0 %\n$/);
  const rows = readFileSync(out, 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(rows.map((row) => row.mode)).toEqual(['greedy', 'greedy', 'greedy', ...Array(6).fill('sampled')]);
  expect(rows[0]).toMatchObject({ correct: false, question: expect.any(String), trace: { total: 0 } });
});

test('a JSONL data set is used whole', async () => {
  const file = path.join(dir, 'set.jsonl');
  writeFileSync(
    file,
    [1, 2, 3].map((n) => JSON.stringify({ question: `${n}+1=?`, answer: `#### ${n + 1}` })).join('\n'),
  );
  const { code, out } = await cli('eval', model, '--task', file, '--max-tokens', '4', '--json');
  expect(code).toBe(0);
  expect(JSON.parse(out)).toMatchObject({ task: 'set', n: 3 });
  expect((await cli('eval', model, '--task', file, '--split', 'validation')).err).toContain(
    'a JSONL file is used whole',
  );
  expect((await cli('eval', model, '--task', file, '--n', '9')).err).toContain('--n 9: ');
});

test('what --task can be', async () => {
  const yaml = path.join(dir, 'task.yaml');
  writeFileSync(yaml, 'type: equation\nlanguages: { zh: 1 }\n');
  const { task, from } = await chooseTask(yaml, null);
  expect(task.fixed('test', 3).map(({ language }) => language)).toEqual(['zh', 'zh', 'zh']);
  expect(from).toBe(yaml);
  // A recipe's task block; the name of the run's own task takes the run's parameters; another name its defaults.
  const { run: found } = await findModel(model);
  const ofRecipe = await chooseTask(path.join(run, 'recipe.yaml'), null);
  const own = await chooseTask(undefined, found);
  expect(own.from).toBe(path.join(run, 'recipe.yaml'));
  expect(ofRecipe.task.fixed('test', 4)).toEqual(own.task.fixed('test', 4));
  expect((await chooseTask('equation', found)).task.fixed('test', 4)).toEqual(own.task.fixed('test', 4));
  expect((await chooseTask('equation', null)).from).toBe('--task equation');
  expect((await chooseTask('word-problem', found)).from).toBe('--task word-problem');
  await expect(chooseTask(undefined, null)).rejects.toThrow('--task is needed');
  await expect(chooseTask('equatoin', null)).rejects.toThrow('--task equatoin: no task of that name');
  await expect(chooseTask('{type: equation, stepz: 3}', null)).rejects.toThrow('stepz');
  await expect(chooseTask('none.jsonl', null)).rejects.toThrow('--task none.jsonl: there is no such file');
  await expect(chooseTask('{type: [', null)).rejects.toThrow('not valid YAML');
  const empty = path.join(dir, 'empty.json');
  writeFileSync(empty, '');
  await expect(chooseTask(empty, null)).rejects.toThrow(`--task ${empty}: the file is empty`);
});

test('stops where generation_config.json says, as generate, chat and serve do', async () => {
  const stopping = path.join(dir, 'stopping');
  cpSync(model, stopping, { recursive: true });
  const every = Array.from({ length: 300 }, (_, id) => id);
  writeFileSync(path.join(stopping, 'generation_config.json'), JSON.stringify({ eos_token_id: every }));
  const args = ['--task', 'equation', '--n', '3', '--max-tokens', '5', '--json'];
  expect(JSON.parse((await cli('eval', stopping, ...args)).out)).toMatchObject({ mean_length: 1 });
  const out = path.join(dir, 'stops');
  expect((await cli('eval', model, ...args, '--out', out)).code).toBe(0);
  expect(JSON.parse(readFileSync(path.join(out, 'settings.json'), 'utf8'))).toMatchObject({ stop: '1' });
  expect((await cli('eval', stopping, ...args, '--out', out, '--resume')).err).toContain(
    '\n  stop: "1" there, "0,1,2,',
  );
  expect((await cli('eval', model, ...args, '--out', out, '--resume', '--dtype', 'bfloat16')).err).toContain(
    '\n  dtype: "float32" there, "bfloat16" now',
  );
});

test('wrong commands: exit 2, and what to do', async () => {
  const bare = path.join(dir, 'bare');
  cpSync(model, bare, { recursive: true });
  rmSync(path.join(bare, 'tokenizer.json'));
  const noTokenizer = await cli('eval', bare, '--task', 'equation');
  expect(noTokenizer.code).toBe(2);
  expect(noTokenizer.err).toBe(
    `error: ${path.join(bare, 'tokenizer.json')}: there is no such file; a model answers problems through its tokenizer. ` +
      "Copy the model's tokenizer.json into its folder\n",
  );
  for (const [args, message] of [
    [[path.join(dir, 'nowhere')], 'nowhere: there is no such folder'],
    [[dir], 'holds neither a model (config.json) nor a run (recipe.yaml)'],
    [[path.join(run, 'recipe.yaml')], 'is a file'],
    [[model, '--n', '0'], '--n 0: a whole number ≥ 1 is needed'],
    [[model, '--split', 'train'], '--split train: allowed are validation and test'],
    [[model, '--n', '2', '--max-tokens', '1000'], '--max-tokens 1000: at most '],
    [[model, '--n', '2', '--out', path.join(dir, 'no/where.jsonl')], 'there is no folder'],
    [[model, '--temperature', '0.6'], '--temperature 0.6: would be ignored: it is for samples; give --samples too'],
    [[model, '--top-p', '0.9'], '--top-p 0.9: would be ignored'],
    [[model, '--samples', '2', '--temperature', '0'], '--temperature 0: a number > 0 is needed'],
    [[model, '--template', 'Think.'], '--template Think.: must hold {question}'],
    [[model, '--instruction', 'r2'], "argument 'r2' is invalid. Allowed choices are none, r1-zero-en, r1-zero-zh"],
    [[model, '--resume'], '--resume: needs --out DIR'],
    [[model, '--resume', '--out', 'x.jsonl'], '--resume: needs --out DIR'],
    [[model, '--n', '2', '--out', run], 'is not empty and holds no evaluation'],
    [[model, '--n', '2', '--out', path.join(run, 'recipe.yaml')], 'is a file'],
  ] as const) {
    const { code, err } = await cli('eval', ...args);
    expect(err).toContain(message);
    expect(code).toBe(2);
  }
  expect(existsSync(path.join(dir, 'no'))).toBe(false);
});

test('--out DIR: killed anywhere, it goes on to the very same bytes without answering a finished problem again', async () => {
  const args = ['eval', model, '--task', 'equation', '--n', '5', '--samples', '100', '--max-tokens', '3', '--json'];
  const whole = path.join(dir, 'whole');
  const unbroken = await cli(...args, '--out', whole);
  expect(unbroken.code).toBe(0);
  expect((await cli(...args)).out).toBe(unbroken.out); // the folder changes nothing
  const read = (folder: string, name: string): string => readFileSync(path.join(folder, name), 'utf8');
  expect(JSON.parse(read(whole, 'evaluation.json'))).toEqual(JSON.parse(unbroken.out));
  const bytes = read(whole, 'samples.jsonl');
  const lines = bytes.trimEnd().split('\n');
  expect(lines).toHaveLength(5 * 101);
  const rows = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(rows[0]).toMatchObject({ mode: 'greedy', sample: 0, reason: 'length', length: 3, correct: false });
  expect(rows[0]).toHaveProperty('trace.parts');

  // Two problems a batch, so 202 lines. Killed before the first line, within a line, within a batch, between batches.
  const upTo = (count: number): number => Buffer.byteLength(`${lines.slice(0, count).join('\n')}\n`);
  for (const [cut, problems] of [
    [0, 0],
    [40, 0],
    [upTo(201), 0],
    [upTo(202), 2],
    [upTo(300) + 7, 2],
    [upTo(404), 4],
    [Buffer.byteLength(bytes), 5],
  ] as const) {
    const killed = path.join(dir, 'killed');
    rmSync(killed, { recursive: true, force: true });
    cpSync(whole, killed, { recursive: true });
    rmSync(path.join(killed, 'evaluation.json'));
    writeFileSync(path.join(killed, 'samples.jsonl'), Buffer.from(bytes).subarray(0, cut));
    const resumed = await cli(...args, '--out', killed, '--resume');
    expect(resumed.err.includes(' problems were finished before')).toBe(problems > 0);
    if (problems > 0) expect(resumed.err).toContain(`${problems} of 5 problems were finished before`);
    expect(resumed.out).toBe(unbroken.out);
    expect(read(killed, 'samples.jsonl')).toBe(bytes);
    expect(read(killed, 'evaluation.json')).toBe(read(whole, 'evaluation.json'));
  }

  // Not answered again: an answer put into a finished batch stays, and is judged.
  const planted = path.join(dir, 'planted');
  cpSync(whole, planted, { recursive: true });
  const right = `<think>so</think><answer>${rows[0]?.answer}</answer>`;
  const first = JSON.stringify({ ...rows[0], response: right });
  writeFileSync(path.join(planted, 'samples.jsonl'), `${[first, ...lines.slice(1, 250)].join('\n')}\n`);
  expect(JSON.parse((await cli(...args, '--out', planted, '--resume')).out)).toMatchObject({ accuracy: 0.2 });
});

test('--out DIR: another evaluation is not gone on with, and a changed file is named', async () => {
  const out = path.join(dir, 'kept');
  const args = ['eval', model, '--task', 'equation', '--n', '2', '--max-tokens', '3', '--out', out];
  expect((await cli(...args, '--resume')).code).toBe(0); // nothing there yet: it begins
  const again = await cli(...args);
  expect(again.code).toBe(2);
  expect(again.err).toContain(`--out ${out}: holds an evaluation already: go on with --resume`);
  const other = await cli(...args, '--seed', '2', '--template', 'Q: {question}', '--resume');
  expect(other.code).toBe(2);
  expect(other.err).toContain(`--resume: ${out} holds another evaluation.\n  seed: 1 there, 2 now\n`);
  expect(other.err).toContain('\n  template: null there, "Q: {question}" now\n');
  expect(other.err).toContain('\n  problems_sha256: ');
  expect(other.err).not.toContain('model_sha256');
  const second = path.join(dir, 'second');
  await makeTinyFolder(second, 2);
  expect((await cli('eval', second, ...args.slice(2), '--resume')).err).toContain('model_sha256');
  const file = path.join(out, 'samples.jsonl');
  writeFileSync(file, readFileSync(file, 'utf8').split('\n').reverse().join('\n').trimStart());
  expect((await cli(...args, '--resume')).err).toContain(`${file}:1: is not response 1 of this evaluation`);
});

test('the table of samples: how they were drawn, intervals, the majority vote', async () => {
  const args = ['eval', model, '--n', '3', '--samples', '2', '--temperature', '0.6', '--top-p', '0.95'];
  const { out } = await cli(...args, '--max-tokens', '4', '--instruction', 'none');
  expect(out).toMatch(/\n +greedy +T = 0\.6, top_p 0\.95, 2 each\n/);
  expect(out).toMatch(/\n {2}95 % interval +0\.0 % – 56\.1 % +0\.0 % – 56\.1 %\n/); // Wilson, 0 of 3
  expect(out).toMatch(/\ncons@2 \(majority vote\) +0\.0 %\n/);
});

test('a run without a finished model; a tokenizer of another model; weights cut off', async () => {
  const young = path.join(dir, 'young');
  mkdirSync(path.join(young, 'stages'), { recursive: true });
  cpSync(path.join(run, 'recipe.yaml'), path.join(young, 'recipe.yaml'));
  expect((await cli('eval', young)).err).toContain('no stage of this run has finished a model yet');

  const other = path.join(dir, 'other');
  cpSync(model, other, { recursive: true });
  const config = path.join(other, 'config.json');
  const text = readFileSync(config, 'utf8');
  writeFileSync(path.join(other, 'model.safetensors'), 'x');
  const cut = await cli('eval', other, '--task', 'equation', '--n', '1');
  expect(cut.code).toBe(1);
  expect(cut.err).toContain(`${path.join(other, 'model.safetensors')}: `);
  expect(text).toContain('"model_type": "deepseek_v3"');
});
