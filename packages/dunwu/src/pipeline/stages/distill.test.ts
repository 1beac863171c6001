import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { readConfig } from '../../model/config.js';
import { runStages } from '../testing/stage-run.js';
import { schema } from './distill.schema.js';

const root = mkdtempSync(path.join(os.tmpdir(), 'dunwu-distill-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
writeFileSync(
  path.join(root, 'rows.jsonl'),
  Array.from(
    { length: 9 },
    (_, i) => `${JSON.stringify({ prompt: `${i}+1?`, response: `<answer>${i + 1}</answer>` })}\n`,
  ).join(''),
);

const SHAPE = `{ model_type: deepseek_v3, hidden_size: 8, intermediate_size: 12, moe_intermediate_size: 8,
        num_hidden_layers: 2, first_k_dense_replace: 1, num_attention_heads: 2, n_routed_experts: 4, num_experts_per_tok: 2,
        n_shared_experts: 1, q_lora_rank: null, kv_lora_rank: 4, qk_nope_head_dim: 4, qk_rope_head_dim: 4, v_head_dim: 4,
        max_position_embeddings: 160 }`;
const OPTIMIZER = 'optimizer: { kind: adamw, learning_rate: 0.01 }';
const ROWS = `data: [{ file: rows.jsonl }], packing: { batch: 1, time: 50 }, epochs: 2, ${OPTIMIZER}`;
const recipe = (stage: string, more = '') => `name: kd
seed: 3
task: { type: word-problem, steps: [2, 2] }
stages:
  - { name: big, kind: tiny }
${more}  - { name: small, kind: distill, ${stage} }
`;
const STORED = `method: distribution, teacher: big, student: { new: ${SHAPE} }, ${ROWS}, stored: true, loss: { top_k: 8 }`;
const timeless = (dir: string) =>
  readFileSync(path.join(dir, 'metrics.jsonl'), 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => Object.entries(JSON.parse(line)).filter(([name]) => !name.startsWith('time/')));
const weights = (dir: string) => readFileSync(path.join(dir, 'models/small/model.safetensors'));

describe('a run', () => {
  const whole = path.join(root, 'whole');

  test('distribution, stored: a new student, smaller than its teacher, with the teacher’s tokenizer', async () => {
    const { status, stages, lines } = await runStages(recipe(STORED), whole);
    expect(status).toBe('done');
    expect(readConfig(path.join(whole, 'models/small')).hidden_size).toBe(8);
    expect(readFileSync(path.join(whole, 'models/small/tokenizer.json'), 'utf8')).toBe(
      readFileSync(path.join(whole, 'models/big/tokenizer.json'), 'utf8'),
    );
    expect(stages[1]?.extra).toMatchObject({ rows: 9 });
    const [sizes] = stages[1]?.notes ?? [];
    expect((sizes as { en: string }).en).toMatch(/^teacher \d+ parameters, student \d+ \((\d+\.\d) %\)$/);
    expect(lines.join('\n')).toContain('small: a model of 0.01 M parameters');
    expect(readdirSync(path.join(whole, 'datasets/small-teacher'))).toEqual(['teacher-00001.safetensors']);
  });

  test('stopped while the teacher writes, and while the student learns: the same numbers and weights', async () => {
    const out = path.join(root, 'stopped');
    expect(await runStages(recipe(STORED), out, { stopWhen: () => true })).toMatchObject({ status: 'interrupted' });
    expect(existsSync(path.join(out, 'datasets/small-teacher/teacher-00001.safetensors'))).toBe(true);
    expect(
      existsSync(path.join(out, 'metrics.jsonl')) && readFileSync(path.join(out, 'metrics.jsonl'), 'utf8'),
    ).toBeFalsy();
    expect(await runStages(recipe(STORED), out, { resume: true, stopWhen: (done) => done === 2 })).toMatchObject({
      status: 'interrupted',
    });
    expect(await runStages(recipe(STORED), out, { resume: true })).toMatchObject({ status: 'done' });
    expect(timeless(out)).toEqual(timeless(whole));
    expect(weights(out).equals(weights(whole))).toBe(true);
  });

  test('distribution with the live teacher; samples; on-policy', async () => {
    const other = '  - { name: other, kind: tiny, seed: 2 }\n';
    for (const [name, stage] of [
      ['live', `method: distribution, teacher: big, student: { model: other }, ${ROWS}`],
      ['samples', `method: samples, student: { model: other }, ${ROWS}`],
      ['samples-lora', `method: samples, student: { model: other }, lora: { rank: 2, alpha: 4 }, ${ROWS}`],
      ['samples-new', `method: samples, student: { new: ${SHAPE}, tokenizer: big }, ${ROWS}`],
      [
        'on-policy',
        `method: on-policy, teacher: big, student: { model: other }, steps: 2, questions_per_step: 2, sampling: { max_tokens: 8 }, ${OPTIMIZER}`,
      ],
    ] as const) {
      const out = path.join(root, name);
      const { status, stages } = await runStages(recipe(stage, other), out);
      expect([name, status]).toEqual([name, 'done']);
      expect(stages[2]?.tokens).toBeGreaterThan(0);
      const last = Object.fromEntries(timeless(out).at(-1) ?? []);
      expect('divergence' in last).toBe(!name.startsWith('samples'));
      expect(existsSync(path.join(out, 'models/small/adapter/adapter_model.safetensors'))).toBe(
        name === 'samples-lora',
      );
      if (name === 'samples-new') expect(readConfig(path.join(out, 'models/small')).hidden_size).toBe(8);
      expect(readFileSync(path.join(out, 'samples/small.jsonl'), 'utf8').length > 0).toBe(name === 'on-policy');
    }
  });

  test('another vocabulary is refused, with the first token that differs', async () => {
    const more = `  - { name: words, kind: tokenizer, corpus: { type: worked-solutions }, documents: 50, vocab_size: 300 }
  - { name: alien, kind: pretrain, tokenizer: words, corpus: { type: worked-solutions }, packing: { batch: 1, time: 16 },
      steps: 1, ${OPTIMIZER}, schedule: { kind: constant }, model: ${SHAPE} }
`;
    const stage = `method: distribution, teacher: big, student: { model: alien }, ${ROWS}`;
    await expect(runStages(recipe(stage, more), path.join(root, 'alien'))).rejects.toThrow(
      /student and teacher \(big\) do not share a vocabulary.*token 26\d is ".*" in the one and ".*" in the other/,
    );
  });
});

test('a new student of samples says whose tokenizer it has', () => {
  const faults = (student: object) =>
    schema
      .safeParse({
        method: 'samples',
        student,
        data: [{ stage: 'd' }],
        epochs: 1,
        packing: { batch: 1, time: 8 },
        optimizer: { kind: 'adamw', learning_rate: 0.1 },
      })
      .error?.issues.map(({ path: at, message }) => `${at.join('.')}: ${message}`);
  expect(faults({})).toEqual(['student.model: is missing: give model, or new']);
  expect(faults({ model: 'a', tokenizer: 'b' })).toEqual(['student.tokenizer: belongs to new alone']);
  const { new: shape } = parse(`new: ${SHAPE}`) as { new: object };
  expect(faults({ new: shape })).toEqual(['student.tokenizer: is missing: new needs it']);
  expect(faults({ new: shape, tokenizer: 'big' })).toBeUndefined();
});

test('what a method cannot use is refused by name', () => {
  const rows = {
    student: { model: 's' },
    data: [{ stage: 'd' }],
    epochs: 1,
    packing: { batch: 1, time: 8 },
    optimizer: { kind: 'adamw', learning_rate: 0.1 },
  };
  const problems = (value: Record<string, unknown>) =>
    schema.safeParse({ ...rows, ...value }).error?.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`);
  expect(problems({ method: 'samples' })).toBeUndefined();
  const lora = { rank: 2, alpha: 4 };
  expect(problems({ method: 'samples', lora })).toBeUndefined();
  const { new: shape } = parse(`new: ${SHAPE}`) as { new: object };
  expect(problems({ method: 'samples', lora, student: { new: shape, tokenizer: 's' } })).toEqual([
    'lora: goes with student.model: adapters of few weights on a new model leave nearly all of it random',
  ]);
  expect(problems({ method: 'distribution', teacher: 't', lora })?.join()).toContain('lora');
  expect(problems({ method: 'samples', teacher: 't' })?.join()).toContain('teacher');
  expect(problems({ method: 'distribution', teacher: 't' })).toBeUndefined();
  expect(problems({ method: 'distribution', teacher: 't', stored: true })).toEqual([
    'stored: needs loss.top_k: whole vocabularies are not stored',
  ]);
  expect(problems({ method: 'distribution', teacher: 't', student: {} })).toEqual([
    'student.model: is missing: give model, or new',
  ]);
  expect(problems({ method: 'distribution', teacher: 't', steps: 3 })).toEqual([
    'steps: and epochs exclude each other: give one',
  ]);
  expect(problems({ method: 'on-policy', teacher: 't' })?.join()).toContain('data');
  expect(problems({ method: 'else' })?.join()).toContain('method');
});
