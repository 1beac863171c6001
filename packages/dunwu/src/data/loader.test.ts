import { describe, expect, it } from 'vitest';
import { createWordProblem } from '../task/word-problem.js';
import { type CorpusDocument, createWorkedSolutions } from './corpus.js';
import { Loader } from './loader.js';

const task = createWordProblem({ type: 'word-problem' });
const encode = ({ question, response }: CorpusDocument) => {
  const [prompt, rest] = [[...question], [...response]].map((text) => text.map((one) => one.charCodeAt(0)));
  const tokens = [0, ...(prompt ?? []), 3, ...(rest ?? []), 1];
  return { tokens, mask: tokens.map((_, index) => (index > (prompt?.length ?? 0) + 1 ? 1 : 0)) };
};
const open = (seed: string, overflow: 'split' | 'fit') =>
  new Loader(createWorkedSolutions({ type: 'worked-solutions' }, task, seed), encode, { batch: 4, time: 64, overflow });

describe('Loader', () => {
  it.each(['split', 'fit'] as const)('goes on from its state with the same batches (%s)', (overflow) => {
    const unbroken = open('a', overflow);
    const expected = Array.from({ length: 12 }, () => unbroken.next());
    const first = open('a', overflow);
    for (let i = 0; i < 5; i++) first.next();
    const second = open('other', overflow);
    second.restore(JSON.parse(JSON.stringify(first.state)));
    expect(Array.from({ length: 7 }, () => second.next())).toEqual(expected.slice(5));
    expect(second.tokens).toBe(unbroken.tokens);
    expect(second.documents).toBe(unbroken.documents);
  });

  it('gives the documents one after another', () => {
    const loader = open('b', 'split');
    const text = Array.from({ length: 3 }, () => [...(loader.next()?.tokens ?? [])]).flat();
    const source = createWorkedSolutions({ type: 'worked-solutions' }, task, 'b');
    const expected: number[] = [];
    while (expected.length < text.length) expected.push(...encode(source.next() as CorpusDocument).tokens);
    expect(text).toEqual(expected.slice(0, text.length));
    expect(loader.tokens).toBe(3 * 4 * 65);
  });

  it('takes plain ids, and ends with a finite source', () => {
    const texts = ['ab', 'cde'];
    const source = { next: () => texts.shift(), state: null, restore: () => undefined, close: () => undefined };
    const loader = new Loader(source, (text: string) => [...text].map((one) => one.charCodeAt(0)), {
      batch: 1,
      time: 3,
    });
    expect(loader.next()?.tokens).toEqual(Int32Array.of(97, 98, 99, 100));
    expect(loader.next()?.tokens).toEqual(Int32Array.of(101, 0, 0, 0));
    expect(loader.next()).toBeUndefined();
    expect([loader.documents, loader.tokens]).toEqual([2, 5]);
  });
});
