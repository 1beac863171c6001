import { mkdir, mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { CheckpointStore } from './checkpoint.js';

let dir = '';
let said: string[] = [];
beforeEach(async () => {
  dir = path.join(await mkdtemp(path.join(os.tmpdir(), 'dunwu-cp-')), 'base');
  said = [];
});
afterEach(() => rm(path.dirname(dir), { recursive: true, force: true }));

const store = (keep = 2) => new CheckpointStore(dir, { keep, log: (line) => said.push(line), elapsed: () => 12.5 });

const state = (text: string) => async (folder: string) => {
  await mkdir(path.join(folder, 'model'));
  await writeFile(path.join(folder, 'model', 'weights'), text);
  await writeFile(path.join(folder, 'state.json'), '{}');
};

const file = (step: string, name = 'model/weights') => path.join(dir, step, name);

test('saves, keeps the last two, and gives the newest back', async () => {
  const checkpoints = store();
  for (const step of [10, 20, 30]) await checkpoints.save(step, state(`at ${step}`));
  expect(await readdir(dir)).toEqual(['step-000020', 'step-000030']);
  expect(await store().latest()).toEqual({ step: 30, dir: path.join(dir, 'step-000030'), seconds: 12.5 });
  const manifest = JSON.parse(await readFile(file('step-000030', 'manifest.json'), 'utf8'));
  expect(manifest.files).toEqual([
    // printf 'at 30' | sha256sum
    { path: 'model/weights', bytes: 5, sha256: '4b21d81fe8d5f2de3eb44d90310d555fd5f017341a827e78219d17b6defbc003' },
    { path: 'state.json', bytes: 2, sha256: '44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a' },
  ]);
  expect(said).toEqual([]);
});

test('a damaged checkpoint is named with the reason, and the one before it used', async () => {
  const damages: [string, () => Promise<unknown>][] = [
    ['model/weights has changed (sha256 differs)', () => writeFile(file('step-000020'), 'AT 20')],
    ['model/weights has 3 bytes instead of 5', () => truncate(file('step-000020'), 3)],
    ['model/weights is missing', () => rm(file('step-000020'))],
    ['manifest.json is missing', () => rm(file('step-000020', 'manifest.json'))],
    ['manifest.json cannot be read', () => writeFile(file('step-000020', 'manifest.json'), '{"form')],
    ['not a manifest that this version knows', () => writeFile(file('step-000020', 'manifest.json'), '{"format":9}')],
  ];
  for (const [reason, damage] of damages) {
    const first = store();
    await first.save(10, state('at 10'));
    await first.save(20, state('at 20'));
    await damage();
    said = [];
    const second = store();
    expect((await second.latest())?.step).toBe(10);
    expect(said[0]).toContain(`Checkpoint ${path.join(dir, 'step-000020')} is damaged: `);
    expect(said[0]).toContain(reason);
    expect(said[1]).toBe(`Going on from the last good checkpoint: ${path.join(dir, 'step-000010')}`);
    // The run goes on; the damaged one must not push good ones out, and is replaced when its step comes again.
    await second.save(15, state('at 15'));
    expect(await readdir(dir)).toEqual(['step-000010', 'step-000015']);
    await second.save(20, state('new 20'));
    expect(await readFile(file('step-000020'), 'utf8')).toBe('new 20');
    expect((await store().latest())?.step).toBe(20);
    await rm(dir, { recursive: true });
  }
});

test('nothing good left: said aloud, and null', async () => {
  expect(await store().latest()).toBeNull();
  expect(said).toEqual([]);
  await store().save(10, state('at 10'));
  await rm(file('step-000010'));
  expect(await store().latest()).toBeNull();
  expect(said.at(-1)).toBe(`No good checkpoint is left in ${dir}: the stage begins anew`);
});

test('a half-written one is never taken, and is cleared away', async () => {
  await store().save(10, state('at 10'));
  await mkdir(path.join(dir, '.tmp-step-000020-999'));
  expect((await store().latest())?.step).toBe(10);
  await store().save(20, state('at 20'));
  expect(await readdir(dir)).toEqual(['step-000010', 'step-000020']);
});

test('saving the same step twice writes once', async () => {
  const checkpoints = store();
  await checkpoints.save(10, state('at 10'));
  await checkpoints.save(10, async () => {
    throw new Error('not wanted');
  });
  const later = store();
  await later.latest();
  await later.save(10, async () => {
    throw new Error('not wanted');
  });
  expect(await readFile(file('step-000010'), 'utf8')).toBe('at 10');
});

test('a full disk: the path, the last good one, what to do; nothing is lost', async () => {
  const checkpoints = store();
  await checkpoints.save(10, state('at 10'));
  const full = Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });
  const failing = checkpoints.save(20, async (folder) => {
    await state('half')(folder);
    throw full;
  });
  await expect(failing).rejects.toThrow(
    new RegExp(
      `cannot save the checkpoint ${path.join(dir, 'step-000020')}: no space left on the device \\(.*B free\\)\\. ` +
        `The last good one is ${path.join(dir, 'step-000010')}\\. Free some space and go on with --resume\\.`,
    ),
  );
  expect(await readdir(dir)).toEqual(['step-000010']);
  expect((await store().latest())?.step).toBe(10);
});
