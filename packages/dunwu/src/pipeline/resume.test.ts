import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Random } from '../util/random.js';
import { compile } from './testing/compile.js';

// The product itself on a very small recipe, in processes that are really killed: from corpus to R1-Zero, whatever
// happens on the way, the numbers are those of the unbroken run.

const RECIPE = `name: tiny
seed: 3
compute: { threads: 1 }
task: { type: equation, steps: [1, 1], operand: [2, 9], languages: { en: 1 } }
stages:
  - name: tokens
    kind: tokenizer
    corpus: { type: worked-solutions }
    documents: 100
    vocab_size: 300
  - name: base
    kind: pretrain
    tokenizer: tokens
    corpus: { type: worked-solutions }
    packing: { batch: 4, time: 96, overflow: fit }
    steps: 12
    save_every: 4
    gradient_accumulation: 2
    optimizer: { kind: muon, learning_rate: 0.02, adamw_learning_rate: 0.01 }
    schedule: { kind: trapezoid, warmup_steps: 2 }
    model:
      model_type: deepseek_v3
      hidden_size: 48
      intermediate_size: 96
      moe_intermediate_size: 32
      num_hidden_layers: 2
      num_attention_heads: 2
      n_shared_experts: 1
      n_routed_experts: 4
      num_experts_per_tok: 2
      first_k_dense_replace: 1
      kv_lora_rank: 16
      qk_nope_head_dim: 16
      qk_rope_head_dim: 8
      v_head_dim: 16
      max_position_embeddings: 128
      initializer_range: 0.05
  - { name: before, kind: eval, model: base, split: validation, n: 4, samples: 2, max_tokens: 12 }
  - name: zero
    kind: grpo
    model: base
    steps: 8
    save_every: 3
    questions_per_step: 3
    group_size: 4
    mini_batches: 3
    reference_every: 4
    sampling: { max_tokens: 24 }
    rewards: { rules: { accuracy: 1, format: 0.5, length: { weight: 0.5, max: 40, buffer: 40 } } }
    loss: { ratio: token, kl: { estimator: k3, coefficient: 0.01 } }
    optimizer: { kind: adamw, learning_rate: 0.001 }
    validation: { every: 4, n: 4 }
  - { name: after, kind: eval, model: zero, n: 4, samples: 2, max_tokens: 12 }
`;

/** Milliseconds for a test that starts many processes: seconds on a quiet machine, minutes on a busy one. */
const PATIENCE = 600_000;

const children = new Set<ReturnType<typeof spawn>>();
let script = '';
let compiled = '';
let root = '';
let recipe = '';
let whole = '';

beforeAll(async () => {
  ({ script, folder: compiled } = compile('cli/main.ts'));
  root = mkdtempSync(path.join(os.tmpdir(), 'dunwu-resume-'));
  recipe = path.join(root, 'tiny.yaml');
  writeFileSync(recipe, RECIPE);
  whole = path.join(root, 'whole');
  const { code, text } = await finished(start(whole));
  expect(code, text).toBe(0);
}, PATIENCE);
afterAll(() => {
  for (const child of children) child.kill('SIGKILL'); // of a test that was given up
  rmSync(root, { recursive: true, force: true });
  rmSync(compiled, { recursive: true, force: true });
});

interface Running {
  readonly child: ReturnType<typeof spawn>;
  readonly ended: Promise<{ code: number | null; signal: string | null; text: string }>;
}

function start(out: string, ...args: string[]): Running {
  const child = spawn(process.execPath, [script, 'run', recipe, '--out', out, ...args], {
    env: { ...process.env, npm_lifecycle_event: '', npm_command: '' },
  });
  children.add(child);
  let text = '';
  child.stdout?.on('data', (data) => {
    text += String(data);
  });
  child.stderr?.on('data', (data) => {
    text += String(data);
  });
  const ended = once(child, 'close').then(([code, signal]) => {
    children.delete(child);
    return { code, signal, text };
  });
  return { child, ended };
}

const finished = (running: Running): Running['ended'] => running.ended;

/** Looks every 2 ms, and sends the signal as soon as the folder shows what is waited for; or lets the run end. */
async function strike(running: Running, sign: () => boolean, signal: 'SIGKILL' | 'SIGINT'): Running['ended'] {
  let over = false;
  void running.ended.then(() => {
    over = true;
  });
  while (!over && !sign()) await setTimeout(2);
  running.child.kill(signal);
  return await running.ended;
}

