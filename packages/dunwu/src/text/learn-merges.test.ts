import { describe, expect, it } from 'vitest';
import { learnMerges } from './learn-merges.js';

const learn = (words: Record<string, number>, extra = 100, min_frequency = 1, special_tokens: string[] = []) => {
  const { vocab, merges } = learnMerges(new Map(Object.entries(words)), {
    vocab_size: special_tokens.length + 256 + extra,
    min_frequency,
    special_tokens,
  });
  return merges.map(([left, right]) => `${vocab[left]}+${vocab[right]}`);
};

describe('learnMerges', () => {
  it('aaabdaaabac: aa (4 times), then ab before aaa (both twice, a is the smaller id), then aaab', () => {
    expect(learn({ aaabdaaabac: 1 }, 100, 2)).toEqual(['a+a', 'a+b', 'aa+ab']);
    // Left: aaab d aaab a c. Every pair occurs once; the smallest left id is a, and only c follows it.
    expect(learn({ aaabdaaabac: 1 }, 4)).toEqual(['a+a', 'a+b', 'aa+ab', 'a+c']);
  });

  it('weights words by their count', () => {
    // Sennrich's example: low 5, lower 2, newest 6, widest 3. es 9, st 9 (e < s), est 9, lo 7, low 7, ne 6, …
    expect(learn({ low: 5, lower: 2, newest: 6, widest: 3 }, 5)).toEqual(['e+s', 'es+t', 'l+o', 'lo+w', 'e+w']);
  });

  it('joins runs from the left', () => {
    // aaa → aa a; aaaa → aa aa. Then aa+aa (5) before aa+a (1), although its ids are larger.
    expect(learn({ aaa: 1, aaaa: 5 })).toEqual(['a+a', 'aa+aa', 'aa+a']);
  });

  it('stops at the vocabulary size, at min_frequency, and when every word is one token', () => {
    expect(learn({ abcd: 3 }, 1)).toEqual(['a+b']);
    expect(learn({ abcd: 3, xy: 2 }, 100, 3)).toEqual(['a+b', 'c+d', 'ab+cd']);
    expect(learn({ ab: 1 })).toEqual(['a+b']);
    expect(learn({ a: 9 })).toEqual([]);
  });

  it('never joins across words', () => {
    expect(learn({ ab: 1, c: 100, ba: 1 })).toEqual(['a+b', 'b+a']);
  });

  it('never lets text grow into a special token', () => {
    expect(learn({ abc: 5 }, 100, 1, ['abc'])).toEqual(['a+b']);
  });
});
