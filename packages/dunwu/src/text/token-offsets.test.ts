import { beforeAll, describe, expect, it } from 'vitest';
import { Random } from '../util/random.js';
import { decodeResponse, encodeTagged } from './template.js';
import { makeTokenizer, SMALL_CORPUS } from './testing/make-tokenizer.js';
import { tokenOfTextEnd, tokenTextEnds } from './token-offsets.js';
import type { Tokenizer } from './tokenizer.js';

let bytes: Tokenizer;
let merged: Tokenizer;
beforeAll(async () => {
  // Without merges a Chinese character is three tokens; with them, several characters may be one.
  bytes = await makeTokenizer(['ab'], { vocab_size: 300, digits: 'single' });
  merged = await makeTokenizer(SMALL_CORPUS, { vocab_size: 420, digits: 'single' });
});

const spell = (tokenizer: Tokenizer, text: string): string[] =>
  encodeTagged(tokenizer, text).map((id) => decodeResponse(tokenizer, [id]));

describe('tokenTextEnds', () => {
  it('ASCII in bytes: one character a token, tags as one token', () => {
    const ids = encodeTagged(bytes, '<think>1+2=3</think>');
    expect(tokenTextEnds(bytes, ids)).toEqual([7, 8, 9, 10, 11, 12, 20]);
  });

  it('Chinese in bytes: a character is complete with its third token', () => {
    const ids = encodeTagged(bytes, '还剩5个。');
    expect(ids).toHaveLength(3 + 3 + 1 + 3 + 3);
    expect(tokenTextEnds(bytes, ids)).toEqual([0, 0, 1, 1, 1, 2, 3, 3, 3, 4, 4, 4, 5]);
  });

  it('outside the basic plane: two code units with the fourth byte', () => {
    expect(tokenTextEnds(bytes, encodeTagged(bytes, 'a😀b'))).toEqual([1, 1, 1, 1, 3, 4]);
  });

  it('merged tokens end where their text ends', () => {
    const text = '25 - 7 = 18，所以还剩18个苹果。';
    const pieces = spell(merged, text);
    expect(pieces.some((piece) => /[\u4e00-\u9fff]{2}/.test(piece))).toBe(true);
    const ends = tokenTextEnds(merged, encodeTagged(merged, text));
    expect(ends.at(-1)).toBe(text.length);
    // Where a token is whole characters, the text up to its end is that of the tokens up to it.
    const ids = encodeTagged(merged, text);
    ends.forEach((end, k) => {
      const prefix = decodeResponse(merged, ids.slice(0, k + 1));
      expect(prefix.replace(/\ufffd+$/, '')).toBe(text.slice(0, end));
    });
  });

  it('the text stops at EOS; an unfinished character belongs to the last token', () => {
    const eos = bytes.special_id('eos');
    const ids = [...encodeTagged(bytes, 'ab'), eos, ...encodeTagged(bytes, 'c')];
    expect(tokenTextEnds(bytes, ids)).toEqual([1, 2, 2, 2]);
    const cut = [...encodeTagged(bytes, '还').slice(0, 2), eos];
    expect(decodeResponse(bytes, cut)).toBe('\ufffd');
    expect(tokenTextEnds(bytes, cut)).toEqual([0, 1, 1]);
    expect(tokenTextEnds(bytes, [])).toEqual([]);
  });

  it('any ids at all: never falling, and the last is the length of the text', () => {
    const random = new Random(3);
    for (let i = 0; i < 200; i++) {
      const ids = Array.from({ length: random.int(1, 30) }, () => random.int(0, merged.vocab_size - 1));
      const ends = tokenTextEnds(merged, ids);
      expect(ends).toHaveLength(ids.length);
      expect(ends.at(-1)).toBe(decodeResponse(merged, ids).length);
      expect(ends.every((end, k) => end >= (ends[k - 1] ?? 0))).toBe(true);
    }
  });
});

describe('tokenOfTextEnd', () => {
  it('the token that completes the last character of the range', () => {
    const text = '3+4=7，还剩7个';
    const ids = encodeTagged(bytes, text);
    const ends = tokenTextEnds(bytes, ids);
    const tokenAfter = (end: number): number => tokenOfTextEnd(ends, end);
    expect(tokenAfter('3+4=7'.length)).toBe(4);
    expect(tokenAfter('3+4=7，'.length)).toBe(7);
    expect(tokenAfter('3+4=7，还剩'.length)).toBe(13);
    expect(tokenAfter(text.length)).toBe(ids.length - 1);
    expect(tokenAfter(0)).toBe(0);
  });

  it('a token that goes on beyond the range', () => {
    // Tokens 'ab', 'cd': a range that ends after 'c' ends with the second.
    expect(tokenOfTextEnd([2, 4], 3)).toBe(1);
    expect(tokenOfTextEnd([2, 4], 2)).toBe(0);
  });

  it('refuses a range beyond the text', () => {
    expect(() => tokenOfTextEnd([2, 4], 5)).toThrow('ends at character 5, but the text of the tokens has only 4');
    expect(() => tokenOfTextEnd([], 1)).toThrow('has only 0');
  });
});