const lines = (file: string): Record<string, unknown>[] =>
  existsSync(file)
    ? readFileSync(file, 'utf8')
        .split('\n')
        .slice(0, -1)
        .map((line) => JSON.parse(line))
    : [];

/** The lines of metrics.jsonl without what depends on the clock. */
const timeless = (out: string): Record<string, unknown>[] =>
  lines(path.join(out, 'metrics.jsonl')).map((row) =>
    Object.fromEntries(Object.entries(row).filter(([name]) => !name.startsWith('time/'))),
  );

/** Metrics line by line, every sample, and the weights, byte by byte. */
function expectSame(out: string): void {
  const [ours, theirs] = [timeless(out), timeless(whole)];
  theirs.forEach((row, i) => {
    expect(ours[i], `line ${i + 1}`).toEqual(row);
  });
  expect(ours.length).toBe(theirs.length);
  for (const file of ['samples/before.jsonl', 'samples/zero.jsonl', 'samples/after.jsonl']) {
    expect(readFileSync(path.join(out, file), 'utf8'), file).toBe(readFileSync(path.join(whole, file), 'utf8'));
  }
  for (const stage of ['base', 'zero']) {
    const weights = (dir: string): Buffer => readFileSync(path.join(dir, 'models', stage, 'model.safetensors'));
    expect(weights(out).equals(weights(whole)), `weights of ${stage}`).toBe(true);
  }
  const totals = (dir: string): unknown =>
    (
      JSON.parse(readFileSync(path.join(dir, 'report.json'), 'utf8')) as { stages: Record<string, unknown>[] }
    ).stages.map(({ name, tokens, flops }) => ({ name, tokens, flops }));
  expect(totals(out)).toEqual(totals(whole));
}

const has = (out: string, stage: string, pattern: RegExp): boolean => {
  const dir = path.join(out, 'checkpoints', stage);
  return existsSync(dir) && readdirSync(dir).some((name) => pattern.test(name));
};
const reached = (out: string, stage: string, step: number): boolean =>
  lines(path.join(out, 'metrics.jsonl')).some((row) => row.stage === stage && Number(row.step) >= step);

test('the unbroken run: what it leaves', () => {
  const rows = timeless(whole);
  expect(rows.map(({ stage, step }) => `${stage} ${step}`)).toEqual([
    'tokens 1',
    ...Array.from({ length: 12 }, (_, i) => `base ${i + 1}`),
    'before 1',
    ...Array.from({ length: 8 }, (_, i) => `zero ${i + 1}`),
    'after 1',
  ]);
  expect(Object.keys(rows[1] ?? {})).toEqual(
    expect.arrayContaining(['loss', 'grad_norm', 'tokens', 'flops', 'expert_load/0', 'expert_imbalance']),
  );
  expect(Object.keys(rows[14] ?? {})).toEqual(
    expect.arrayContaining([
      'reward',
      'reward/accuracy',
      'reward/format',
      'accuracy',
      'length',
      'entropy',
      'kl',
      'ratio/mean',
      'ratio/max',
      'clip/low',
      'clip/high',
      'zero_spread',
      'truncated',
      'grad_norm',
      'logprob_difference/max',
    ]),
  );
  const all = lines(path.join(whole, 'metrics.jsonl'))[14] ?? {};
  for (const name of ['rollout_s', 'reward_s', 'update_s', 'tokens_per_s'])
    expect(all[`time/${name}`]).toBeGreaterThan(0);
  expect(rows[14]?.['logprob_difference/max']).toBeLessThan(1e-4);
  // The policy learns something to resume: its weights and rewards differ from step to step.
  const kl = rows.slice(14, 22).map((row) => row.kl as number);
  expect(kl.slice(1).every((value) => value > 1e-9)).toBe(true);
  expect(readdirSync(path.join(whole, 'checkpoints/zero'))).toEqual(['step-000006', 'step-000008']);
});

