import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Random } from '../util/random.js';
import { compile } from './testing/compile.js';

// Real processes, really killed.

const RECIPE = `name: count
seed: 5
stages:
  - { name: first, kind: counter, steps: 12, every: 5 }
  - { name: 第二, kind: counter, steps: 14, every: 7, model: first }
`;

let script = '';
let compiled = '';
let root = '';
let recipe = '';
let whole = '';

beforeAll(async () => {
  ({ script, folder: compiled } = compile('pipeline/testing/counter-cli.ts'));
  root = mkdtempSync(path.join(os.tmpdir(), 'dunwu-run-'));
  recipe = path.join(root, 'count.yaml');
  writeFileSync(recipe, RECIPE);
  whole = path.join(root, 'whole');
  expect(await finished(start(['--out', whole]))).toMatchObject({ code: 0 });
});
afterAll(() => {
  rmSync(root, { recursive: true, force: true });
  rmSync(compiled, { recursive: true, force: true });
});

interface Running {
  readonly child: ReturnType<typeof spawn>;
  text: string;
}

function start(args: readonly string[], env: Record<string, string> = {}, file = recipe): Running {
  const child = spawn(process.execPath, [script, 'run', file, ...args], {
    env: { ...process.env, npm_lifecycle_event: '', npm_command: '', ...env },
    cwd: root,
  });
  const running = { child, text: '' };
  child.stdout?.on('data', (data) => {
    running.text += String(data);
  });
  child.stderr?.on('data', (data) => {
    running.text += String(data);
  });
  return running;
}

async function finished(running: Running): Promise<{ code: number | null; signal: string | null; text: string }> {
  const [code, signal] = (await once(running.child, 'close')) as [number | null, string | null];
  return { code, signal, text: running.text };
}

async function until(running: Running, pattern: RegExp): Promise<void> {
  for (let waited = 0; !pattern.test(running.text); waited += 5) {
    if (waited > 10_000) throw new Error(`never said ${pattern}: ${running.text}`);
    await setTimeout(5);
  }
}

const read = (dir: string, file: string) => readFileSync(path.join(dir, file), 'utf8');

/** Every file whose bytes must not depend on how often the run was killed. */
function expectSame(dir: string): void {
  for (const file of [
    'metrics.jsonl',
    'samples/first.jsonl',
    'samples/第二.jsonl',
    'models/first/state.json',
    'models/第二/state.json',
    'recipe.yaml',
  ]) {
    expect(read(dir, file), file).toBe(read(whole, file));
  }
}

test('the unbroken run: metrics, samples, checkpoints, models, report', () => {
  const rows = read(whole, 'metrics.jsonl')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  expect(rows.map((row) => `${row.stage}${row.step}`)).toEqual([
    ...Array.from({ length: 12 }, (_, i) => `first${i + 1}`),
    ...Array.from({ length: 14 }, (_, i) => `第二${i + 1}`),
  ]);
  expect(rows[0].odd).toBe('NaN');
  expect(rows[12].sum).toBe(rows[11].sum + rows[12].drawn); // the second stage goes on from the first one's model
  expect(JSON.parse(read(whole, 'samples/第二.jsonl').split('\n')[2] ?? '')).toEqual({
    step: 3,
    id: 'p3',
    prompt: '3?',
    response: `答 ${rows[14].drawn}`,
  });
  expect(readdirSync(path.join(whole, 'checkpoints/first'))).toEqual(['step-000005', 'step-000010']);
  expect(existsSync(path.join(whole, 'run.lock'))).toBe(false);
  expect(JSON.parse(read(whole, 'report.json'))).toMatchObject({
    recipe: 'count',
    seed: 5,
    stages: [
      { name: 'first', kind: 'counter', tokens: 12, flops: 24, model: 'models/first', eval: null },
      { name: '第二', kind: 'counter', tokens: 14, flops: 28, model: 'models/第二', eval: null },
    ],
  });
});

