import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { z } from 'zod';
import { compile } from '../pipeline/testing/compile.js';
import { counterKind } from '../pipeline/testing/counter-kind.js';
import { errorMessage, UsageError } from './errors.js';
import { runCli } from './program.js';
import { defaultFolder, resumeCommand } from './run-command-line.js';

let dir = '';
beforeAll(() => {
  dir = mkdtempSync(path.join(os.tmpdir(), 'dunwu-cli-'));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));
afterEach(() => {
  vi.restoreAllMocks();
  process.exitCode = undefined;
});

async function cli(...argv: string[]): Promise<{ code: number; text: string }> {
  let text = '';
  for (const stream of [process.stdout, process.stderr]) {
    vi.spyOn(stream, 'write').mockImplementation((data) => {
      text += String(data);
      return true;
    });
  }
  const code = await runCli(argv, {
    parts: async () => ({ kinds: [counterKind], taskSchema: z.looseObject({}).optional() }),
  });
  vi.restoreAllMocks();
  return { code, text };
}

test('help, version and nothing at all', async () => {
  const help = await cli('--help');
  expect(help.code).toBe(0);
  expect(help.text).toContain('run [options] <recipe>');
  expect(help.text).toContain('score [options] <file>');
  expect(help.text).toContain('Exit codes: 0 done, 1 the work failed, 2 the command or recipe was wrong, 3 saved');
  const run = await cli('run', '--help');
  expect(run.code).toBe(0);
  expect(run.text).toContain('--set stages.pretrain.steps=100');
  const version = await cli('--version');
  const manifest = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
  expect(version).toEqual({ code: 0, text: `${manifest.version}\n` });
  expect((await cli()).code).toBe(2);
});

test('wrong commands exit 2 with a suggestion', async () => {
  const command = await cli('rnu', 'x.yaml');
  expect(command.code).toBe(2);
  expect(command.text).toContain("unknown command 'rnu'\n(Did you mean run?)");
  const option = await cli('run', 'x.yaml', '--resmue');
  expect(option.code).toBe(2);
  expect(option.text).toContain("unknown option '--resmue'\n(Did you mean --resume?)");
  expect((await cli('run')).code).toBe(2);
  expect(await cli('run', 'x.yaml', '--seed', '1.5')).toEqual({
    code: 2,
    text: 'error: --seed 1.5: a whole number ≥ 0 is needed\n',
  });
  expect(await cli('run', path.join(dir, 'no.yaml'))).toEqual({
    code: 2,
    text: `error: cannot read the recipe ${path.join(dir, 'no.yaml')}: there is no such file\n`,
  });
});

test('a good recipe runs and exits 0; a bad one is refused before anything is written', async () => {
  const file = path.join(dir, 'r.yaml');
  const out = path.join(dir, 'run');
  writeFileSync(file, 'name: r\nstages:\n  - { name: a, kind: counter, steps: 2, evry: 1 }\n');
  const bad = await cli('run', file, '--out', out);
  expect(bad.code).toBe(2);
  expect(bad.text).toBe(
    `error: ${file}:3:41: stages.a.evry: unknown key. Did you mean \`every\`? Allowed: name, kind, steps, every, model, pause\n`,
  );
  expect(readdirSync(dir)).toEqual(['r.yaml']);
  writeFileSync(file, 'name: r\nstages:\n  - { name: a, kind: counter, steps: 2 }\n');
  const good = await cli('run', file, '--out', out);
  expect(good.code).toBe(0);
  expect(good.text).toContain('[1/1] a (counter)\na 2/2 · sum ');
  expect(good.text).toContain(`Report: ${path.join(out, 'report.md')}`);
  // --device is the recipe's key: the run folder has it, and to go on takes it again.
  const placed = path.join(dir, 'placed');
  expect((await cli('run', file, '--out', placed, '--device', 'cpu')).code).toBe(0);
  expect(readFileSync(path.join(placed, 'recipe.yaml'), 'utf8')).toContain('device: cpu');
});

test('--help of the real script loads nothing heavy, so it is quick and works without the engine', () => {
  const { script, folder } = compile('cli/main.ts');
  try {
    expect(execFileSync(process.execPath, [script, '--help'], { encoding: 'utf8' })).toContain('Usage: dunwu');
    const packages = new Set<string>();
    const files = new Set<string>();
    const follow = (file: string): void => {
      if (files.has(file)) return;
      files.add(file);
      // What loads with the file: static imports, not `import()` inside an action.
      for (const [, from] of readFileSync(file, 'utf8').matchAll(/^(?:import|export)\b[^;]*?from '([^']+)'/gm)) {
        if (from?.startsWith('.')) follow(path.resolve(path.dirname(file), from));
        else if (from !== undefined && !from.startsWith('node:')) packages.add(from);
      }
    };
    follow(script);
    expect([...packages]).toEqual(['commander']);
    expect(files.size).toBeGreaterThan(3);
    const folders = new Set([...files].map((file) => path.basename(path.dirname(file))));
    expect([...folders].sort()).toEqual(['cli', 'util']);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test('one clear message; the stacks of all causes only when asked for', () => {
  const error = new Error('outer', { cause: new Error('inner') });
  expect(errorMessage(error, {})).toBe('error: outer\n(DUNWU_DEBUG=1 shows where it happened)');
  expect(errorMessage(new Error('aten::mm: CUDA out of memory. Tried to allocate 2.00 GiB'), {})).toContain(
    'micro_batch_tokens',
  );
  expect(errorMessage(new UsageError('r.yaml:1:1: bad'), {})).toBe('error: r.yaml:1:1: bad');
  const debug = errorMessage(error, { DUNWU_DEBUG: '1' });
  expect(debug).toContain('Error: outer\n    at ');
  expect(debug).toContain('Error: inner\n    at ');
});

test('the default folder: the next free one, or the newest when resuming', async () => {
  const root = mkdtempSync(path.join(dir, 'runs-'));
  expect(await defaultFolder('mini', false, root)).toBe(path.join(root, 'mini'));
  expect(await defaultFolder('mini', true, root)).toBe(path.join(root, 'mini'));
  for (const name of ['mini', 'mini.2', 'mini.10', 'mini-long', 'mini.x']) writeFileSync(path.join(root, name), '');
  expect(await defaultFolder('mini', false, root)).toBe(path.join(root, 'mini.11'));
  expect(await defaultFolder('mini', true, root)).toBe(path.join(root, 'mini.10'));
});

test('the command to go on with: as the process was begun, quoted for a shell', () => {
  const args = { file: 'recipes/r1.yaml', out: 'runs/my run', set: ["stages.a.text='x'"], seed: 3 };
  const rest = "--resume --out 'runs/my run' --set 'stages.a.text='\\''x'\\''' --seed 3";
  expect(resumeCommand(args, {}, '/usr/bin/dunwu')).toBe(`dunwu run recipes/r1.yaml ${rest}`);
  expect(resumeCommand(args, { npm_lifecycle_event: 'start' }, '/x/dunwu.js')).toBe(`npm start -- ${rest}`);
  expect(resumeCommand(args, { npm_command: 'exec' }, '/x/dunwu.js')).toBe(`npx dunwu run recipes/r1.yaml ${rest}`);
  expect(resumeCommand({ file: 'a.yaml', out: '运行', set: [] }, {}, path.resolve('bin/dunwu.js'))).toBe(
    'node bin/dunwu.js run a.yaml --resume --out 运行',
  );
});