test('killed at chosen and at random moments, in pretraining and in RL: the same numbers', {
  timeout: PATIENCE,
}, async () => {
  const out = path.join(root, 'kills');
  const random = new Random(8);
  /** After a step's line has been written, and a little later. */
  const after = (stage: string, step: number): (() => boolean) => {
    let until = 0;
    return () => {
      if (until === 0 && reached(out, stage, step)) until = performance.now() + random.int(0, 15);
      return until > 0 && performance.now() >= until;
    };
  };
  const moments: [string, () => boolean][] = [
    ['before any checkpoint of pretraining', after('base', 2)],
    ['while its first checkpoint is written', () => has(out, 'base', /^\.tmp-step-000004/)],
    ['right after it', () => has(out, 'base', /^step-000004/)],
    ['somewhere behind it', after('base', 6)],
    ['right after the last one, the model not saved', () => has(out, 'base', /^step-000012/)],
    ['before any checkpoint of RL', after('zero', 1)],
    ['while its first checkpoint is written', () => has(out, 'zero', /^\.tmp-step-000003/)],
    ['right after it', () => has(out, 'zero', /^step-000003/)],
    ['somewhere behind it', after('zero', 5)],
    ['right after the last one', () => has(out, 'zero', /^step-000008/)],
  ];
  let kills = 0;
  for (const [moment, sign] of moments) {
    const { signal, code, text } = await strike(start(out, '--resume'), sign, 'SIGKILL');
    if (signal !== 'SIGKILL') expect(code, `${moment}: ${text}`).toBe(0);
    else kills++;
    const now = timeless(out);
    expect(now, moment).toEqual(timeless(whole).slice(0, now.length));
  }
  expect(kills).toBeGreaterThanOrEqual(8);
  const { code, text } = await finished(start(out, '--resume'));
  expect(code, text).toBe(0);
  expectSame(out);
});

test('a truncated and a changed checkpoint: said aloud, the one before is used, the same numbers', {
  timeout: PATIENCE,
}, async () => {
  const out = path.join(root, 'damaged');
  await strike(start(out), () => has(out, 'base', /^step-000008/), 'SIGKILL');
  const weights = path.join(out, 'checkpoints/base/step-000008/model.safetensors');
  const { size } = statSync(weights);
  truncateSync(weights, size - 1000);
  const resumed = await strike(start(out, '--resume'), () => has(out, 'zero', /^step-000006/), 'SIGKILL');
  expect(resumed.text).toContain(
    `step-000008 is damaged: model.safetensors has ${size - 1000} bytes instead of ${size}`,
  );
  expect(resumed.text).toContain('Going on from the last good checkpoint: ');
  expect(resumed.text).toContain('base (pretrain): going on after step 4');

  const copy = path.join(root, 'damaged-too');
  cpSync(out, copy, { recursive: true });
  const moments = path.join(out, 'checkpoints/zero/step-000006/optimizer.safetensors');
  const bytes = readFileSync(moments);
  bytes[bytes.length - 9] = (bytes[bytes.length - 9] as number) ^ 1;
  writeFileSync(moments, bytes);
  const again = await finished(start(out, '--resume'));
  expect(again.code, again.text).toBe(0);
  expect(again.text).toContain('step-000006 is damaged: optimizer.safetensors has changed (sha256 differs)');
  expect(again.text).toContain('zero (grpo): going on after step 3');
  expectSame(out);

  // All of a stage's checkpoints gone: the stage begins anew, and the numbers are still the same.
  for (const step of ['step-000003', 'step-000006']) rmSync(path.join(copy, 'checkpoints/zero', step, 'state.json'));
  const anew = await finished(start(copy, '--resume'));
  expect(anew.code, anew.text).toBe(0);
  expect(anew.text).toContain('No good checkpoint is left in ');
  expectSame(copy);
});

test.each([
  ['pretraining', 'base', 'pretrain', 5],
  ['RL', 'zero', 'grpo', 2],
])(
  'Ctrl-C in %s: saved, exit 130, and the printed command goes on',
  { timeout: PATIENCE },
  async (_, stage, kind, step) => {
    const out = path.join(root, `ctrl-c-${stage}`);
    const stopped = await strike(start(out), () => reached(out, stage, step), 'SIGINT');
    expect(stopped.code, stopped.text).toBe(130);
    expect(stopped.text).toContain('Stopping: saving after this step.');
    expect(stopped.text).toMatch(/Go on with:\n {2}.*run .*tiny\.yaml --resume --out .*ctrl-c-/);
    const done = timeless(out).filter((row) => row.stage === stage).length;
    expect(done).toBeGreaterThanOrEqual(step);
    expect(has(out, stage, new RegExp(`^step-0*${done}$`))).toBe(true); // nothing done is lost
    const resumed = await finished(start(out, '--resume'));
    expect(resumed.code, resumed.text).toBe(0);
    expect(resumed.text).toContain(`${stage} (${kind}): going on after step ${done}`);
    expectSame(out);
  },
);
