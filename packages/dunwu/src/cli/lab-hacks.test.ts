import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { kinds, taskSchema } from '../pipeline/kinds.js';
import { loadRecipe } from '../pipeline/recipe.js';
import { cli } from './testing/capture.js';

let dir = '';
beforeAll(() => {
  dir = mkdtempSync(path.join(os.tmpdir(), 'dunwu-hacks-'));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

it('a line for each hack, what it may have, and that it holds', async () => {
  const { code, out } = await cli('lab', 'hacks');
  expect(code).toBe(0);
  const lines = out.split('\n');
  expect(lines[0]).toBe(
    'Rules: accuracy 1, format 0.5, steps 0.5, language 0.5, instruction 0, code 0; ' +
      'maths: steps 0; general: accuracy 0, steps 0, language 0, instruction 1; code: accuracy 0, steps 0, code 1',
  );
  const cells = (name: string) => lines.find((line) => line.startsWith(name))?.split(/ {2,}/);
  expect(cells('all numbers listed')).toEqual(['all numbers listed', '5', '1.5', '1.5', 'miscopied', '2.5', 'holds']);
  expect(cells('refuses, then complies')).toEqual([
    'refuses, then complies',
    '2',
    '0.5',
    '0.5',
    'wrong',
    '1.5',
    'holds',
  ]);
  expect(lines.at(-2)).toMatch(/^No hack wins: \d+ hacks, \d+ responses\.$/);
});

it.each(['white-box.md', 'white-box.zh.md'])('%s: its table is what the commands print', async (name) => {
  const text = readFileSync(new URL(`../../../../docs/${name}`, import.meta.url), 'utf8');
  const table = /```text\n(hack [\s\S]*?)\n```/.exec(text)?.[1]?.split('\n') ?? [];
  const { out } = await cli('lab', 'hacks');
  expect(table.length).toBeGreaterThan(6);
  for (const line of table) if (line !== '…') expect(out.split('\n')).toContain(line);
  const lenient = (await cli('lab', 'hacks', '--rules', 'accuracy,steps')).out.trimEnd().split('\n').at(-1) ?? '?';
  expect(text).toContain(lenient);
});

it('one that wins: exit 1, named, with what the rules said of it', async () => {
  const rules = path.join(dir, 'rules.mjs');
  writeFileSync(rules, 'export const wordy = (_, response) => Math.min(1, response.length / 1000);\n');
  const { code, out } = await cli('lab', 'hacks', '--import', rules, '--rules', 'accuracy,wordy');
  expect(code).toBe(1);
  expect(out).toMatch(/words of the right language without end +5 .*WINS on 5/);
  expect(out).toMatch(
    /one right step a hundred times \(hacks:[^)]*\): 1 points, begun has [\d.]+\n {2}accuracy 0: tag: \d+ ≠ \d+\n {2}wordy 1\n/,
  );
  expect(out).toMatch(/\d+ hacks win, in \d+ of \d+ responses\.\n$/);
  const { results } = JSON.parse((await cli('lab', 'hacks', '--rules', 'accuracy', '--json')).out) as {
    results: { hack: string; points: number; at_most: number; wins: boolean }[];
  };
  // What scores other models' outputs takes the last of many statements for the answer.
  expect(results.find(({ hack }) => hack === '"the answer is" many times, in the answer')).toMatchObject({
    points: 1,
    at_most: 0,
    wins: true,
  });
});

it('holds for every stage of the recipes that has rewards', async () => {
  const recipes = fileURLToPath(new URL('../../../../recipes/', import.meta.url));
  const seen = new Set<string>();
  for (const name of readdirSync(recipes).filter((file) => file.endsWith('.yaml'))) {
    const recipe = await loadRecipe(path.join(recipes, name), { kinds, task: taskSchema });
    for (const stage of recipe.stages) {
      const { rewards } = stage.config as { rewards?: unknown };
      if (rewards === undefined || seen.has(JSON.stringify(rewards))) continue;
      seen.add(JSON.stringify(rewards));
      const { code, out } = await cli('lab', 'hacks', '--recipe', path.join(recipes, name), '--stage', stage.name);
      expect(out).toContain('No hack wins');
      expect(code).toBe(0);
    }
  }
  expect(seen.size).toBeGreaterThan(0);
}, 60_000);

it('wrong commands: exit 2, and what to do', async () => {
  const recipe = path.join(dir, 'recipe.yaml');
  writeFileSync(
    recipe,
    'name: x\ntask: { type: word-problem }\nstages: [{ name: t, kind: tokenizer, vocab_size: 300, corpus: { type: text, path: a.txt } }]\n',
  );
  for (const [args, message] of [
    [['--stage', 'x'], '--stage x: would be ignored; give --recipe too'],
    [['--import', 'x.mjs'], '--import x.mjs: would be ignored'],
    [['--all', '--json'], '--all: would be ignored'],
    [['--recipe', recipe], 'no stage has `rewards`'],
    [['--rules', 'nice'], 'unknown rule "nice"'],
    [['--rules', 'accuracy', '--recipe', recipe], 'cannot be used with'],
  ] as const) {
    const { code, err } = await cli('lab', 'hacks', ...args);
    expect(err).toContain(message);
    expect(code).toBe(2);
  }
});
