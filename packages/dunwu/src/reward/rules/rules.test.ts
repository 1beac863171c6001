import { describe, expect, it } from 'vitest';
import type { Problem } from '../../task/problem.js';
import { accuracyRule } from './accuracy.js';
import { formatRule } from './format.js';
import { languageConsistency, languageRule, mixesLanguages } from './language.js';
import { lengthRule } from './length.js';
import { goldSteps, stepsRule } from './steps.js';

function problem(over: Partial<Problem> = {}): Problem {
  return {
    id: 'p',
    prompt: 'Mary has 80 cards. She loses 21, then 11. How many are left?',
    answer: '48',
    source: 'test',
    language: 'en',
    meta: {},
    ...over,
  };
}

const slices = (response: string, spans: readonly (readonly [number, number])[]): string[] =>
  spans.map(([start, end]) => response.slice(start, end));

describe('format', () => {
  const judge = (response: string) => formatRule()(problem(), response);

  it.each([
    ['<think>a</think><answer>1</answer>', 'ok'],
    [' <think>\na\n</think>\n\n<answer> 1 </answer>\n', 'ok'],
    ['1', 'unparsable'],
    ['', 'unparsable'],
    ['<think>a</think>', 'wrong'],
    ['<answer>1</answer>', 'wrong'],
    ['<think>a<answer>1</answer>', 'wrong'],
    ['<answer>1</answer><think>a</think>', 'wrong'],
    ['<think> </think><answer>1</answer>', 'wrong'],
    ['<think>a</think><answer> </answer>', 'wrong'],
    ['<think>\u200b\u3164</think><answer>1</answer>', 'wrong'],
    ['<think>……</think><answer>1</answer>', 'wrong'],
    ['<think>a</think><answer>\u200b</answer>', 'wrong'],
    ['<think>a</think><answer>∅</answer>', 'ok'],
    ['Hi <think>a</think><answer>1</answer>', 'wrong'],
    ['<think>a</think> so <answer>1</answer>', 'wrong'],
    ['<think>a</think><answer>1</answer>.', 'wrong'],
    ['<think>a</think><answer>1</answer><answer>1</answer>', 'wrong'],
    ['<think><think>a</think></think><answer>1</answer>', 'wrong'],
    ['<think>a<answer>1</think></answer>', 'wrong'],
  ])('%j is %s', (response, status) => {
    expect(judge(response)).toMatchObject({ status, points: status === 'ok' ? 1 : 0, max: 1 });
  });

  it('shows the tags it found and says what is wrong', () => {
    const response = '<think>a</think> so <answer>1</answer>';
    const part = judge(response);
    expect(slices(response, part.evidence)).toEqual(['<think>', '</think>', '<answer>', '</answer>']);
    expect(part.note).toBe('there is text outside the tags');
    expect(judge('<think>a</think>').note).toBe('<answer> stands 0 times, not once');
  });
});

