import { describe, expect, test } from 'vitest';
import { RewardProgram } from '../../reward/program.js';
import type { Problem } from '../../task/problem.js';
import { Random } from '../../util/random.js';
import { acceptNotes, acceptTable } from './accept-table.js';
import { type Judged, keepSchema, refusal, verdicts } from './keep.js';

const rewards = new RewardProgram({
  rules: { accuracy: 1, format: 0.5, language: 0.25 },
  sources: { free: { accuracy: 0 } },
});
const problem = (over: Partial<Problem> = {}): Problem => ({
  id: 'p',
  prompt: '?',
  answer: '59',
  source: 'word-problem',
  language: 'en',
  meta: {},
  ...over,
});
const judged = (response: string, over: Partial<Judged> = {}, of = problem()): Judged => ({
  problem: of,
  sample: 0,
  raw: response,
  response,
  trace: rewards.score(of, response),
  reason: 'stop',
  length: 9,
  ...over,
});
const good = '<think>we lose some: 80-21=59</think><answer>59</answer>';
const mixed = '<think>we lose 丢了: 80-21=59</think><answer>59</answer>';
const wrong = '<think>we lose some: 80-21=58</think><answer>58</answer>';
const formless = 'we lose some 59';

describe('refusal', () => {
  const keep = keepSchema.parse({ require: ['accuracy', 'format'], min_points: { language: 0.6 }, min_total: 1.7 });
  test('the first reason, in the declared order', () => {
    expect(refusal(judged(good), keep)).toBe(null); // 1 + 0.5 + 0.25 = 1.75
    expect(refusal(judged(good, { reason: 'length' }), keep)).toBe('truncated');
    expect(refusal(judged(' \n'), keep)).toBe('empty');
    expect(refusal(judged(wrong), keep)).toBe('accuracy');
    expect(refusal(judged(formless), keep)).toBe('accuracy'); // tags are required
    expect(refusal(judged(`${good} well`), keep)).toBe('format');
    expect(refusal(judged(mixed), keep)).toBe('language'); // 2 of 4 words
  });
  test('points are compared as they are, and so is the total', () => {
    expect(refusal(judged(mixed), keepSchema.parse({ min_points: { language: 0.5 } }))).toBe(null);
    expect(refusal(judged(mixed), keepSchema.parse({ min_total: 1.625 }))).toBe(null); // 1 + 0.5 + 0.125
    expect(refusal(judged(mixed), keepSchema.parse({ min_total: 1.63 }))).toBe('min_total');
  });
  test('a rule that the source is not judged by asks nothing', () => {
    const free = problem({ source: 'free' });
    expect(refusal(judged(wrong, {}, free), keepSchema.parse({ require: ['accuracy', 'format'] }))).toBe(null);
  });
});

describe('verdicts', () => {
  const long = '<think>we lose some of them: 80-21=59</think><answer>59</answer>';
  const group = [wrong, long, good, good, mixed].map((response, sample) => judged(response, { sample }));
  const ask = (over: object) => keepSchema.parse({ require: ['accuracy'], ...over });
  const rng = () => new Random('a');

  test('shortest, highest, repeats', () => {
    expect(verdicts(group, ask({ choose: 'shortest' }), rng())).toEqual([
      'accuracy',
      'not-chosen',
      'not-chosen', // longer than the mixed one
      'duplicate',
      'kept',
    ]);
    expect(verdicts(group, ask({ choose: 'highest', per_problem: 2 }), rng())).toEqual([
      'accuracy',
      'kept',
      'kept',
      'duplicate',
      'not-chosen',
    ]);
    expect(verdicts(group, ask({ choose: 'highest', per_problem: 5, unique: false }), rng())).toEqual([
      'accuracy',
      'kept',
      'kept',
      'kept',
      'kept',
    ]);
  });
  test('random: each one that passed is chosen about as often, the same again for the same seed', () => {
    const counts = [0, 0, 0, 0, 0];
    for (let i = 0; i < 600; i++) {
      const found = verdicts(group, ask({}), new Random(i));
      expect(found.filter((verdict) => verdict === 'kept')).toHaveLength(1);
      expect(verdicts(group, ask({}), new Random(i))).toEqual(found);
      const chosen = found.indexOf('kept');
      counts[chosen] = (counts[chosen] ?? 0) + 1;
    }
    expect(counts[0]).toBe(0);
    expect(counts[3]).toBe(0);
    // 200 each; the standard deviation is 11.5.
    for (const i of [1, 2, 4]) expect(Math.abs((counts[i] as number) - 200)).toBeLessThan(50);
  });
});

test('the table counts by language and by reason', () => {
  const zh = problem({ id: 'q', language: 'zh' });
  const rows = [judged(good), judged(wrong), judged(good), judged('不', {}, zh)];
  const table = acceptTable(rows, ['kept', 'accuracy', 'duplicate', 'accuracy']);
  expect(table).toEqual({
    languages: [
      { language: 'en', problems: 1, drawn: 3, passed: 2, kept: 1, covered: 1 },
      { language: 'zh', problems: 1, drawn: 1, passed: 0, kept: 0, covered: 0 },
    ],
    reasons: [
      { reason: 'accuracy', count: 2 },
      { reason: 'duplicate', count: 1 },
    ],
  });
  const [drawn, why] = acceptNotes(table) as { en: string; zh: string }[];
  expect(drawn?.en).toContain('| en | 1 | 3 | 2 (66.7 %) | 1 | 1 (100.0 %) |');
  expect(why?.zh).toContain('| `accuracy` | 2 | 50.0 % |');
  expect(why?.zh).toContain('| 文本重复 | 1 | 25.0 % |');
});
