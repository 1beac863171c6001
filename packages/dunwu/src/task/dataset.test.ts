import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Random } from '../util/random.js';
import { codeTestsSchema } from './code-tests.js';
import { createDataset } from './dataset.js';
import { SPLITS } from './problem.js';

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'dunwu-dataset-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

const write = (name: string, text: string): string => {
  writeFileSync(join(folder, name), text);
  return name;
};
const open = (path: string, more: object = {}) => createDataset({ type: 'dataset', path, ...more }, folder);
const all = (task: ReturnType<typeof open>) => SPLITS.flatMap((split) => task.fixed(split, task.size(split)));

const gsm = {
  question: 'Natalia sold 48 clips in April, and half as many in May. How many in all, if 1,000 cost $2.50?',
  answer: 'In May 48/2 = <<48/2=24>>24.\nTogether 48+24 = <<48+24=72>>72.\n#### 72',
};
const cmath = {
  grade: 2,
  question: '米米摘了32个桃，淘淘多８个，一共多少个？',
  golden: '72',
  reasoning_step: 2,
  num_digits: 2,
};

describe('dataset', () => {
  it('reads both shapes, with BOM, CRLF, blank lines and no last newline', () => {
    const path = write('both.jsonl', `\ufeff${JSON.stringify(gsm)}\r\n\r\n${JSON.stringify(cmath)}`);
    const problems = all(open(path)).sort((a, b) => Number(a.meta.line) - Number(b.meta.line));
    expect(problems).toEqual([
      {
        id: 'both:1',
        prompt: gsm.question,
        answer: '72',
        source: 'both',
        language: 'en',
        meta: {
          line: 1,
          numbers: [48, 1000, 2.5],
          steps: [
            { equation: '48/2=24', expression: '48/2', result: '24' },
            { equation: '48+24=72', expression: '48+24', result: '72' },
          ],
          solution: 'In May 48/2 = 24.\nTogether 48+24 = 72.',
        },
      },
      {
        id: 'both:3',
        prompt: cmath.question,
        answer: '72',
        source: 'both',
        language: 'zh',
        meta: { line: 3, numbers: [32, 8], grade: 2, reasoningSteps: 2 },
      },
    ]);
  });

  it('reads MATH: the last box of the solution is the gold answer, unless there is one', () => {
    const solution = 'We get $\\boxed{1}$ first, so $x \\in \\boxed{\\left(0, \\frac{1}{2}\\right]}$.';
    const rows = [
      { problem: 'Solve.', solution, level: 'Level 3', type: 'Algebra' },
      { problem: 'Solve it.', solution, answer: '\\{1,2\\}', subject: 'Algebra', level: 3, unique_id: 'x' },
    ];
    const found = all(open(write('math-rows.jsonl', rows.map((row) => JSON.stringify(row)).join('\n'))));
    expect(found.toSorted((a, b) => (a.id < b.id ? -1 : 1))).toEqual([
      {
        id: 'math-rows:1',
        prompt: 'Solve.',
        answer: '\\left(0, \\frac{1}{2}\\right]',
        source: 'math-rows',
        language: 'en',
        meta: { line: 1, numbers: [], solution, level: 'Level 3', subject: 'Algebra' },
      },
      {
        id: 'math-rows:2',
        prompt: 'Solve it.',
        answer: '\\{1,2\\}',
        source: 'math-rows',
        language: 'en',
        meta: { line: 2, numbers: [], solution, level: 3, subject: 'Algebra' },
      },
    ]);
  });

  it("reads code problems: tests in place of an answer, the language is the program's", () => {
    const row = {
      question: '请写一个函数，返回两个数的和。',
      language: 'javascript',
      entry: 'add',
      tests: [{ args: [1, 2], expected: 3 }],
    };
    const [problem] = all(open(write('code.jsonl', JSON.stringify(row))));
    expect(problem).toEqual({
      id: 'code:1',
      prompt: row.question,
      source: 'code',
      language: 'zh',
      meta: {
        line: 1,
        numbers: [],
        tests: { language: 'javascript', entry: 'add', tolerance: 0, cases: row.tests },
      },
    });
    const refused = (more: object) => () => open(write('bad.jsonl', JSON.stringify({ ...row, ...more })));
    expect(refused({ language: 'ruby' })).toThrow(/bad\.jsonl:1: "language": found "ruby".*javascript, python alone/);
    expect(refused({ tests: [{ input: '1', output: '2' }] })).toThrow(
      /bad\.jsonl:1: "tests\.0.*with "entry" a case is/,
    );
    const printing = { entry: undefined, tests: [{ input: '1', output: '2' }] };
    expect(refused({ ...printing, tolerance: 0.1 })).toThrow(
      /bad\.jsonl:1: "tolerance": would be ignored: without "entry"/,
    );
    const [stream] = all(open(write('stream.jsonl', JSON.stringify({ ...row, ...printing }))));
    expect(codeTestsSchema.parse(stream?.meta.tests)).toEqual(stream?.meta.tests);
    expect(refused({ answer: '#### 3' })).toThrow(/"answer" beside "tests" would be ignored/);
  });

  it('splits by the question, the same way in any order, without repeats', () => {
    const rows = Array.from({ length: 400 }, (_, i) =>
      JSON.stringify({ question: `What is ${i}+1?`, golden: `${i + 1}` }),
    );
    const task = open(write('a.jsonl', `${rows.join('\n')}\n${rows[3]?.replace('What is', 'what  IS')}\n`));
    const turned = open(write('b.jsonl', rows.toReversed().join('\n')));
    expect(task.counts.repeated).toBe(1);
    expect(task.size('train') + task.size('validation') + task.size('test')).toBe(400);
    expect(task.size('train')).toBeGreaterThan(290);
    expect(task.size('train')).toBeLessThan(350);
    for (const split of SPLITS) {
      const prompts = (t: typeof task) => t.fixed(split, t.size(split)).map(({ prompt }) => prompt);
      expect(prompts(turned)).toEqual(prompts(task));
    }
    expect(new Set(all(task).map(({ prompt }) => prompt)).size).toBe(400);
    const rng = new Random(1);
    const test = new Set(task.fixed('test', task.size('test')).map(({ id }) => id));
    for (let i = 0; i < 1000; i++) expect(test.has(task.sample(rng, 'train').id)).toBe(false);
    expect(() => task.fixed('test', 401)).toThrow(/the test split has \d+ problems, 401 asked for/);
  });

  it('takes the test split from its own file, and keeps it out of training', () => {
    const row = (i: number) => JSON.stringify({ question: `What is ${i}+1?`, golden: i + 1 });
    const path = write('train.jsonl', Array.from({ length: 100 }, (_, i) => row(i)).join('\n'));
    const test = write('test.jsonl', [row(5), row(1000)].join('\n'));
    const task = open(path, { test, source: 'sums' });
    expect(task.counts).toMatchObject({ test: 2, inTest: 1, repeated: 0 });
    expect(task.size('train') + task.size('validation')).toBe(99);
    expect(
      task
        .fixed('test', 2)
        .map(({ id }) => id)
        .sort(),
    ).toEqual(['sums:test:1', 'sums:test:2']);
    expect(all(task).filter(({ prompt }) => prompt === 'What is 5+1?')).toHaveLength(1);
  });

  it.each([
    ['empty.jsonl', '', 'empty.jsonl: the file has no problems'],
    ['broken.jsonl', `${JSON.stringify(gsm)}\n{"question": "a`, 'broken.jsonl:2: not valid JSON'],
    ['list.jsonl', '[1]', 'list.jsonl:1: found a list; expected GSM8K'],
    [
      'keys.jsonl',
      '{"prompt": "a", "answer": "#### 1"}',
      'keys.jsonl:1: neither "question" nor "problem" among the keys prompt, answer',
    ],
    ['gold.jsonl', '{"question": "a"}', 'gold.jsonl:1: neither "answer" nor "golden" among the keys question'],
    ['mark.jsonl', '{"question": "a", "answer": "72"}', 'mark.jsonl:1: "answer" has no final answer after "####"'],
    ['none.jsonl', '{"question": "a", "answer": "so ####"}', 'none.jsonl:1: "answer" has nothing after "####"'],
    [
      'type.jsonl',
      '\n{"question": 1, "answer": "#### 1"}',
      'type.jsonl:2: "question" must be a text that is not empty',
    ],
    ['golden.jsonl', '{"question": "a", "golden": null}', 'golden.jsonl:1: "golden" must be a text or a number'],
    ['math.jsonl', '{"problem": "a"}', 'math.jsonl:1: neither "answer" nor "solution" among the keys problem'],
    [
      'box.jsonl',
      '{"problem": "a", "solution": "so 5"}',
      'box.jsonl:1: "solution" has no \\boxed{…} that holds the answer',
    ],
    ['holds.jsonl', '{"problem": "a", "solution": "\\\\boxed{}"}', 'holds.jsonl:1: "solution" has an empty \\boxed{}'],
    ['blank.jsonl', '{"problem": "a", "answer": " "}', 'blank.jsonl:1: "answer" is empty'],
    ['grade.jsonl', '{"question": "a", "golden": "1", "grade": "two"}', 'grade.jsonl:1: "grade" must be a number'],
  ])('names file, line and what is wrong: %s', (name, text, message) => {
    expect(() => open(write(name, text))).toThrow(message);
  });

  it('says which file is not there, and which split is empty', () => {
    expect(() => open('missing.jsonl')).toThrow(`${join(folder, 'missing.jsonl')}: cannot open: no such file`);
    const one = open(write('one.jsonl', JSON.stringify(cmath)));
    const empty = SPLITS.filter((split) => one.size(split) === 0);
    expect(empty).toHaveLength(2);
    expect(() => one.sample(new Random(1), empty[0] ?? 'test')).toThrow('split is empty');
  });

  const rows = (questions: readonly (string | readonly [string, unknown])[]): string =>
    questions
      .map((each) => (typeof each === 'string' ? { question: each } : { question: each[0], language: each[1] }))
      .map((row) => JSON.stringify({ ...row, golden: '1' }))
      .join('\n');
  const languages = (task: ReturnType<typeof open>) =>
    all(task)
      .sort((a, b) => Number(a.meta.line) - Number(b.meta.line))
      .map(({ language }) => language);
  const french = 'Marie a douze pommes dans son panier et elle en donne trois. Combien lui en reste-t-il ?';
  const russian = 'У Марии было двенадцать яблок, и она отдала три из них сестре. Сколько яблок у неё осталось?';
  const japanese = '太郎君はりんごを五個持っています。全部でいくつですか。';

  it('tells the language of each question, and what is too short by the rest of the file', () => {
    expect(languages(open(write('fr.jsonl', rows([french, `${french} Dis-le.`, '3 + 4 = ?']))))).toEqual([
      'fr',
      'fr',
      'fr',
    ]);
    const mixed = [french, russian, japanese, '小红有三个苹果，一共多少个？', 'How many apples are there in all?'];
    expect(languages(open(write('mixed.jsonl', rows(mixed))))).toEqual(['fr', 'ru', 'ja', 'zh', 'en']);
  });

  it('leaves English and Chinese files by script, odd sentences included', () => {
    const english = Array.from({ length: 12 }, (_, i) => `How many apples are there if Tom has ${i}?`);
    const questions = [...english, french, '3 + 4 = ?', '我有三个の苹果，一共多少个？'];
    expect(languages(open(write('en.jsonl', rows(questions))))).toEqual([...Array(14).fill('en'), 'zh']);
  });

  it('formulas are in no language', () => {
    const maths = [
      'Compute $\\sin x + \\frac{donc le reste est pour nous}{y}$.',
      'Simplify \\dfrac{3}{4} \\cdot \\sqrt{7}.',
    ];
    expect(languages(open(write('maths.jsonl', rows(maths))))).toEqual(['en', 'en']);
  });

  it("a row's own language goes first, then the config's", () => {
    const path = write('own.jsonl', rows([[french, 'ca'], `${french} Dis-le.`, '3 + 4 = ?']));
    expect(languages(open(path, { language: 'de' }))).toEqual(['ca', 'de', 'de']);
    expect(languages(open(path, { language: 'sw' }))).toEqual(['ca', 'sw', 'sw']); // which the library does not know
  });

  it('refuses codes that it does not know, with those that it does', () => {
    const path = write('code.jsonl', rows([french, ['5 - 1 = ?', 'French']]));
    expect(() => open(path)).toThrow(/code\.jsonl:2: "language": "French" is no ISO 639-1 code .* de, dv, dz,/);
    expect(() => open(path, { language: 'xx' })).toThrow(
      /\\?"xx\\?" is no ISO 639-1 code of a language; known are aa, ab,/,
    );
  });
});