test('killed at every kind of moment and resumed: the same bytes', async () => {
  const out = path.join(root, 'kills');
  for (const point of [
    'first:step:5',
    'first:write:5',
    'first:saved:10',
    'first:end:12', // the model is written, the stage's result is not
    '第二:step:1', // a stage that has no checkpoint yet
    '第二:write:7',
    '第二:saved:7',
    '第二:write:14',
    '第二:saved:14', // a checkpoint after the very last step
    '第二:end:14',
  ]) {
    const killed = await finished(start(['--resume', '--out', out], { DUNWU_TEST_KILL: point }));
    expect(killed, point).toMatchObject({ signal: 'SIGKILL' });
    const lines = read(out, 'metrics.jsonl');
    expect(lines, point).toBe(read(whole, 'metrics.jsonl').slice(0, lines.length));
  }
  expect(await finished(start(['--resume', '--out', out]))).toMatchObject({ code: 0 });
  expectSame(out);
});

test('killed at random moments, again and again: the same bytes', async () => {
  const slow = path.join(root, 'slow.yaml');
  // The pause is a key too: both runs have it, and only the time differs.
  writeFileSync(slow, RECIPE.replaceAll('steps:', 'pause: 6, steps:'));
  const out = path.join(root, 'random');
  const rng = new Random(3);
  let kills = 0;
  for (let tries = 0; tries < 40; tries++) {
    const running = start(['--resume', '--out', out], {}, slow);
    const end = finished(running);
    if (kills < 8) {
      await Promise.race([setTimeout(rng.int(20, 400)), end]);
      running.child.kill('SIGKILL');
    }
    const { signal, code, text } = await end;
    if (signal === 'SIGKILL') kills++;
    else {
      expect(text).not.toContain('error');
      expect(code).toBe(0);
      break;
    }
  }
  expect(kills).toBeGreaterThanOrEqual(3);
  for (const file of ['metrics.jsonl', 'samples/first.jsonl', 'samples/第二.jsonl']) {
    expect(read(out, file)).toBe(read(whole, file));
  }
});

test('a damaged checkpoint: said aloud, the one before is used, the same bytes', async () => {
  const out = path.join(root, 'damaged');
  await finished(start(['--out', out], { DUNWU_TEST_KILL: 'first:end:12' }));
  writeFileSync(path.join(out, 'checkpoints/first/step-000010/weights.bin'), 'x');
  const resumed = await finished(start(['--resume', '--out', out]));
  expect(resumed.code).toBe(0);
  expect(resumed.text).toMatch(/step-000010 is damaged: weights\.bin has 1 bytes instead of 100000/);
  expect(resumed.text).toContain('[1/2] first (counter): going on after step 5');
  expectSame(out);
});

test('Ctrl-C: saves, says how to go on, exits 130; that command finishes the run', async () => {
  const slow = path.join(root, 'ctrl c.yaml');
  writeFileSync(slow, RECIPE.replaceAll('steps:', 'pause: 20, steps:'));
  const out = path.join(root, 'ctrl-c');
  const running = start(['--out', 'ctrl-c', '--set', 'seed=5'], {}, slow);
  await until(running, /\[1\/2\] first/);
  await setTimeout(60);
  running.child.kill('SIGINT');
  running.child.kill('SIGINT'); // npm sends a second one at once: still the same keypress
  const stopped = await finished(running);
  expect(stopped).toMatchObject({ code: 130 });
  expect(stopped.text).toContain('Stopping: saving after this step.');
  const command = `run '${slow}' --resume --out ctrl-c --set seed=5`;
  expect(stopped.text).toContain(`Go on with:\n  node `);
  expect(stopped.text).toContain(command);
  const saved = readdirSync(path.join(out, 'checkpoints/first'));
  const lines = read(out, 'metrics.jsonl').trimEnd().split('\n');
  expect(Number(saved.at(-1)?.slice(5))).toBe(lines.length); // the state after the very last step

  const again = await finished(start(['--resume', '--out', 'ctrl-c', '--set', 'seed=5'], {}, slow));
  expect(again.code).toBe(0);
  expect(again.text).toContain(`first (counter): going on after step ${lines.length}`);
  expect(read(out, 'metrics.jsonl')).toBe(read(whole, 'metrics.jsonl'));
  expect(JSON.parse(read(out, 'report.json')).stages[0].seconds).toBeGreaterThan(12 * 0.02); // both sessions' time
});

