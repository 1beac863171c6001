import { expect, test } from 'vitest';
import { encodeTagged } from '../text/template.js';
import { makeTokenizer, SMALL_CORPUS } from '../text/testing/make-tokenizer.js';
import { type AnswerPiece, AnswerReader, type AnswerReaderOptions } from './answer-reader.js';

const tokenizer = await makeTokenizer(SMALL_CORPUS, { vocab_size: 264 }); // next to no merges: a token a character
const EOS = 1;

/** Every piece in the order it comes, as part:text; `|` where the tokens end. */
function read(text: string, options: Partial<AnswerReaderOptions> = {}): string[] {
  const reader = new AnswerReader(tokenizer, { ends: [EOS], ...options });
  const told = [...encodeTagged(tokenizer, text), EOS].map((token) => reader.push(token));
  const named = (pieces: readonly AnswerPiece[]) => pieces.map((piece) => `${piece.part}:${piece.text}`);
  return [...named(told.flat()), '|', ...named(reader.end())];
}

test('thought and answer, without tags, blanks between them, and the token that ends it', () => {
  expect(read('<think>ab</think>\n <answer>c</answer>')).toEqual(['reasoning:a', 'reasoning:b', 'content:c', '|']);
  expect(read('c')).toEqual(['content:c', '|']);
});

test('a thought that the prompt has begun is reasoning, closed or not', () => {
  expect(read('a</think>\n\nb', { thinking: true })).toEqual(['reasoning:a', 'content:b', '|']);
  expect(read('ab', { thinking: true })).toEqual(['reasoning:a', 'reasoning:b', '|']);
  expect(read('a</think>b', { thinking: true, raw: true })).toEqual([
    'content:a',
    'content:</think>',
    'content:b',
    '|',
  ]);
});

test('what may be the beginning of a stop string is held back until it is clear, and keeps its part', () => {
  expect(read('<think>ax</think>yb', { stop: ['x</think>z', 'by'] })).toEqual([
    'reasoning:a',
    'reasoning:x',
    'content:y',
    '|',
    'content:b',
  ]);
  expect(read('ax<think>y</think>b', { stop: ['x<think>z'] })).toEqual([
    'content:a',
    'content:x',
    'reasoning:y',
    'content:b',
    '|',
  ]);
  expect(read('<think>bx', { stop: ['xy'] })).toEqual(['reasoning:b', '|', 'reasoning:x']);
});

test('nothing is told from a stop string on, in either part; a tag may be one, or a part of one', () => {
  expect(read('<think>axyb</think>c', { stop: ['xy'] })).toEqual(['reasoning:a', '|']);
  expect(read('<think>a</think>bxyc', { stop: ['xy'] })).toEqual(['reasoning:a', 'content:b', '|']);
  expect(read('<think>a</think>b', { stop: ['</think>'] })).toEqual(['reasoning:a', '|']);
  expect(read('<think>ab</think>cd', { stop: ['b</think>c'] })).toEqual(['reasoning:a', '|']);
});

test('counts the tokens of the thought, its tags left out', () => {
  const reader = new AnswerReader(tokenizer, { ends: [EOS] });
  const thought = encodeTagged(tokenizer, '苹 a');
  for (const token of encodeTagged(tokenizer, '<think>苹 a</think>bc')) reader.push(token);
  expect(reader.reasoningTokens).toBe(thought.length);
});
