import { describe, expect, it } from 'vitest';
import { RewardProgram } from '../reward/program.js';
import { createGeneralCorpus } from './general.js';

describe('general corpus', () => {
  it('has good and flawed responses in the given share', () => {
    const source = createGeneralCorpus({ type: 'general', flawed: 0.25 }, 1);
    const program = new RewardProgram({ rules: { instruction: 1, format: 1, language: 1 } });
    let flawed = 0;
    for (let i = 0; i < 1000; i++) {
      const document = source.next();
      if (document === undefined) throw new Error('the corpus ended');
      const { problem, question, response, flaw } = document;
      expect(question).toBe(problem.prompt);
      const parts = program.score(problem, response).parts;
      if (flaw === undefined) expect(parts.slice(0, 2).map(({ points }) => points)).toEqual([1, 1]);
      else {
        flawed += 1;
        expect([response, parts.some(({ points }) => points < 1)]).toEqual([response, true]);
      }
    }
    expect(Math.abs(flawed - 250)).toBeLessThan(5 * Math.sqrt(1000 * 0.25 * 0.75));
  });

  it('goes on from its state', () => {
    const source = createGeneralCorpus({ type: 'general' }, 7);
    for (let i = 0; i < 5; i++) source.next();
    const state = JSON.parse(JSON.stringify(source.state)) as unknown;
    const expected = Array.from({ length: 5 }, () => source.next());
    const other = createGeneralCorpus({ type: 'general' }, 'another seed');
    other.restore(state);
    expect(Array.from({ length: 5 }, () => other.next())).toEqual(expected);
    expect(() => other.restore({ random: [1] })).toThrow();
  });

  it('refuses flaws that there are not', () => {
    expect(() => createGeneralCorpus({ type: 'general', flaws: ['worse' as 'wrong'] }, 1)).toThrow();
  });
});