test('a second Ctrl-C stops at once, and the run can still be resumed', async () => {
  const out = path.join(root, 'ctrl-c-twice');
  const slow = path.join(root, 'very-slow.yaml');
  writeFileSync(slow, RECIPE.replaceAll('steps:', 'pause: 60000, steps:'));
  const running = start(['--out', out], {}, slow);
  await until(running, /\[1\/2\] first/);
  running.child.kill('SIGINT');
  await until(running, /Stopping/);
  await setTimeout(400);
  running.child.kill('SIGINT');
  expect(await finished(running)).toMatchObject({ signal: 'SIGINT' }); // a shell shows 130
  expect(existsSync(path.join(out, 'run.lock'))).toBe(true); // stale now
});

test('two processes in one folder: the second is refused', async () => {
  const out = path.join(root, 'busy');
  const slow = path.join(root, 'busy.yaml');
  writeFileSync(slow, RECIPE.replaceAll('steps:', 'pause: 60000, steps:'));
  const running = start(['--out', out], {}, slow);
  await until(running, /\[1\/2\] first/);
  const second = await finished(start(['--resume', '--out', out], {}, slow));
  expect(second.code).toBe(2);
  expect(second.text).toContain(`error: process ${running.child.pid} is working in ${out}`);
  running.child.kill('SIGKILL');
  await finished(running);
});

test('folders and recipes that do not fit: exit 2, and what differs', async () => {
  const other = path.join(root, 'other');
  mkdirSync(other);
  writeFileSync(path.join(other, 'thesis.tex'), '');
  const refused = await finished(start(['--out', other]));
  expect(refused).toMatchObject({ code: 2 });
  expect(refused.text).toContain('is not empty and holds no run');
  expect(readdirSync(other)).toEqual(['thesis.tex']);

  const again = await finished(start(['--out', whole]));
  expect(again).toMatchObject({ code: 2 });
  expect(again.text).toContain('holds a run already: go on with --resume');

  const changed = await finished(start(['--resume', '--out', whole, '--seed', '6', '--set', 'stages.first.every=3']));
  expect(changed).toMatchObject({ code: 2 });
  expect(changed.text).toContain('  seed: 5 → 6\n  stages.first.every: 5 → 3\n');
});

test('a stage that fails: exit 1, its name, how to go on; later it does', async () => {
  const out = path.join(root, 'failing');
  const failed = await finished(start(['--out', out], { DUNWU_TEST_FAIL: '第二:9' }));
  expect(failed.code).toBe(1);
  expect(failed.text).toContain('error: stage 第二 failed: the counter broke\n');
  expect(failed.text).not.toContain('    at '); // no stack
  expect(failed.text).toContain('--resume --out');
  const resumed = await finished(start(['--resume', '--out', out]));
  expect(resumed.text).toContain('[1/2] first (counter): done before');
  expect(resumed.text).toContain('[2/2] 第二 (counter): going on after step 7');
  expectSame(out);
});

test('a finished stage taken back is run again, with all that follows', async () => {
  const out = path.join(root, 'again');
  await finished(start(['--out', out]));
  rmSync(path.join(out, 'stages/first.json'));
  rmSync(path.join(out, 'checkpoints/first'), { recursive: true });
  const resumed = await finished(start(['--resume', '--out', out]));
  expect(resumed.text).not.toContain('done before');
  expectSame(out);
});
