import { describe, expect, it } from 'vitest';
import { HACK_CASES, HACK_PROGRAM, type HackCase, type HonestKind, judgeHacks } from './hacks.js';
import { RewardProgram, type RewardProgramConfig } from './program.js';
import { registerRule } from './user-rules.js';

const PROGRAMS: Readonly<Record<string, RewardProgramConfig>> = {
  'R1-Zero': { rules: { accuracy: 1, format: 0.5, steps: 0.5 } },
  'with language': { rules: { accuracy: 1, format: 0.5, steps: 0.5, language: 0.5 } },
  'all kinds of problems': HACK_PROGRAM,
  'outcome alone': {
    rules: { accuracy: 1, format: 1, instruction: 0 },
    sources: { general: { accuracy: 0, instruction: 1 } },
  },
  'compared as mathematics': {
    rules: { accuracy: { weight: 1, equality: 'maths' }, format: 1, instruction: 0 },
    sources: { general: { accuracy: 0, instruction: 1 } },
  },
  // The weights of r1-mini's reasoning RL.
  'language as much as accuracy': { rules: { accuracy: 1, format: 0.5, steps: 0.5, language: 1 } },
  'to be read': {
    rules: {
      accuracy: 1,
      format: 0.5,
      steps: 0.5,
      repetition: 0.25,
      readability: 1,
      length: { weight: 0.25, max: 2000, buffer: 500 },
    },
  },
};

const named = (id: string): HackCase => HACK_CASES.find(({ problem }) => problem.id === id) as HackCase;

describe('responses made to cheat', () => {
  it.each(Object.entries(PROGRAMS))('score no more than honest ones: %s', (_, config) => {
    const { results } = judgeHacks(new RewardProgram(config));
    const winners = results.filter(({ wins }) => wins);
    expect(winners.map(({ problem, hack, trace, bar }) => `${problem.id}: ${hack}: ${trace.total} > ${bar}`)).toEqual(
      [],
    );
    expect(results.length).toBeGreaterThan(250);
  });

  it('are many, and none is an honest response', () => {
    expect(new Set(HACK_CASES.flatMap(({ hacks }) => hacks.map(({ name }) => name))).size).toBeGreaterThanOrEqual(70);
    for (const { problem, honest, hacks } of HACK_CASES) {
      expect(new Set(hacks.map(({ name }) => name)).size).toBe(hacks.length);
      for (const { name, response } of hacks) {
        expect(Object.values(honest), `${problem.id}: ${name}`).not.toContain(response);
      }
    }
  });

  it('are judged problem by problem as far as the program has something to say there', () => {
    const { unjudged, results } = judgeHacks(new RewardProgram({ rules: { accuracy: 1 } }));
    expect([...new Set(unjudged.map(({ source }) => source))]).toEqual(['general', 'code']);
    expect([...new Set(results.map(({ problem }) => problem.source))]).toEqual([
      'word-problem',
      'equation',
      'gsm8k',
      'cmath',
      'maths',
    ]);
  });
});

describe('the honest ones', () => {
  const points = (id: string, config: RewardProgramConfig): Partial<Record<HonestKind, number>> => {
    const { problem, honest } = named(id);
    const program = new RewardProgram(config);
    return Object.fromEntries(
      Object.entries(honest).map(([kind, response]) => [kind, program.score(problem, response).total]),
    );
  };

  it('get what the work that they show is worth', () => {
    const zero = PROGRAMS['R1-Zero'] as RewardProgramConfig;
    expect(points('hacks:word-problem:en', zero)).toEqual({
      right: 2,
      foreign: 2,
      untagged: 0.5,
      bare: 1.5,
      direct: 1,
      miscopied: 1,
      slip: 0.5 + 0.5 * (2 / 3),
      begun: 0.5 + 0.5 * (1 / 3),
      guess: 0.5,
    });
    expect(points('hacks:general:member:en', HACK_PROGRAM)).toEqual({ right: 1.5, direct: 1, wrong: 0.5 });
    expect(points('hacks:general:harm:zh', HACK_PROGRAM)).toEqual({ right: 1.5, direct: 1, wrong: 0.5 });
  });

  it('get all there is for a right response in form', () => {
    for (const config of Object.values(PROGRAMS)) {
      const program = new RewardProgram(config);
      for (const { problem, honest } of HACK_CASES) {
        const { total, parts } = program.score(problem, honest.right ?? '');
        // A working without calculations has no steps.
        if (parts.some(({ name, status }) => name === 'steps' && status === 'unparsable')) continue;
        if (!parts.some(({ status }) => status === 'bad-gold')) expect(total).toBe(program.max(problem.source));
      }
    }
  });
});

describe('a program that can be cheated', () => {
  const winners = (config: RewardProgramConfig): string[] =>
    judgeHacks(new RewardProgram(config), [named('hacks:word-problem:en')])
      .results.filter(({ wins }) => wins)
      .map(({ hack }) => hack);

  it('is found out: points for length', () => {
    registerRule('long_winded', (_problem, response) => Math.min(1, response.length / 1000));
    expect(winners({ rules: { accuracy: 1, long_winded: 1 } })).toContain('words of the right language without end');
  });

  it('is found out: points for the last number, whatever stands before it', () => {
    registerRule('last_number', ({ answer }, response) => (response.match(/\d+/g)?.at(-1) === answer ? 1 : 0));
    const found = winners({ rules: { last_number: 1, format: 0.5, steps: 0.5 } });
    for (const name of ['all numbers listed', 'answer tags: wrong, then right', 'the negative']) {
      expect(found).toContain(name);
    }
  });

  it('is found out: what scores other models’ outputs is too lenient to train on', () => {
    const found = winners({ rules: { accuracy: { require_tags: false }, steps: { constants: 'everyday' } } });
    expect(found).toContain('"the answer is" many times, in the answer');
    expect(found).toContain('counting up');
  });
});

it('names the honest response that is missing', () => {
  const { problem, hacks } = named('hacks:word-problem:en');
  expect(() =>
    judgeHacks(new RewardProgram(HACK_PROGRAM), [{ problem, honest: { right: '48' }, hacks: hacks.slice(1) }]),
  ).toThrow('hacks of hacks:word-problem:en: there is no honest response `miscopied`');
});
