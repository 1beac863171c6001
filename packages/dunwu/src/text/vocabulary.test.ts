import { describe, expect, it } from 'vitest';
import { makeTokenizer, SMALL_CORPUS } from './testing/make-tokenizer.js';
import { vocabularyDifference } from './vocabulary.js';

describe('whether tokenizers share their tokens', () => {
  it('the same corpus gives the same; another one differs at a token that is named', async () => {
    const ours = await makeTokenizer(SMALL_CORPUS, { vocab_size: 300 });
    expect(vocabularyDifference(ours, await makeTokenizer(SMALL_CORPUS, { vocab_size: 300 }))).toBeNull();
    const other = await makeTokenizer(['zzzz qqqq zzzz qqqq zz qq'], { vocab_size: 300 });
    expect(vocabularyDifference(ours, other)).toMatch(/^token 264 is ".+" in the one and ".+" in the other/);
    const smaller = await makeTokenizer(SMALL_CORPUS, { vocab_size: 290 });
    expect(smaller.vocab_size).toBeLessThan(ours.vocab_size);
    expect(vocabularyDifference(ours, smaller)).toMatch(
      new RegExp(
        `^token ${smaller.vocab_size} is ".+" in the one and nothing in the other \\(${ours.vocab_size} tokens and ${smaller.vocab_size}\\)$`,
      ),
    );
    expect(vocabularyDifference(smaller, ours)).toMatch(/is nothing in the one and ".+" in the other/);
  });

  it('the same tokens cut in another way', async () => {
    const corpus = ['a b a b 12 12 12', '12 12'];
    const [single, free] = [
      await makeTokenizer(corpus, { vocab_size: 264, digits: 'single' }),
      await makeTokenizer(corpus, { vocab_size: 264, digits: 'free' }),
    ];
    expect(vocabularyDifference(single, free)).toBeNull(); // no merges: bytes either way
    const words = ['if if if if (x)', 'if if'];
    const plain = await makeTokenizer(words, { vocab_size: 265 });
    expect(plain.vocab_size).toBe(265);
    const spliced = new Proxy(plain, {
      get(target, key) {
        if (key === 'encode')
          return (text: string) => target.encode(text).flatMap((id) => (id === 264 ? [id, id] : [id]));
        const value: unknown = Reflect.get(target, key, target);
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
    expect(vocabularyDifference(plain, spliced)).toMatch(/"if \(x >= 10\).* is cut into \d+ tokens by the one and \d+/);
  });
});
