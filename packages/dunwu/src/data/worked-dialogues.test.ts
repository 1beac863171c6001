import { describe, expect, it } from 'vitest';
import type { Problem, Task } from '../task/problem.js';
import { createTask } from '../task/registry.js';
import { isWorkedTask } from '../task/worked.js';
import { Random } from '../util/random.js';
import { type WorkedDialogue, workedDialogues } from './worked-dialogues.js';

const task = createTask({ type: 'word-problem', steps: [2, 4], operations: { add: 1, sub: 1, mul: 0.4 } });
const rng = new Random('problems');
const problems = Array.from({ length: 200 }, () => task.sample(rng, 'train'));

const response = ({ messages }: WorkedDialogue): string => messages[1]?.content ?? '';
const answer = (row: WorkedDialogue): string => /<answer>(.*)<\/answer>$/.exec(response(row))?.[1] ?? '';
const results = (row: WorkedDialogue): number[][] =>
  [...response(row).matchAll(/(\d+)[-+*/](\d+)=(\d+)/g)].map(([, a, b, c]) => [Number(a), Number(b), Number(c)]);

describe('a task’s own solutions', () => {
  it('are right, one for each problem', () => {
    const rows = workedDialogues(task, problems, { wrong: 0, seed: 1 });
    expect(rows.map(answer)).toEqual(problems.map((problem) => problem.answer));
    expect(rows.map(({ messages }) => messages[0]?.content)).toEqual(problems.map(({ prompt }) => prompt));
    if (!isWorkedTask(task)) throw new Error('expected a worked task');
    expect(response(rows[7] as WorkedDialogue)).toBe(task.solve(problems[7] as Problem));
  });

  it('a share is wrong: exactly so many, each with its mistake carried through to a wrong answer', () => {
    const rows = workedDialogues(task, problems, { wrong: 0.3, seed: 1 });
    const wrong = rows.filter(({ mistake }) => mistake !== undefined);
    expect(wrong).toHaveLength(60);
    rows.forEach((row, i) => {
      const right = problems[i]?.answer;
      if (row.mistake === undefined) expect(answer(row)).toBe(right);
      else expect(answer(row)).not.toBe(right);
      // Whatever was found is what is gone on with, and what is answered.
      const lines = results(row);
      lines.slice(1).forEach(([left], at) => {
        expect(left).toBe(lines[at]?.[2]);
      });
      expect(String(lines.at(-1)?.[2])).toBe(answer(row));
    });
    expect(wrong.filter(({ mistake }) => mistake === 'bug').length).toBeGreaterThan(30);
    const slip = wrong.filter(({ mistake }) => mistake === 'slip');
    expect(slip.length).toBeGreaterThan(3);
  });

  it('equal seeds are wrong in the same place; a larger share keeps the wrong ones of a smaller', () => {
    const badOf = (wrong: number, seed: number) =>
      workedDialogues(task, problems, { wrong, seed }).flatMap((row, i) =>
        row.mistake ? [`${i} ${response(row)}`] : [],
      );
    expect(badOf(0.2, 5)).toEqual(badOf(0.2, 5));
    expect(badOf(0.2, 5)).not.toEqual(badOf(0.2, 6));
    const more = new Set(badOf(0.5, 5));
    expect(more.size).toBe(100);
    expect(badOf(0.2, 5).every((row) => more.has(row))).toBe(true);
    expect(badOf(1, 5)).toHaveLength(200);
  });

  it('tasks that cannot are refused', () => {
    const general = createTask({ type: 'general' });
    const some = [general.sample(rng, 'train')];
    expect(workedDialogues(general, some, { wrong: 0, seed: 1 })).toHaveLength(1);
    expect(() => workedDialogues(general, some, { wrong: 0.5, seed: 1 })).toThrow('general has no calculations');
    const mute: Task = { ...task, id: 'mute' };
    delete (mute as { solve?: unknown }).solve;
    expect(() => workedDialogues(mute, [], { wrong: 0, seed: 1 })).toThrow('task mute cannot write solutions');
  });
});
