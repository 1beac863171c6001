import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { Problem } from '../task/problem.js';
import { UsageError } from '../util/errors.js';
import { RewardProgram } from './program.js';
import { importRules, registerRule, type UserRule, type Verdict } from './user-rules.js';

const problem: Problem = { id: 'p', prompt: 'q', answer: '5', source: 's', language: 'en', meta: {} };

describe('registerRule', () => {
  it('makes a rule known to programs, with its options and their defaults', () => {
    registerRule('says', {
      options: { word: 'please', least: 1 },
      judge: (_problem, response, { word, least }) => {
        const at = response.indexOf(String(word));
        const found = response.split(String(word)).length - 1;
        return { points: found >= Number(least) ? 1 : 0.25, evidence: at < 0 ? [] : [[at, at + String(word).length]] };
      },
    });
    const score = (options: object, response: string) =>
      new RewardProgram({ rules: { says: options } }).score(problem, response);
    expect(score({ weight: 2 }, 'yes, please')).toEqual({
      total: 2,
      parts: [{ name: 'says', weight: 2, points: 1, max: 1, status: 'ok', evidence: [[5, 11]] }],
    });
    expect(score({ word: 'yes', least: 2 }, 'yes, please').total).toBe(0.25);
    expect(() => score({ words: 'yes' }, '')).toThrow(/words/);
    expect(() => score({ least: 'two' }, '')).toThrow(/least/);
  });

  it('takes a function that gives points alone', () => {
    registerRule('half', () => 0.5);
    const [part] = new RewardProgram({ rules: { half: 1 } }).score(problem, 'x').parts;
    expect(part).toMatchObject({ points: 0.5, status: 'wrong', evidence: [] });
    expect(() => new RewardProgram({ rules: { half: { hard: true } } })).toThrow(/hard/);
  });

  it.each([
    ['accuracy', () => 1, 'the name of a built-in rule'],
    ['a rule', () => 1, 'a name is letters'],
    ['five', 5, 'is 5; a rule is a function'],
    ['nothing', null, 'is null'],
    ['bare', { options: {} }, 'its `judge` is no function'],
    ['more', { judge: () => 1, weight: 2 }, 'unknown key `weight`'],
    ['deep', { judge: () => 1, options: { list: [1] } }, 'the default of `list` is a list'],
    ['heavy', { judge: () => 1, options: { weight: 1 } }, 'cannot be called `weight`'],
  ])('refuses %s = %j', (name, rule, message) => {
    expect(() => registerRule(name, rule as UserRule)).toThrow(message);
  });
});

describe('a rule that fails', () => {
  it.each<[string, () => unknown, string]>([
    [
      'throws',
      () => {
        throw new Error('no such thing');
      },
      'threw no such thing',
    ],
    ['gives nothing', () => undefined, 'nothing was returned'],
    ['gives a text', () => 'good', 'returned "good", not points'],
    ['gives too much', () => 1.5, 'returned 1.5 points'],
    ['gives no number', () => Number.NaN, 'returned NaN points'],
    ['gives a promise', () => Promise.resolve(1), 'returned a Promise'],
    ['gives no points', () => ({ status: 'ok' }), 'returned nothing points'],
    ['knows another status', () => ({ points: 1, status: 'fine' }), 'the status "fine"'],
    ['slips', () => ({ points: 1, evidnce: [] }), 'the unknown key `evidnce`'],
    ['points outside', () => ({ points: 1, evidence: [[0, 99]] }), 'the span [0,99], not [start, end] within'],
    ['points backwards', () => ({ points: 1, evidence: [[2, 1]] }), 'the span [2,1]'],
    ['scores a step badly', () => ({ points: 1, steps: [{ span: [0, 1] }] }), 'a step without points'],
    [
      'throws on being read',
      () => ({
        get points() {
          throw new Error('later');
        },
      }),
      'threw later',
    ],
  ])('%s: the response gets 0 of it, and everything else', (_, judge, why) => {
    const warning = vi.spyOn(process, 'emitWarning').mockReturnValue();
    registerRule('mine', judge as () => Verdict, `/x/${why}.mjs`);
    const program = new RewardProgram({ rules: { format: 1, mine: 3 } });
    const response = '<think>a</think><answer>5</answer>';
    const trace = program.score(problem, response);
    expect(trace.total).toBe(1);
    expect(trace.parts[1]).toMatchObject({ name: 'mine', status: 'error', points: 0, max: 1, evidence: [] });
    expect(trace.parts[1]?.note).toMatch(/^rule mine \(/);
    expect(trace.parts[1]?.note).toContain(why);
    program.score(problem, response);
    expect(warning).toHaveBeenCalledTimes(1);
    warning.mockRestore();
  });
});

describe('importRules', () => {
  let folder = '';
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'dunwu-rules-'));
    await mkdir(join(folder, 'recipe', 'rules'), { recursive: true });
    const files = {
      'recipe/good.mjs': 'export const short = (p, r) => r.length < 5 ? 1 : 0;\nexport function long() { return 0.1 }',
      'recipe/rules/below.mjs': 'export const below = () => 1;',
      'recipe/broken.mjs': 'export const = 1;',
      'recipe/throws.mjs': 'throw new Error("at once");',
      'recipe/empty.mjs': 'const a = 1;',
      'recipe/default.mjs': 'export default () => 1;',
      'recipe/constant.mjs': 'export const fine = () => 1;\nexport const LIMIT = 7;',
      'recipe/taken.mjs': 'export const format = () => 1;',
      'recipe/rules.txt': '',
      'outside.mjs': 'export const outside = () => 1;',
    };
    for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text);
    await symlink(join(folder, 'outside.mjs'), join(folder, 'recipe', 'link.mjs'));
  });
  afterAll(async () => rm(folder, { recursive: true }));

  it('registers every export', async () => {
    const below = join(folder, 'recipe');
    expect(await importRules('./good.mjs', { below })).toEqual(['long', 'short']);
    expect(await importRules('rules/below.mjs', { below })).toEqual(['below']);
    expect(await importRules(join(folder, 'outside.mjs'))).toEqual(['outside']);
    const program = new RewardProgram({ rules: { short: 1, long: 1, below: 1, outside: 1 }, import: './good.mjs' });
    expect(program.score(problem, 'abc').total).toBe(1 + 0.1 + 1 + 1);
  });

  it.each([
    ['none.mjs', 'none.mjs: cannot load rules: there is no such file'],
    ['../outside.mjs', '../outside.mjs: rules must lie in the recipe'],
    ['link.mjs', 'link.mjs: rules must lie in the recipe'],
    ['broken.mjs', 'broken.mjs: cannot load rules: '],
    ['throws.mjs', 'throws.mjs: cannot load rules: at once'],
    ['empty.mjs', 'empty.mjs: exports no rule'],
    ['default.mjs', 'default.mjs: the export "default": rules are exported by name'],
    ['constant.mjs', 'constant.mjs: the export "LIMIT": is 7; a rule is a function'],
    ['taken.mjs', 'taken.mjs: the export "format": this is the name of a built-in rule'],
    ['rules.txt', 'rules.txt: rules are JavaScript'],
  ])('refuses %s', async (file, message) => {
    const fault = await importRules(file, { below: join(folder, 'recipe') }).catch((error: unknown) => error);
    expect(fault).toBeInstanceOf(UsageError);
    expect((fault as Error).message).toContain(message);
  });
});