describe('accuracy', () => {
  it.each([
    ['<answer>48</answer>', 'ok'],
    ['<answer>49</answer>', 'wrong'],
    ['<answer>48, 49</answer>', 'wrong'],
    ['<answer>48</answer><answer>49</answer>', 'wrong'],
    ['<answer>48 or forty-nine</answer>', 'wrong'],
    ['<answer>48，四十九</answer>', 'wrong'],
    ['<answer>48或九</answer>', 'wrong'],
    ['<answer>48 ٤٩</answer>', 'wrong'],
    ['<answer>48 ①</answer>', 'wrong'],
    ['<answer>48 (forty-eight)</answer>', 'ok'],
    ['<answer>四十八（48）</answer>', 'ok'],
    ['<answer>一共48张</answer>', 'ok'],
    ['<answer>48 cm²</answer>', 'ok'],
    ['<answer>48千克</answer>', 'ok'],
    ['<answer>48 百 千 万</answer>', 'ok'],
    ['<answer>分成两份，每份48</answer>', 'ok'],
    ['<answer>the only one is 48</answer>', 'ok'],
    ['<answer>many</answer>', 'unparsable'],
    ['48', 'unparsable'],
    ['#### 48', 'unparsable'],
  ])('in training only the tag counts: %j is %s', (response, status) => {
    expect(accuracyRule()(problem(), response)).toMatchObject({ status, points: status === 'ok' ? 1 : 0 });
  });

  it('scores any form when tags are not required, and shows where', () => {
    const response = 'So 80-21-11 = 48.\nThe answer is 48 cards.';
    const part = accuracyRule({ require_tags: false })(problem(), response);
    expect(part.status).toBe('ok');
    expect(part.evidence).toEqual([[response.lastIndexOf('48'), response.lastIndexOf('48') + 2]]);
  });

  it.each([undefined, '', 'Monday', '48 or 49'])('a gold answer %j is not the response’s fault', (answer) => {
    const rule = accuracyRule({ equality: 'number' });
    expect(rule(problem({ answer }), '<answer>48</answer>')).toMatchObject({ status: 'bad-gold', points: 0 });
  });

  it.each([
    ['\\frac{3}{4}', '<answer>0.75</answer>', 'ok'],
    ['\\frac{3}{4}', '<answer>$\\frac{6}{8}$</answer>', 'ok'],
    ['\\frac{3}{4}', '<answer>\\frac{4}{3}</answer>', 'wrong'],
    ['(0,1]', '<answer>\\boxed{0 < x \\le 1}</answer>', 'ok'],
    ['x^2+2x+1', '<answer>(x+1)^2</answer>', 'ok'],
    ['\\frac{3}{4}', '<answer>So the answer is 0.75.</answer>', 'ok'],
    ['\\frac{3}{4}', '<answer>1, or the answer is 0.75.</answer>', 'wrong'],
    ['2x', '<answer>2</answer>', 'wrong'],
    ['2^3', '<answer>8</answer>', 'ok'],
    ['So $x=1$ or $2$.\n#### \\{1, 2\\}', '<answer>2, 1</answer>', 'ok'],
    ['\\{1,2\\}', '<answer>\\frac{</answer>', 'unparsable'],
    ['\\{1,2\\}', '\\{1,2\\}', 'unparsable'],
    ['\\{1,2\\}', '<answer>\\{1,2\\}</answer><answer>\\{1,3\\}</answer>', 'wrong'],
    ['\\frac{', '<answer>1</answer>', 'bad-gold'],
    ['\\frac{', 'nothing', 'bad-gold'],
    ['', '<answer>1</answer>', 'bad-gold'],
    ['Monday', '<answer>monday</answer>', 'ok'],
  ])('compares as mathematics where the gold answer %j is no number: %j is %s', (answer, response, status) => {
    const part = accuracyRule()(problem({ answer }), response);
    expect(part).toMatchObject({ status, points: status === 'ok' ? 1 : 0 });
  });

  it('compares numbers exactly as ever, unless maths is asked for', () => {
    const response = '<answer>\\sqrt{64}</answer>';
    const ask = (equality: 'auto' | 'number' | 'maths') =>
      accuracyRule({ equality })(problem({ answer: '8' }), response);
    expect([ask('auto').status, ask('number').status, ask('maths').status]).toEqual(['unparsable', 'unparsable', 'ok']);
    expect(slices(response, ask('maths').evidence)).toEqual(['\\sqrt{64}']);
  });

  it('hands its options on, and refuses those that would be ignored', () => {
    const judge = (answer: string, given: string, options: object) =>
      accuracyRule({ equality: 'maths', ...options })(problem({ answer }), `<answer>${given}</answer>`).status;
    expect(judge('5 cm', '5', {})).toBe('ok');
    expect(judge('5 cm', '5', { units: 'match' })).toBe('wrong');
    expect(judge('5 cm', '0.05 m', { units: 'match' })).toBe('ok');
    expect(judge('\\sqrt{2}', '1.41', {})).toBe('ok');
    expect(judge('\\sqrt{2}', '1.41', { decimals: 3 })).toBe('wrong');
    expect(judge('3.14', '\\pi', {})).toBe('wrong');
    expect(judge('3.14', '\\pi', { tolerance: 0.001 })).toBe('ok');
    expect(() => accuracyRule({ equality: 'number', units: 'match' })).toThrow('not with `equality: number`');
  });

  it('understands a gold rationale', () => {
    const answer = '80-21=<<80-21=59>>59\n59-11=<<59-11=48>>48\n#### 48';
    expect(accuracyRule()(problem({ answer }), '<answer>48.0</answer>').status).toBe('ok');
  });
});

