import { describe, expect, it } from 'vitest';
import { Random } from '../util/random.js';
import type { Problem } from './problem.js';
import { createTask, taskSchema } from './registry.js';

const whole = { type: 'word-problem', steps: [2, 2] } as const;
const expressions = (problems: readonly Problem[]) => problems.map(({ meta }) => meta.expression);

describe('subset', () => {
  const task = createTask({ type: 'subset', n: 3, task: whole });
  const first = createTask(whole).fixed('train', 3);

  it('draws its n training problems, all of them and no others', () => {
    expect(task.size('train')).toBe(3);
    const rng = new Random('draws');
    const drawn = Array.from({ length: 200 }, () => task.sample(rng, 'train').id);
    expect(new Set(drawn)).toEqual(new Set(first.map(({ id }) => id)));
    expect(task.fixed('train', 2)).toEqual(first.slice(0, 2));
    expect(() => task.fixed('train', 4)).toThrow('it has 3 training problems, 4 asked for');
  });

  it('validation and test are the whole task’s, and so is how problems are solved', () => {
    expect(expressions(task.fixed('test', 5))).toEqual(expressions(createTask(whole).fixed('test', 5)));
    expect(task.size('validation')).toBe(Number.POSITIVE_INFINITY);
    expect(task.id).toBe('word-problem');
    expect('solve' in task).toBe(true);
  });

  it('of a mixture, and refusals', () => {
    const mixed = createTask({
      type: 'subset',
      n: 4,
      task: {
        type: 'mixture',
        parts: [
          { weight: 1, task: whole },
          { weight: 1, task: { type: 'general' } },
        ],
      },
    });
    expect(mixed.fixed('train', 4).map(({ source }) => source)).toEqual([
      'word-problem',
      'general',
      'word-problem',
      'general',
    ]);
    expect(taskSchema.safeParse({ type: 'subset', n: 0, task: whole }).success).toBe(false);
    expect(taskSchema.safeParse({ type: 'subset', n: 2, task: { type: 'subset', n: 1, task: whole } }).success).toBe(
      false,
    );
  });
});
