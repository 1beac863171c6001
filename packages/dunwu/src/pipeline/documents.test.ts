import { beforeAll, expect, it } from 'vitest';
import { makeTokenizer, SMALL_CORPUS } from '../text/testing/make-tokenizer.js';
import type { Tokenizer } from '../text/tokenizer.js';
import { documentText, encodeDocument } from './documents.js';

let tokenizer: Tokenizer;
beforeAll(async () => {
  tokenizer = await makeTokenizer(SMALL_CORPUS, { vocab_size: 290, digits: 'single' });
});

const dialogue = { question: '2+3?', response: '<think>so</think><answer>5</answer>' };

it('running text: begin, text, end', () => {
  expect(encodeDocument(tokenizer, { text: '还剩 7' }).tokens).toEqual([0, ...tokenizer.encode('还剩 7'), 1]);
});

it('a dialogue: roles and tags are tokens, and the response is closed', () => {
  expect(encodeDocument(tokenizer, dialogue)).toEqual({
    tokens: [0, 2, ...tokenizer.encode('2+3?'), 3, 4, ...tokenizer.encode('so'), 5, 6, ...tokenizer.encode('5'), 7, 1],
  });
});

it('a dialogue whose question weighs less: all of the prompt, and nothing else', () => {
  const prompt = 3 + tokenizer.encode('2+3?').length;
  const { tokens, mask } = encodeDocument(tokenizer, dialogue, 0.25);
  expect(mask).toEqual([...new Array(prompt).fill(0.25), ...new Array(tokens.length - prompt).fill(1)]);
});

it('a conversation: as the chat template has it', () => {
  const messages = [
    { role: 'user', content: 'a' },
    { role: 'assistant', content: 'b' },
  ] as const;
  expect(encodeDocument(tokenizer, { messages }).tokens).toEqual([
    0,
    2,
    ...tokenizer.encode('a'),
    3,
    ...tokenizer.encode('b'),
    1,
  ]);
});

it('a vocabulary is learnt from what people wrote, not from roles', () => {
  expect(documentText({ text: 'x' })).toEqual(['x']);
  expect(documentText(dialogue)).toEqual([dialogue.question, dialogue.response]);
  expect(documentText({ messages: [{ role: 'user', content: 'a' }] })).toEqual(['a']);
});