describe('steps', () => {
  const judge = (response: string, over: Partial<Problem> = {}, options = {}) =>
    stepsRule(options)(problem(over), response);

  it('gives every right and relevant step its share', () => {
    const response = '<think>80-21=59\n59-11=48</think><answer>48</answer>';
    const part = judge(response);
    expect(part).toMatchObject({ points: 1, status: 'ok' });
    expect(slices(response, part.evidence)).toEqual(['80-21=59', '59-11=48']);
    expect(part.steps?.map((step) => step.points)).toEqual([1, 1]);
  });

  it('takes a wrong step alone: the next one may go on from its result', () => {
    const part = judge('<think>80-21=58; 58-11=47</think>');
    expect(part.points).toBe(1 / 2);
    expect(part.steps?.map((step) => step.points)).toEqual([0, 1]);
  });

  it('gives nothing for true steps that have nothing to do with the problem, nor for what follows from them', () => {
    const part = judge('<think>1+1=2; 2+2=4; 80-21=59</think>');
    expect(part.steps?.map((step) => step.points)).toEqual([0, 0, 1]);
    expect(part.points).toBe(1 / 3);
  });

  it('counts a repeated step once, whatever its order and units', () => {
    const part = judge('<think>80-21=59; 80 cards - 21 cards = 59 cards; 80-21=59</think>', { meta: { steps: 2 } });
    expect(part.steps?.map((step) => step.points)).toEqual([1, 0, 0]);
    expect(part.points).toBe(1 / 2);
    expect(judge('<think>80-21=59; 80-21=59</think>').points).toBe(1);
  });

  it('is relative to the gold steps when they are known and more', () => {
    const meta = { steps: ['80-21=59', '59-11=48'] };
    expect(judge('<think>80-21=59</think>', { meta }).points).toBe(1 / 2);
    expect(judge('<think>80-21=59</think>', { meta }, { relative_to_gold: false }).points).toBe(1);
    expect(judge('<think>21+11=32; 80-32=48</think>', { meta }).points).toBe(1);
    expect(judge('<think>80-21=59; 59-11=48; 80+21=100</think>', { meta }).points).toBe(2 / 3);
  });

  it('neither pays nor charges for adding nothing', () => {
    const part = judge('<think>80*1=80; 21+0=21; 80-21=59; 59-11=48</think>');
    expect(part.points).toBe(1);
    expect(part.steps?.map((step) => step.points)).toEqual([0, 0, 1, 1]);
    expect(judge('<think>80*1=80</think>')).toMatchObject({ points: 0, status: 'wrong' });
  });

  it('takes chains a=b=c step by step', () => {
    const part = judge('<think>80-21-11=59-11=48</think>');
    expect(part.steps?.map((step) => step.points)).toEqual([1, 1]);
  });

  it('allows everyday numbers beside the problem’s only when told', () => {
    const prompt = 'Weng earns $12 an hour. She worked 50 minutes.';
    const response = '<think>12/60=0.2; 0.2*50=10; 12*60=720; 60*100=6000</think>';
    const points = (options: object) => judge(response, { prompt }, options).steps?.map((step) => step.points);
    expect(points({})).toEqual([0, 0, 0, 0]);
    expect(points({ constants: 'everyday' })).toEqual([1, 1, 1, 0]);
  });

  it('finds the problem’s numbers in words, percent and Chinese', () => {
    const good = (prompt: string, equation: string): number => judge(equation, { prompt }).points;
    expect(good('Twenty percent of sixty-five', '65*0.2=13')).toBe(1);
    expect(good('half of 28', '28/2=14')).toBe(1);
    expect(good('A price of 50 rises by 20%', '50*1.2=60')).toBe(1);
    expect(good('三个人分十二个苹果', '12/3=4')).toBe(1);
    expect(good('１２个苹果，一半', '12/2=6')).toBe(1);
    expect(good('A price of 50', '50*1.2=60')).toBe(0);
  });

  it('takes the numbers of clauses (#1, #2) for no numbers of the problem', () => {
    const prompt = 'Mary has 80 cards. #1 loses 21. #2 now has 2 times as many.';
    const steps = judge('<think>1+1=2; 80+1=81; 80-21=59; 59*2=118</think>', { prompt }).steps;
    expect(steps?.map((step) => step.points)).toEqual([0, 0, 1, 1]);
  });

  it('reads the thought only, and says when there is nothing to read', () => {
    expect(judge('<think>hm</think><answer>80-21=59</answer>')).toMatchObject({ points: 0, status: 'unparsable' });
    expect(judge('80-21=59 <answer>59</answer>').status).toBe('ok');
  });

  it('knows the shapes of meta.steps', () => {
    expect(goldSteps(problem({ meta: { steps: [{ equation: '1+1=2' }] } }))).toBe(1);
    expect(goldSteps(problem({ meta: { steps: 3 } }))).toBe(3);
    expect(goldSteps(problem())).toBeNull();
  });
});

