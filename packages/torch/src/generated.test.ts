import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { runtimeInfo } from './index.js';

const at = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
const [, generatedWith] = /libtorch (\S+)/.exec(readFileSync(at('generated/methods.ts'), 'utf8')) ?? [];

it('says which libtorch it was generated with', () => {
  expect(generatedWith).toMatch(/^2\.\d+\.\d+/);
});

it.skipIf(generatedWith !== runtimeInfo().version)('is what the generator writes from the live schemas', () => {
  const said = execFileSync(process.execPath, [at('../scripts/generate.mjs'), '--check'], { encoding: 'utf8' });
  expect(said).toBe('src/generated/methods.ts: up to date\nsrc/generated/functions.ts: up to date\n');
});
