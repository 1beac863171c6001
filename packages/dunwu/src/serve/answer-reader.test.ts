import { expect, test } from 'vitest';
import { encodeTagged } from '../text/template.js';
import { makeTokenizer, SMALL_CORPUS } from '../text/testing/make-tokenizer.js';
import { AnswerReader, type AnswerReaderOptions } from './answer-reader.js';

const tokenizer = await makeTokenizer(SMALL_CORPUS, { vocab_size: 264 }); // next to no merges: a token a character
const EOS = 1;

/** Every piece in the order it comes, as part:text; `|` where the response ended by itself. */
function read(text: string, options: Partial<AnswerReaderOptions> = {}): string[] {
  const reader = new AnswerReader(tokenizer, { stop: [EOS], stopStrings: [], ...options });
  const seen: string[] = [];
  for (const token of [...encodeTagged(tokenizer, text), EOS]) {
    const { pieces, stopped } = reader.push(token);
    seen.push(...pieces.map((piece) => `${piece.part}:${piece.text}`));
    if (stopped) return seen;
  }
  return [...seen, '|', ...reader.end().map((piece) => `${piece.part}:${piece.text}`)];
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

test('the end of a thought that looked like a stop string comes before the answer', () => {
  expect(read('<think>ax</think>yb', { stopStrings: ['xy'] })).toEqual([
    'reasoning:a',
    'reasoning:x',
    'content:y',
    'content:b',
    '|',
  ]);
  // And the end of an answer before a thought behind it.
  expect(read('ax<think>y</think>b', { stopStrings: ['xy'] })).toEqual([
    'content:a',
    'content:x',
    'reasoning:y',
    'content:b',
    '|',
  ]);
});

test('a stop string ends it in either part; what looks like one is held back to the end', () => {
  expect(read('<think>axyb</think>c', { stopStrings: ['xy'] })).toEqual(['reasoning:a']);
  expect(read('<think>a</think>bxyc', { stopStrings: ['xy'] })).toEqual(['reasoning:a', 'content:b']);
  expect(read('bx', { stopStrings: ['xy'] })).toEqual(['content:b', '|', 'content:x']);
  expect(read('<think>bx', { stopStrings: ['xy'] })).toEqual(['reasoning:b', '|', 'reasoning:x']);
});