describe('language', () => {
  it.each([
    ['She has five cards', 'en', 1],
    ['She has five cards', 'zh', 0],
    ['小明有五张卡片', 'zh', 1],
    ['小明有 cards 五张', 'zh', 5 / 6],
    ['小明有 8 张，8 - 2 = 6', 'zh', 1],
    ['长 5 km，重 3kg，x = 5', 'zh', 1],
    ['<think>小明</think><answer>A</answer>', 'zh', 1],
    ['小明 \\frac{1}{2} \\times 3 `print` ```python\nx = 1\n```', 'zh', 1],
    ["It's a dog", 'en', 1],
    ['80-21=59', 'en', null],
    ['', 'en', null],
  ] as const)('languageConsistency(%j, %s) = %s', (text, language, share) => {
    expect(languageConsistency(text, language)).toBe(share);
  });

  it.each([
    ['小明有 five cards', true],
    ['小明有五张卡片', false],
    ['She has five cards', false],
    ['80-21=59', false],
    [`${'小明有五张卡片'.repeat(10)} Mary`, false],
  ])('mixesLanguages(%j) = %s', (text, mixed) => {
    expect(mixesLanguages(text)).toBe(mixed);
  });

  it('judges the thought, not the answer, and shows the foreign runs', () => {
    const response = '<think>小明有 five cards 和 two</think><answer>seven</answer>';
    const part = languageRule()(problem({ language: 'zh' }), response);
    expect(part).toMatchObject({ points: 4 / 7, status: 'wrong' });
    expect(slices(response, part.evidence)).toEqual(['five cards', 'two']);
    expect(languageRule()(problem(), '<think>1+1=2</think>')).toMatchObject({ points: 0, status: 'unparsable' });
  });
});

describe('length', () => {
  it.each([
    [60, 1],
    [80, 1],
    [90, 0.5],
    [100, 0],
    [200, 0],
  ])('%d characters of at most 100 with a buffer of 20: %d', (length, points) => {
    expect(lengthRule({ max: 100, buffer: 20 })(problem(), 'x'.repeat(length)).points).toBe(points);
  });

  it('without a buffer, falls at once', () => {
    expect(lengthRule({ max: 10 })(problem(), 'x'.repeat(10)).points).toBe(1);
    expect(lengthRule({ max: 10 })(problem(), 'x'.repeat(11)).points).toBe(0);
    expect(() => lengthRule({ max: 10, buffer: 11 })).toThrow('buffer must not be larger than max');
  });
});
