import { describe, expect, it } from 'vitest';
import type { Language, Problem } from './problem.js';
import { createWordProblem } from './word-problem.js';
import { type GoldStep, goldSteps, rework } from './worked.js';

// Mary has 80 cards, loses 21, gets 15: 80-21=59, 59+15=74.
const steps: GoldStep[] = [
  { op: 'sub', left: 80, right: 21, result: 59, equation: '80-21=59', verb: { en: 'loses', zh: '丢了' } },
  { op: 'add', left: 59, right: 15, result: 74, equation: '59+15=74', leftFrom: 0, verb: { en: 'gets', zh: '得到' } },
];
const problem = (language: Language): Problem => ({
  id: 'p',
  prompt: language === 'en' ? 'Mary has 80 cards. …' : '小明有80张卡片。…',
  answer: '74',
  source: 'word-problem',
  language,
  meta: { steps },
});
const task = createWordProblem({ type: 'word-problem' });
const unmarked = createWordProblem({ type: 'word-problem', markers: false });

describe('worked solutions', () => {
  it('are right and in the language of the problem', () => {
    expect(task.solve(problem('en'))).toBe('<think>#1 loses: 80-21=59\n#2 gets: 59+15=74</think><answer>74</answer>');
    expect(task.solve(problem('zh'))).toBe('<think>#1 丢了：80-21=59\n#2 得到：59+15=74</think><answer>74</answer>');
    expect(unmarked.solve(problem('en'))).toBe('<think>loses: 80-21=59\ngets: 59+15=74</think><answer>74</answer>');
    expect(unmarked.solve(problem('zh'))).toBe('<think>丢了：80-21=59\n得到：59+15=74</think><answer>74</answer>');
  });

  it('can lack the format', () => {
    expect(task.solve(problem('en'), { format: 'none' })).toBe('#1 loses: 80-21=59\n#2 gets: 59+15=74\nanswer 74');
    expect(task.solve(problem('zh'), { format: 'none' })).toBe('#1 丢了：80-21=59\n#2 得到：59+15=74\n答案是74');
    expect(task.solve(problem('en'), { format: 'unclosed-think' })).toBe(
      '<think>#1 loses: 80-21=59\n#2 gets: 59+15=74<answer>74</answer>',
    );
    expect(task.solve(problem('en'), { format: 'unclosed-answer' })).toBe(
      '<think>#1 loses: 80-21=59\n#2 gets: 59+15=74</think><answer>74',
    );
  });

  it('answer directly without an empty thought', () => {
    expect(task.solve(problem('en'), { direct: true })).toBe('<answer>74</answer>');
    expect(task.solve(problem('en'), { direct: true, format: 'none' })).toBe('answer 74');
    expect(task.solve(problem('zh'), { direct: true, format: 'unclosed-answer' })).toBe('<answer>74');
  });

  it('take languages in turn, the answer line too', () => {
    const languages = ['zh', 'en'] as const;
    expect(task.solve(problem('en'), { languages })).toBe(
      '<think>#1 丢了：80-21=59\n#2 gets: 59+15=74</think><answer>74</answer>',
    );
    expect(task.solve(problem('en'), { languages, format: 'none' })).toBe(
      '#1 丢了：80-21=59\n#2 gets: 59+15=74\n答案是74',
    );
  });

  it('carry a wrong result through later steps', () => {
    const wrong = rework(steps, (op, left, right) => (op === 'sub' ? 69 : left + right));
    expect(wrong?.map((step) => step.equation)).toEqual(['80-21=69', '69+15=84']);
    expect(task.solve(problem('en'), { steps: wrong ?? [] })).toBe(
      '<think>#1 loses: 80-21=69\n#2 gets: 69+15=84</think><answer>84</answer>',
    );
    expect(rework(steps)).toEqual(steps);
    expect(rework(steps, () => undefined)).toBeUndefined();
  });

  it('need gold steps', () => {
    const bare = { ...problem('en'), id: 'gsm8k:3', meta: { steps: [{ equation: '1+1=2' }] } };
    expect(() => goldSteps(bare)).toThrow('problem gsm8k:3: no worked steps in meta.steps');
  });
});
