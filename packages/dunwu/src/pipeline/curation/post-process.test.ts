import { describe, expect, test } from 'vitest';
import { RewardProgram } from '../../reward/program.js';
import type { Problem } from '../../task/problem.js';
import { dropRepeatedLines, normaliseLines, postProcess, stripOutside, summary } from './post-process.js';

const problem = (language: string): Problem => ({
  id: 'p',
  prompt: '?',
  answer: '59',
  source: 's',
  language,
  meta: {},
});

describe('normalise_lines', () => {
  test('white space of every kind, blank lines, line ends, composed characters', () => {
    expect(
      normaliseLines(
        '<think>\r\n#1  loses 21:\t80-21=59 \r\n\r\n\u3000#2 gets\u00a01\n</think> \n <answer> 59\n</answer>\n',
      ),
    ).toBe('<think>#1 loses 21: 80-21=59\n#2 gets 1</think><answer>59</answer>');
    expect(normaliseLines('cafe\u0301')).toBe('caf\u00e9');
    expect(normaliseLines(' \n\t\n')).toBe('');
  });
  test('a text in form stays as it is; doing it twice changes nothing more', () => {
    const text = '<think>a b\nc</think><answer>1</answer>';
    expect(normaliseLines(text)).toBe(text);
    const wild = ' x <think>  a\n\n b </think>\n\n <answer> 2 ';
    expect(normaliseLines(normaliseLines(wild))).toBe(normaliseLines(wild));
  });
});

test('drop_repeated_lines: neighbours only, the first stays', () => {
  expect(dropRepeatedLines('a\na\na\nb\na')).toBe('a\nb\na');
});

describe('strip_outside', () => {
  test('before, between and after', () => {
    expect(stripOutside('Sure! <think>a</think> so <answer>1</answer> bye')).toBe('<think>a</think><answer>1</answer>');
  });
  test.each([
    '<think>a</think>1',
    '<answer>1</answer><think>a</think>',
    '<think>a<think>b</think><answer>1</answer>',
    'x',
  ])('nothing is taken from %s', (text) => expect(stripOutside(text)).toBe(text));
});

describe('summary', () => {
  test('a bare number becomes a sentence in the language of the problem, and stays right', () => {
    const text = '<think>80-21=59</think><answer>59</answer>';
    const english = '<think>80-21=59</think><answer>So the answer is 59.</answer>';
    const chinese = '<think>80-21=59</think><answer>所以答案是59。</answer>';
    expect(summary(text, problem('en'))).toBe(english);
    expect(summary(text, problem('zh'))).toBe(chinese);
    const program = new RewardProgram({ rules: { accuracy: 1, format: 1 } });
    for (const [form, language] of [
      [english, 'en'],
      [chinese, 'zh'],
    ] as const) {
      expect(program.score(problem(language), form).total).toBe(2);
      expect(program.score({ ...problem(language), answer: '58' }, form).total).toBe(1);
      expect(summary(form, problem(language))).toBe(form); // a sentence already
    }
    const { answer: _, ...open } = problem('en');
    expect(summary(text, open)).toBe(text);
  });
  test.each([
    '<think>a</think>59',
    '<answer>59',
    '<answer>1</answer><answer>2</answer>',
    '<answer>hello</answer>',
    '<answer></answer>',
  ])('%s is left alone', (text) => expect(summary(text, problem('en'))).toBe(text));
});

test('steps go in the order given', () => {
  const text = 'ok\n<think>a\na</think>\n<answer>59</answer>';
  expect(postProcess(text, problem('zh'), [])).toBe(text);
  expect(postProcess(text, problem('zh'), ['normalise_lines', 'strip_outside', 'drop_repeated_lines', 'summary'])).toBe(
    '<think>a\na</think><answer>所以答案是59。</answer>', // "<think>a" and "a</think>…" are different lines
  );
});
