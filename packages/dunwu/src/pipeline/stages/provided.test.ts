import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, expect, it } from 'vitest';
import type { StageContext } from '../stage.js';
import { judgedResponses } from './provided.js';

const dir = mkdtempSync(path.join(os.tmpdir(), 'dunwu-provided-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));
mkdirSync(path.join(dir, 'samples'));

const row = (prompt: string, ...parts: (readonly [name: string, status: string])[]) =>
  `${JSON.stringify({ prompt, trace: { total: 0, parts: parts.map(([name, status]) => ({ name, status })) } })}\n`;
writeFileSync(
  path.join(dir, 'samples', 'rl.jsonl'),
  [
    row('sum', ['accuracy', 'ok'], ['format', 'ok']),
    row('sum', ['accuracy', 'wrong'], ['format', 'ok']),
    row('program', ['code', 'timeout']),
    row('story', ['steps', 'unparsable']),
    row('unreadable', ['accuracy', 'bad-gold']),
    row('words', ['instruction', 'ok'], ['format', 'ok']),
  ].join(''),
);
const ctx = { dir, name: 'rl' } as StageContext;

it('problems whose gold answer, tests or steps some rule looked at, each once; every response', () => {
  expect(judgedResponses(ctx, { answers: true })).toEqual({ answers: 3, scored: 6 });
});

it('rules that only look on need no answers', () => {
  expect(judgedResponses(ctx, { answers: false })).toEqual({ scored: 6 });
});
