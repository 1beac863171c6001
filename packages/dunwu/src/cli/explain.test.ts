import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { groupAdvantages } from '../objective/advantage.js';
import { RewardProgram } from '../reward/program.js';
import type { Problem } from '../task/problem.js';
import { explainHtml } from './explain-html.js';
import { sampleOfText } from './explain-sample.js';
import { explainText } from './explain-text.js';
import { cli } from './testing/capture.js';

const problem: Problem = {
  id: 'p:zh',
  prompt: '小明有35张卡片。#1 得到17张。#2 丢了29张。还剩多少张？',
  answer: '23',
  source: 'word-problem',
  language: 'zh',
  meta: { steps: 2 },
};
const program = new RewardProgram({ rules: { accuracy: 1, format: 0.5, steps: 0.5, language: 0.1 } });

const row = (response: string, more: object = {}): Record<string, unknown> => {
  const { id, language, prompt, answer } = problem;
  return { id, language, prompt, answer, response, trace: program.score(problem, response), ...more };
};
const RESPONSES = [
  '<think>#1 得到：35+17=52\n#2 loses: 52-29=23</think><answer>23</answer>',
  '<think>#1 得到：35+17=52</think><answer>52</answer>',
  '23',
];

let dir = '';
let run = '';
let file = '';
const writeRows = (name: string, rows: readonly object[]): string => {
  const to = path.join(dir, name);
  writeFileSync(to, rows.map((one) => `${JSON.stringify(one)}\n`).join(''));
  return to;
};

