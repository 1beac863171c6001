import { describe, expect, it } from 'vitest';
import { languageOf } from './language.js';
import { createTask, TASK_TYPES, taskSchema } from './registry.js';

describe('createTask', () => {
  it('makes each type of task', () => {
    expect(TASK_TYPES).toEqual(['word-problem', 'equation', 'dataset', 'general', 'mixture', 'subset']);
    expect(createTask({ type: 'word-problem' }).id).toBe('word-problem');
    const weighted = (type: string) => ({ weight: 1, task: { type } });
    const mixed = createTask({ type: 'mixture', parts: [weighted('equation'), weighted('general')] });
    expect(mixed.fixed('test', 4).map(({ source }) => source)).toEqual(['equation', 'general', 'equation', 'general']);
    expect(createTask({ type: 'equation', steps: [1, 1] }).fixed('train', 1)[0]?.source).toBe('equation');
  });

  it('fills in defaults', () => {
    expect(taskSchema.parse({ type: 'word-problem', operations: { add: 2, mul: 1 } })).toMatchObject({
      steps: [2, 4],
      operations: { add: 2, sub: 0, mul: 1, div: 0 },
      operand: { small: [2, 9], large: [10, 29], small_share: 0.4 },
      bounds: [0, 99],
      markers: true,
    });
  });

  it('names what is wrong', () => {
    expect(() => createTask({ type: 'chess' })).toThrow(
      'type "chess"; type must be one of word-problem, equation, dataset, general, mixture',
    );
    expect(() => createTask(null)).toThrow('no type');
    expect(() => createTask({ type: 'word-problem', stepz: 1 })).toThrow(
      'task (word-problem): Unrecognized key: "stepz"',
    );
    expect(() => createTask({ type: 'equation', bounds: [9, 1] })).toThrow('bounds: expected [low, high]');
    expect(() => createTask({ type: 'dataset' })).toThrow('path: ');
    const nested = { type: 'mixture', parts: [{ weight: 1, task: { type: 'mixture' } }] };
    expect(() => createTask(nested)).toThrow('task (mixture): ');
    expect(() => createTask({ type: 'general', kinds: { repeat: 0 } })).toThrow(
      'kinds: at least one kind needs a weight',
    );
    expect(() => createTask({ type: 'dataset', path: 'x.jsonl' }, '/no/such')).toThrow('/no/such/x.jsonl: cannot open');
  });
});

describe('languageOf', () => {
  it('goes by the script, variables aside', () => {
    expect(languageOf('How many are left?')).toBe('en');
    expect(languageOf('还剩多少张？')).toBe('zh');
    expect(languageOf('已知a×b=120，且a：4=x：b，求x。')).toBe('zh');
    expect(languageOf('The word 家 means home.')).toBe('en');
  });
});
