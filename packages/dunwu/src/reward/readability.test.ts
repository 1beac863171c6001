import { describe, expect, it } from 'vitest';
import type { Problem } from '../task/problem.js';
import { FREE_REPETITION, MAX_PARAGRAPH, readability, readabilityParts } from './readability.js';
import { readabilityRule } from './rules/readability.js';
import { repetitionRule } from './rules/repetition.js';

const problem: Problem = { id: 'p', prompt: 'q', answer: '48', source: 's', language: 'en', meta: {} };
const CODE = '```python\nx = 80 - 21\n```';

describe('readability', () => {
  it.each([
    ['She has 80-21=59 cards left, then 59-11=48.', 'en'],
    ['她还剩80-21=59张，再去掉11张，就是59-11=48张。', 'zh'],
    ['80-21=59\n59-11=48', 'zh'],
    ['#1: 80-21=59\n#2: 59*2=118\n#3: 118-4=114', 'en'],
  ])('an honest solution loses nothing: %j', (text, language) => {
    expect(readability(text, language)).toBe(1);
  });

  it('is the product of four parts', () => {
    const words = readabilityParts('小明有 five cards', 'zh');
    expect(words).toMatchObject({ language: 3 / 5, repetition: 1, paragraphs: 1, prose: 1, total: 3 / 5 });
    const again = readabilityParts('a b c d e f '.repeat(2), 'fr');
    expect(again?.repetition).toBeCloseTo(1 - (3 / 9 - FREE_REPETITION) / (1 - FREE_REPETITION), 12);
    const text = `${CODE} she has 59`;
    const code = readabilityParts(text, 'en');
    expect(code?.prose).toBe(1 - 19 / 27); // characters that are no space
    expect(code?.total).toBe(code?.prose);
  });

  it('measures paragraphs in columns', () => {
    const distinct = (n: number) => Array.from({ length: n }, (_, i) => String.fromCodePoint(0x4e00 + i)).join('');
    expect(readabilityParts(distinct(MAX_PARAGRAPH / 2), 'zh')?.paragraphs).toBe(1);
    expect(readabilityParts(distinct(MAX_PARAGRAPH), 'zh')).toMatchObject({
      paragraphs: 0.5,
      evidence: [[MAX_PARAGRAPH / 2, MAX_PARAGRAPH]],
    });
    expect(readabilityParts(`${distinct(300)}\n${distinct(300).slice(50)}`, 'zh')?.paragraphs).toBe(1);
  });

  it('finds code without a fence, and leaves a formula alone', () => {
    const program = 'def f(x):\n  y = x - 21;\n  print(y)\n';
    expect(readabilityParts(program, 'en')?.prose).toBe(0);
    expect(readabilityParts('So\n\\[ x = \\frac{1}{2} \\]\nand f(x)=2;', 'en')?.prose).toBe(1);
  });

  it('a blank text is not readable', () => {
    expect(readability('', 'en')).toBe(0);
    expect(readability('<think> </think>', 'en')).toBe(0);
  });

  it('the rule reads everything but the tags, or the thought alone, and shows what costs points', () => {
    const response = '<think>小明 has 48</think><answer>四十八</answer>';
    const part = readabilityRule()(problem, response);
    expect(part).toMatchObject({ points: 1 / 6, status: 'wrong', note: 'language 0.167' });
    expect(part.evidence.map(([start, end]) => response.slice(start, end))).toEqual(['小明', '四十八']);
    expect(readabilityRule({ reads: 'thought' })(problem, response).points).toBe(1 / 3);
    expect(readabilityRule()(problem, '<think></think>')).toMatchObject({ points: 0, status: 'unparsable' });
    expect(readabilityRule()(problem, 'It is 48.')).toMatchObject({ points: 1, status: 'ok' });
  });
});

describe('rule repetition', () => {
  it.each([
    ['<think>80-21=59; 59-11=48</think>', 1, 'ok', []],
    // 15 tokens, 12 4-grams: seven of the last eight were there (59 80 - 21 is new only once).
    ['<think>80-21=59\n80-21=59\n80-21=59</think>', (1 - 7 / 12) / 0.9, 'wrong', ['80-21=59\n80-21=59']],
    ['<think> </think>80-21=59', 0, 'unparsable', []],
  ])('%j gets %f', (response, points, status, passages) => {
    const part = repetitionRule()(problem, response);
    expect(part).toMatchObject({ name: 'repetition', max: 1, status });
    expect(part.points).toBeCloseTo(points, 12);
    expect(part.evidence.map(([start, end]) => response.slice(start, end))).toEqual(passages);
  });

  it('has a free share', () => {
    const response = '<think>a b c d a b c d</think>'; // one of five
    expect(repetitionRule({ free: 0.2 })(problem, response).points).toBe(1);
    expect(repetitionRule({ free: 0 })(problem, response).points).toBe(0.8);
    expect(() => repetitionRule({ free: 1 })).toThrow();
  });
});
