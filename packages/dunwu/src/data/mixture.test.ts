import { describe, expect, it } from 'vitest';
import { createTask } from '../task/registry.js';
import type { DocumentSource } from './document.js';
import { createMixtureSource } from './mixture.js';
import { createSource, sourceSchema } from './source.js';

const list = (name: string, count: number): DocumentSource<string> => {
  let at = 0;
  return {
    next: () => (at < count ? `${name}${at++}` : undefined),
    get state() {
      return at;
    },
    restore(state) {
      at = state as number;
    },
    close() {},
  };
};
const make = () =>
  createMixtureSource(
    [
      { weight: 3, source: list('a', 300) },
      { weight: 1, source: list('b', 5) },
    ],
    1,
  );
const drain = (source: DocumentSource<string>): string[] => {
  const all: string[] = [];
  for (let next = source.next(); next !== undefined; next = source.next()) all.push(next);
  return all;
};

describe('mixture of sources', () => {
  it('gives every document once, each source in its own order, and ends with the last', () => {
    const all = drain(make());
    expect(all).toHaveLength(305);
    expect(all.filter((name) => name.startsWith('a'))).toEqual(Array.from({ length: 300 }, (_, i) => `a${i}`));
    // The fifth b comes after about 20 documents: 3 : 1.
    expect(all.indexOf('b4')).toBeGreaterThan(8);
    expect(all.indexOf('b4')).toBeLessThan(60);
    expect(make().next()).toBe(all[0]);
  });

  it('goes on from its state, also when a source has ended', () => {
    for (const taken of [0, 10, 150]) {
      const source = make();
      for (let i = 0; i < taken; i++) source.next();
      const other = make();
      other.restore(JSON.parse(JSON.stringify(source.state)));
      expect(drain(other)).toEqual(drain(source));
    }
    const three = createMixtureSource([{ weight: 1, source: list('a', 1) }], 1);
    expect(() => three.restore(make().state)).toThrow('of 2 sources, there are 1');
  });

  it('is a corpus of a recipe: worked solutions beside instructions', () => {
    const corpus = sourceSchema.parse({
      type: 'mixture',
      parts: [
        { weight: 1, source: { type: 'worked-solutions' } },
        { weight: 1, source: { type: 'general' } },
      ],
    });
    const questions = (task: unknown): string[] => {
      const source = createSource(corpus, { task: createTask(task), seed: 1 });
      return Array.from({ length: 40 }, () => (source.next() as { question: string }).question);
    };
    const plain = questions({ type: 'word-problem' });
    expect(plain.filter((question) => /^Write|^写/.test(question)).length).toBeGreaterThan(2);
    expect(plain.filter((question) => /has|有/.test(question)).length).toBeGreaterThan(2);
    // A mixture as the task: its one part with worked solutions is what they are made of.
    const parts = [
      { weight: 1, task: { type: 'word-problem' } },
      { weight: 1, task: { type: 'general' } },
    ];
    expect(questions({ type: 'mixture', parts })).toEqual(plain);
    const two = [...parts, { weight: 1, task: { type: 'equation' } }];
    expect(() => questions({ type: 'mixture', parts: two })).toThrow(
      'task mixture has 2 parts that can write solutions',
    );
    expect(() => questions({ type: 'general' })).toThrow('task general cannot write solutions');
  });
});