beforeAll(() => {
  dir = mkdtempSync(path.join(os.tmpdir(), 'dunwu-explain-'));
  run = path.join(dir, 'run');
  mkdirSync(path.join(run, 'samples'), { recursive: true });
  writeFileSync(
    path.join(run, 'recipe.yaml'),
    'stages:\n  - { name: zero, kind: grpo, advantage: { kind: outcome, scale: std, std: population, epsilon: 0.0001 } }\n',
  );
  const totals = RESPONSES.map((response) => program.score(problem, response).total);
  const [advantages] = groupAdvantages([totals]).advantages;
  const group = RESPONSES.map((response, i) => row(response, { step: 1, advantage: advantages?.[i], reason: 'stop' }));
  const other = RESPONSES.map((response) => row(response, { id: 'other', step: 1, advantage: 0 }));
  const later = [RESPONSES[0], RESPONSES[0]].map((response) => row(response ?? '', { step: 2, advantage: 0 }));
  file = writeRows('run/samples/zero.jsonl', [...other, ...group, ...later]);
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

describe('what is shown', () => {
  it('marks every line rule by rule, adds up, and says what the group made of it', async () => {
    const { code, out } = await cli('explain', `${file}:4`);
    expect(out.split('\n')).toEqual([
      `${file}:4 · step 1 · zh`,
      '',
      'Prompt',
      '  小明有35张卡片。#1 得到17张。#2 丢了29张。还剩多少张？',
      '',
      'Gold answer: 23',
      '',
      'Response',
      '  <think>#1 得到：35+17=52',
      '  FFFFFFF',
      // 得到： takes six columns.
      '                  SSSSSSSS',
      '  #2 loses: 52-29=23</think><answer>23</answer>',
      '                                    AA',
      '                    FFFFFFFFFFFFFFFF  FFFFFFFFF',
      '            SSSSSSSS',
      '     lllll',
      '',
      'Marks: AAA earned points or found nothing wrong, aaa did not.',
      '',
      'Points',
      '     rule      weight              points             weighted  status  note',
      '  A  accuracy       1                   1                    1  ok      tag: 23 = 23',
      '  F  format       0.5                   1                  0.5  ok      each tag once and in order',
      '  S  steps        0.5                   1                  0.5  ok      2 of 2 steps right and relevant, 0 wrong, 0 irrelevant',
      '  L  language     0.1  0.6666666666666666  0.06666666666666667  wrong   2 of 3 words in zh',
      '',
      'Steps',
      '      rule   points  text',
      '  S1  steps       1  35+17=52',
      '  S2  steps       1  52-29=23',
      '',
      'Sum: 1 + 0.5 + 0.5 + 0.06666666666666667 = 2.066666666666667. The stored reward is the same, to the last bit.',
      '',
      // Totals: 2.0667, 0.85, 0.
      'Group: 1 of 3 by reward among the responses to this question; mean 0.972222, standard deviation 0.848128',
      'Advantage: (2.06667 − 0.972222) / (0.848128 + 0.0001) = 1.29027, as stored',
      'Also: reason stop',
      '',
    ]);
    expect(code).toBe(0);
  });

  it('in Chinese', async () => {
    const { out } = await cli('explain', `${file}:6`, '--language', 'zh');
    expect(out).toContain('第几步 1');
    expect(out).toContain('回答\n  23\n');
    expect(out).toContain('合计：0 + 0 + 0 + 0 = 0。与存下的奖励逐位相同。');
    expect(out).toContain('同组：同一道题的 3 个回答里按奖励排第 3；均值 0.972222，标准差 0.848128');
  });

  it('a group without spread teaches nothing', async () => {
    expect((await cli('explain', `${file}:8`)).out).toContain(
      'Advantage: 0: the whole group has the same reward, as stored',
    );
  });

  const sample = (response: string) => sampleOfText(JSON.stringify(row(response)), null);
  const text = (response: string, width = 80, colour = false) =>
    explainText(sample(response), { width, colour, language: 'en' });

  it('breaks long lines where the terminal ends, marks with them', () => {
    const lines = text('<think>我们先算 35+17=52 再算下去</think><answer>23</answer>', 22).split('\n');
    const at = lines.indexOf('Response');
    expect(lines.slice(at + 1, lines.indexOf('', at))).toEqual([
      '  <think>我们先算 35+1',
      '  FFFFFFF',
      '                  SSSS',
      '  7=52 再算下去</think',
      '               FFFFFFF',
      '  SSSS',
      '  ><answer>23</answer>',
      '           AA',
      '  FFFFFFFFF  FFFFFFFFF',
    ]);
  });

  it('colours text and marks alike, and nothing else moves the cursor', () => {
    const hostile = '<think>\u001b]0;title\u0007\u001b[2J\u202e\u200b 35+17=52\r</think><answer>23</answer>';
    const coloured = text(hostile, 200, true);
    expect(coloured).toContain('\u001b[35m5\u001b[0m'); // steps, the third rule
    // biome-ignore lint/suspicious/noControlCharactersInRegex: our own colours are taken out, nothing may be left
    const plain = coloured.replace(/\u001b\[(?:\d+)m/g, '');
    expect(plain).toContain('\\x1b]0;title\\x07\\x1b[2J\\u{202e}\\u{200b} 35+17=52\\x0d</think>');
    // biome-ignore lint/suspicious/noControlCharactersInRegex: see above
    expect(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u200b\u202e]/.test(plain)).toBe(false);
    expect(text(hostile, 200)).toBe(plain);
    const [shown = '', ...marks] = plain.split('\n').slice(plain.split('\n').indexOf('Response') + 1);
    expect(marks.find((line) => line.includes('S'))?.indexOf('S')).toBe(shown.indexOf('35+17'));
  });

  it('--html: one page, the text escaped, a line for each rule that read it', async () => {
    const page = path.join(dir, 'page.html');
    const evil = '</pre><script>alert(1)</script><img src=x onerror="alert(2)">35+17=52 & \u202e';
    const at = writeRows('evil.jsonl', [
      row(`<think>${evil}</think><answer>23</answer>`, { id: '"><b>', note: '<i>x</i>' }),
    ]);
    expect((await cli('explain', `${at}:1`, '--html', page)).code).toBe(0);
    const html = readFileSync(page, 'utf8');
    expect(html).not.toMatch(/<script|<img|<b>|<i>/);
    expect(html).toContain("default-src 'none'");
    expect(html).toContain('prefers-color-scheme: dark');
    expect(html).toMatch(/<span title="steps: 1 points" style="[^"]*linear-gradient[^"]*">35\+17=52<\/span>/);
    expect(html).toContain('The stored reward is the same, to the last bit.');
    // All of the response is there, in its order.
    const pre = html.split('<pre')[2]?.split('</pre>')[0] ?? '';
    const bare = pre.replace(/^[^>]*>/, '').replace(/<[^>]*>/g, '');
    expect(bare).toBe(
      `<think>${evil}</think><answer>23</answer>`
        .replaceAll('&', '&amp;')
        .replaceAll('<', '&lt;')
        .replaceAll('>', '&gt;')
        .replaceAll('"', '&quot;')
        .replace('\u202e', '\\u{202e}'),
    );
    expect(explainHtml(sample(''), 'zh')).toContain('（空）');
  });

  it('--json: the sample, its trace, the check', async () => {
    const shown = JSON.parse((await cli('explain', `${file}:5`, '--json')).out) as Record<string, never>;
    expect(shown).toMatchObject({
      place: `${file}:5`,
      response: RESPONSES[1],
      trace: { total: 0.85 },
      check: { sum: 0.85, exact: true },
      group: { size: 3, rank: 2 },
    });
  });
});

describe('process supervision', () => {
  it('shows what each step was told, and no formula for the whole', async () => {
    const steps = row(RESPONSES[0] ?? '', { step: 1, advantage: 0.5, step_advantages: [1.25, -0.75] });
    const { code, out } = await cli(
      'explain',
      `${writeRows('process.jsonl', [steps, { ...steps, advantage: -0.5 }])}:1`,
    );
    expect(code).toBe(0);
    expect(out).toContain('      rule   points  advantage  text\n  S1  steps       1       1.25  35+17=52\n');
    expect(out).toContain('  S2  steps       1      -0.75  52-29=23\n');
    expect(out).toContain('Advantage: 0.5 (mean over the tokens)');
  });
});

describe('the documents', () => {
  it.each([
    ['white-box.md', 'en'],
    ['white-box.zh.md', 'zh'],
  ])('%s: its example is what the command prints', async (name, language) => {
    const text = readFileSync(new URL(`../../../../docs/${name}`, import.meta.url), 'utf8');
    const [line = '', printed = ''] = [...text.matchAll(/```(?:json|text)\n([\s\S]*?)\n```/g)].map((match) => match[1]);
    const rules = /sample\.jsonl:1 --rules (\S+?)[` ]/.exec(text)?.[1] ?? '';
    const given = path.join(dir, 'sample.jsonl');
    writeFileSync(given, `${line}\n`);
    const { out } = await cli('explain', `${given}:1`, '--rules', rules, '--language', language);
    expect(out.replace(`${dir}/`, '').trimEnd()).toBe(printed);
  });
});

describe('a trace that does not add up', () => {
  it('is told, with exit code 1', async () => {
    const wrong = row(RESPONSES[0] ?? '');
    const forged = writeRows('forged.jsonl', [{ ...wrong, trace: { ...(wrong.trace as object), total: 3 } }]);
    const { code, out } = await cli('explain', `${forged}:1`);
    expect(code).toBe(1);
    expect(out).toContain('= 2.066666666666667, but the stored reward is 3. The trace is not the one');
    const last = JSON.parse((await cli('explain', `${forged}:1`, '--json')).out) as { check: object };
    expect(last.check).toEqual({ sum: 2.066666666666667, exact: false });
  });

  it('nor an advantage that its group does not give', async () => {
    mkdirSync(path.join(dir, 'other/samples'), { recursive: true });
    writeFileSync(path.join(dir, 'other/recipe.yaml'), readFileSync(path.join(run, 'recipe.yaml')));
    const rows = RESPONSES.map((response) => row(response, { step: 1, advantage: 0.25 }));
    const { code, out } = await cli('explain', `${writeRows('other/samples/zero.jsonl', rows)}:1`);
    expect(code).toBe(1);
    expect(out).toContain('but the stored one is 0.25');
  });

  it('is refused when it is of another response', async () => {
    const mixed = writeRows('mixed.jsonl', [{ ...row(RESPONSES[0] ?? ''), response: 'x' }]);
    const { code, err } = await cli('explain', `${mixed}:1`);
    expect(code).toBe(2);
    expect(err).toContain('mixed.jsonl:1: the trace is not of this response: the rule accuracy shows [');
  });
});

describe('which sample', () => {
  const place = async (...args: string[]): Promise<string> => {
    const { out, err } = await cli('explain', ...args);
    return `${out.split('\n')[0]?.replace(`${file}:`, '')}${err}`;
  };

  it.each([
    [[], '7 · step 2 · zh'],
    [['--index', '2'], '8 · step 2 · zh'],
    [['--step', '1'], '1 · step 1 · zh'],
    [['--step', '1', '--index', '5'], '5 · step 1 · zh'],
    [['--best'], '1 · step 1 · zh'],
    [['--worst'], '3 · step 1 · zh'],
    [['--worst', '--step', '2'], '7 · step 2 · zh'],
  ])('%j: line %s', async (args, expected) => {
    expect(await place(run, 'zero', ...args)).toBe(expected);
    expect(await place(run, ...args)).toBe(expected); // the only stage with samples
    expect(await place(file, ...args)).toBe(expected);
  });

  it('--random --seed: the same one again, and not always the same', async () => {
    const seen: string[] = [];
    for (const seed of [1, 2, 3, 4, 5, 6, 1]) seen.push(await place(run, '--random', '--seed', String(seed)));
    expect(seen[6]).toBe(seen[0]);
    expect(new Set(seen).size).toBeGreaterThan(1);
  });

  it('wrong ones: exit 2, and what there is', async () => {
    for (const [args, message] of [
      [[`${file}:99`], 'zero.jsonl:99: there is no such line'],
      [[path.join(dir, 'no.jsonl')], 'there is no file or folder'],
      [[run, 'zeros'], 'Did you mean zero?'],
      [[dir], 'is no run folder with samples'],
      [[run, '--step', '9'], '--step 9: '],
      [[run, '--index', '3'], '--index 3: there are 2 samples in step 2'],
      [[run, '--best', '--worst'], 'give one of them'],
      [[run, '--seed', '1'], '--seed 1: would be ignored'],
      [[`${file}:1`, '--best'], 'names a line already'],
      [[file, 'zero'], 'zero: would be ignored'],
      [[`${file}:1`, '--rules', 'accuracy'], '--rules accuracy: would be ignored'],
      [[run, '--import', 'x.mjs'], '--import x.mjs: would be ignored'],
      [[run, '--html', path.join(dir, 'no/x.html')], 'there is no folder'],
      [['-', 'zero'], 'zero: would be ignored'],
    ] as const) {
      const { code, err } = await cli('explain', ...args);
      expect(err).toContain(message);
      expect(code).toBe(2);
    }
  });
});

describe('responses of other programs', () => {
  const line = { question: 'Tom has 80, loses 21.', answer: '59', response: '80-21=59. The answer is 59.' };

  it('are judged by --rules', async () => {
    const other = writeRows('outputs.jsonl', [line]);
    const { code, out } = await cli('explain', `${other}:1`, '--rules', 'accuracy,steps=0.5');
    expect(code).toBe(0);
    expect(out).toContain('Sum: 1 + 0.5 = 1.5.\n');
    expect(out).not.toContain('stored');
    expect((await cli('explain', `${other}:1`)).err).toContain(
      'has no trace; name the rules to judge it by with --rules',
    );
  });

  it('come from dunwu score --full, with what explains them', async () => {
    const other = writeRows('outputs.jsonl', [line]);
    const full = await cli('score', other, '--rules', 'accuracy,steps=0.5', '--json', '--full');
    const scored = path.join(dir, 'scored.jsonl');
    writeFileSync(scored, full.out);
    expect((await cli('explain', `${scored}:1`)).out).toContain('Sum: 1 + 0.5 = 1.5. The stored reward is the same');
    writeFileSync(scored, (await cli('score', other, '--json')).out);
    expect((await cli('explain', `${scored}:1`)).err).toContain('write it with `dunwu score --full`');
    expect((await cli('score', other, '--full')).err).toContain('--full: would be ignored');
  });

  it('are read from standard input', () => {
    expect(sampleOfText(`${JSON.stringify(row('23'))}\n`, null).trace.total).toBe(0);
    expect(() => sampleOfText(' ', null)).toThrow('standard input is empty');
    expect(() => sampleOfText('[1]', null)).toThrow('standard input: is no JSON object: "[1]"');
    expect(() => sampleOfText('{"response":3}', null)).toThrow('key "prompt"');
  });
});