it('JSON and Parquet files hold problems too, and faults are told with their place', () => {
  const parquet = fileURLToPath(new URL('../util/testing/golden/problems.parquet', import.meta.url));
  const task = createDataset({ type: 'dataset', path: parquet });
  const found = (['train', 'validation', 'test'] as const).flatMap((split) => task.fixed(split, task.size(split)));
  expect(found).toHaveLength(32);
  expect(found.find(({ id }) => id === 'problems:7')).toMatchObject({
    prompt: '6 apples and 6 more?',
    answer: '12',
    meta: { line: 7, steps: [{ equation: '6+6=12' }] },
  });
  expect(found.find(({ id }) => id === 'problems:31')).toMatchObject({ answer: '\\frac{1}{2}' });
  expect(found.find(({ id }) => id === 'problems:32')).toMatchObject({ answer: 'x^2' });
  const rows = [{ question: '1+1?', answer: '#### 2' }, { question: '1+2?' }];
  const file = write('set.json', JSON.stringify(rows));
  expect(() => open(file)).toThrow(/set\.json:entry 2: neither "answer" nor "golden"/);
  expect(all(open(write('one.json', JSON.stringify(rows.slice(0, 1)))))).toMatchObject([
    { prompt: '1+1?', answer: '2' },
  ]);
});

it('a template is put around each question; numbers and language are those of the question', () => {
  const file = write(
    'told.jsonl',
    `${JSON.stringify({ question: '小明有7个$&苹果，吃了2个？', answer: '7-2=5\n#### 5' })}\n`,
  );
  const [problem] = all(open(file, { template: 'Answer in 3 steps.\n{question} Think first.' }));
  expect(problem).toMatchObject({
    prompt: 'Answer in 3 steps.\n小明有7个$&苹果，吃了2个？ Think first.',
    language: 'zh',
    meta: { numbers: [7, 2] },
  });
  expect(() => open(file, { template: 'no place' })).toThrow(/must have \{question\}/);
});
