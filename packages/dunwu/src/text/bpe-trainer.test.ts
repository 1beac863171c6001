import { describe, expect, it } from 'vitest';
import { Random } from '../util/random.js';
import { BpeTrainer, trainBpe } from './bpe-trainer.js';
import { SPECIAL_TOKEN_LIST } from './special-tokens.js';

describe('trainBpe', () => {
  it('gives the special tokens ids 0 to 7, then the bytes in the order of their characters, then the merges', () => {
    const { vocab, merges } = trainBpe(['ab ab'], { vocab_size: 300, digits: 'single' });
    expect(vocab.slice(0, 8)).toEqual([...SPECIAL_TOKEN_LIST]);
    expect(vocab.slice(0, 2)).toEqual([
      '<\uff5cbegin\u2581of\u2581sentence\uff5c>',
      '<\uff5cend\u2581of\u2581sentence\uff5c>',
    ]);
    expect(vocab[8]).toBe('!');
    expect(vocab[8 + 'a'.charCodeAt(0) - 0x21]).toBe('a');
    expect(vocab[263]).toBe('\u0143'); // the last moved byte, 0xad
    expect(merges).toEqual([['a', 'b']]); // "ab" and " ab": only a+b occurs twice
    expect(vocab.slice(264)).toEqual(['ab']);
  });

  it('cuts digits as asked', () => {
    const merges = (digits: 'single' | 'up-to-3' | 'free') =>
      trainBpe([{ text: '12345', count: 2 }], { vocab_size: 300, digits }).merges.map((pair) => pair.join('+'));
    expect(merges('single')).toEqual([]);
    expect(merges('up-to-3')).toEqual(['1+2', '4+5', '12+3']);
    expect(merges('free')).toEqual(['1+2', '3+4', '12+34', '1234+5']);
  });

  it('cuts Chinese at punctuation, so that no token holds a comma and what follows', () => {
    const { vocab } = trainBpe([{ text: '还剩多少，还剩多少。', count: 9 }], { vocab_size: 400 });
    const comma = trainBpe([{ text: '，', count: 2 }], { vocab_size: 300 }).vocab.at(-1) as string;
    expect(vocab.filter((token) => token.includes(comma))).toEqual([comma]);
  });

  it('does not learn from special tokens in the corpus', () => {
    const tagged = trainBpe(['<think>ab</think><｜User｜>ab', '<answer>ab'], { vocab_size: 300 });
    expect(tagged.merges).toEqual([['a', 'b']]);
  });

  it('is the same for any order of the texts, for repeated texts and counts, and from one run to the next', () => {
    const rng = new Random(3);
    const words = ['the', 'then', '还剩', '多少', 'a1b2', '苹果', ' than', 'there', '，', '\n'];
    const texts = Array.from({ length: 200 }, () =>
      Array.from({ length: 12 }, () => rng.choice(words)).join(rng.choice(['', ' '])),
    );
    const options = { vocab_size: 320 };
    const first = trainBpe(texts, options);
    expect(first.vocab.length).toBe(320);
    expect(trainBpe(texts, options)).toEqual(first);
    expect(trainBpe(rng.shuffle([...texts]), options)).toEqual(first);
    expect(
      trainBpe(
        texts.map((text) => ({ text, count: 2 })),
        options,
      ),
    ).toEqual(trainBpe([...texts, ...texts], options));
  });

  it('counts words without keeping the texts', () => {
    const trainer = new BpeTrainer({ vocab_size: 300 });
    for (let i = 0; i < 1000; i++) trainer.add('one two one 25');
    expect(trainer.distinct_words).toBe(6); // one, ␣two, ␣one, ␣, 2, 5
  });

  it('says what is wrong with the options', () => {
    expect(() => trainBpe(['a'], { vocab_size: 263 })).toThrow(
      'vocab_size: 263 is not an integer of at least 264 (8 special tokens + 256 bytes)',
    );
    expect(() => trainBpe(['a'], { vocab_size: 300, special_tokens: ['x', 'x'] })).toThrow('"x" is listed twice');
    expect(() => trainBpe(['a'], { vocab_size: 300, min_frequency: 0 })).toThrow('min_frequency: 0');
    expect(() => trainBpe(['a'], { vocab_size: 300, digits: 'some' as 'free' })).toThrow(
      'digits: "some" is not one of single, up-to-3, free',
    );
    expect(() => trainBpe([], { vocab_size: 300 })).toThrow('the corpus holds no text');
    expect(() => trainBpe([''], { vocab_size: 300 })).toThrow('the corpus holds no text');
  });
});
