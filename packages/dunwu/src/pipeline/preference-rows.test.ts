import { describe, expect, it } from 'vitest';
import { RewardProgram } from '../reward/program.js';
import { finalPart } from '../reward/tags.js';
import { createGeneral } from '../task/general.js';
import { Random } from '../util/random.js';
import {
  bestAgainstWorst,
  flawedPairs,
  flipLabels,
  type ScoredRow,
  safetyRows,
  sampledSafety,
} from './preference-rows.js';

const task = createGeneral({ type: 'general' });

const row = (id: string, response: string, total: number, harmful = false): ScoredRow => ({
  id,
  prompt: `${id}?`,
  response,
  source: 's',
  language: 'en',
  total,
  harmful,
});

describe('flawedPairs', () => {
  const pairs = flawedPairs(task, 400, new Random(1), 'final');

  it('has a good and a worse response to training problems, different in the final part, no row twice', () => {
    const held = new Set([...task.fixed('test', 300), ...task.fixed('validation', 300)].map(({ prompt }) => prompt));
    for (const { prompt, chosen, rejected } of pairs) {
      expect(held.has(prompt)).toBe(false);
      expect(finalPart(chosen)).not.toBe(finalPart(rejected));
    }
    expect(new Set(pairs.map(({ prompt, rejected }) => prompt + rejected)).size).toBe(400);
    expect(new Set(pairs.map(({ id }) => id)).size).toBe(400);
    expect(flawedPairs(task, 400, new Random(1), 'final')).toEqual(pairs);
  });

  it('chosen follows the instruction, rejected has fewer points', () => {
    const rules = new RewardProgram({ rules: { instruction: 1, format: 1, language: 1 } });
    const problems = new Map(task.fixed('train', 500).map((problem) => [problem.prompt, problem]));
    const known = pairs.filter(({ prompt }) => problems.has(prompt));
    expect(known.length).toBeGreaterThan(20);
    for (const { prompt, chosen, rejected } of known) {
      const problem = problems.get(prompt);
      if (problem === undefined) continue;
      expect([rejected, rules.score(problem, chosen).total > rules.score(problem, rejected).total]).toEqual([
        rejected,
        true,
      ]);
    }
  });

  it('says when the task has not so many', () => {
    const small = createGeneral({ type: 'general', harmful: 0, kinds: { repeat: 1 }, languages: { en: 1 } });
    expect(() => flawedPairs(small, 5000, new Random(1), 'whole', ['refused'])).toThrow(
      /found \d+ different rows, 5000/,
    );
  });
});

describe('bestAgainstWorst', () => {
  it('pairs the most with the fewest points, skips ties and what is too near', () => {
    const rows = [
      row('a', 'x', 1),
      row('a', 'y', 2.5),
      row('a', 'z', 0),
      row('a', 'w', 2.5),
      row('b', 'x', 1),
      row('b', 'y', 1),
      row('c', 'x', 0.5),
      row('c', 'y', 1),
    ];
    const pair = { id: 'a#0', prompt: 'a?', chosen: 'y', rejected: 'z', source: 's', language: 'en' };
    expect(bestAgainstWorst(rows, 1, 'whole')).toEqual({
      pairs: [{ ...pair, points: { chosen: 2.5, rejected: 0 } }],
      ties: 2,
    });
    expect(bestAgainstWorst(rows, 0, 'whole').pairs.map(({ id }) => id)).toEqual(['a#0', 'c#1']);
    const same = [row('a', '<think>p</think>1', 1), row('a', '<think>q</think>1', 0)];
    expect(bestAgainstWorst(same, 0, 'final')).toEqual({ pairs: [], ties: 1 });
    expect(bestAgainstWorst(same, 0, 'whole').pairs).toHaveLength(1);
  });
});

describe('safety', () => {
  it('refusals of harmful prompts are safe, compliance is not, other prompts cannot be unsafe', () => {
    const rows = safetyRows(createGeneral({ type: 'general', harmful: 0.6 }), 600, new Random(2));
    const harmful = rows.filter(({ prompt }) => /^(Tell me how|告诉我怎么)/.test(prompt));
    const unsafe = rows.filter(({ safe }) => !safe);
    expect(unsafe.every((one) => harmful.includes(one))).toBe(true);
    for (const { response, safe } of harmful) {
      expect(safe).toBe(/I cannot help with that\.|我不能帮这个忙。/.test(response));
    }
    // Half of 60 % of 600.
    expect(Math.abs(unsafe.length - 180)).toBeLessThan(5 * Math.sqrt(600 * 0.3 * 0.7));
  });

  it('marks what was sampled, each text once', () => {
    const rows = [
      row('a', 'I cannot help with that.', 1, true),
      row('a', 'Take 5.', 0, true),
      row('a', 'Take 5.', 0, true),
      row('b', 'Take 5.', 0),
    ];
    expect(sampledSafety(rows).map(({ id, safe }) => [id, safe])).toEqual([
      ['a#0', true],
      ['a#1', false],
      ['b#2', true],
    ]);
  });
});

describe('flipLabels', () => {
  it('turns round the share that it is told to, and nothing else', () => {
    const { pairs } = bestAgainstWorst(
      Array.from({ length: 20 }, (_, i) => row(`p${i >> 1}`, `r${i}`, i)),
      0,
      'whole',
    );
    const flipped = flipLabels(pairs, 0.3, new Random(1));
    const turned = flipped.filter((one) => one.flipped === true);
    expect(turned).toHaveLength(3);
    flipped.forEach((one, i) => {
      const was = pairs[i];
      if (was === undefined) throw new Error('no pair');
      const expected = one.flipped ? { ...was, chosen: was.rejected, rejected: was.chosen, flipped: true } : was;
      expect(one).toEqual(expected);
    });
    expect(flipLabels(pairs, 0.3, new Random(1))).toEqual(flipped);
    const [safe] = flipLabels(sampledSafety([row('a', 'no', 0)]), 1, new Random(1));
    expect(safe).toMatchObject({ safe: false, flipped: true });
  });
});
