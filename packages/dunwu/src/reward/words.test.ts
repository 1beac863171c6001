import { describe, expect, it } from 'vitest';
import { wordsOf } from './words.js';

const words = (text: string): string[] => {
  const found = wordsOf(text);
  for (const word of found) expect(text.slice(word.start, word.end)).toBe(word.text);
  return found.map((word) => word.text);
};

describe('wordsOf', () => {
  it.each([
    ["It's a dog, 5 dogs", ["It's", 'a', 'dog', 'dogs']],
    ['小明有5张', ['小', '明', '有', '张']],
    ['café naïve', ['café', 'naïve']],
    ['残りはカード', ['残', 'り', 'は', 'カ', 'ー', 'ド']],
    ['пять карт', ['пять', 'карт']],
    ['그녀는 카드', ['그녀는', '카드']],
    ['x = 5 km, 3kg and 10x', ['and']],
    ['so $x + total = \\frac{price}{2}$ is', ['so', 'is']],
    ['a \\(abc\\) b \\[ abc = de \\] c', ['a']],
    ['costs $5 and $6', ['costs', 'and']],
    ['长 $5\\text{ cm}$，$3 \\text{个苹果}$', ['长', '个', '苹', '果']],
    ['\\text{the total} is', ['the', 'total', 'is']],
    ['see https://example.com/a/b now `code here` ```js\nlet it be\n``` end', ['see', 'now', 'end']],
    ['<think>hm</think><|end_of_text|>', ['hm']],
    ['x1 a_3 H2O', []],
  ])('%j → %j', (text, expected) => {
    expect(words(text)).toEqual(expected);
  });

  it('a sentence between dollars is a sentence', () => {
    expect(words('$She has five cards$')).toEqual(['She', 'has', 'five', 'cards']);
  });

  it.each(['$a', '\\(', '\\[a', '\\begin{align}', '$$', 'a b ', '`', '<', '$x $'])(
    'reads a megabyte of %j in bounded time',
    (piece) => {
      // No clock: quadratic work on a megabyte would run into the suite's own time limit.
      expect(wordsOf(piece.repeat(Math.ceil(1e6 / piece.length))).length).toBeLessThanOrEqual(100_000);
    },
  );
});
