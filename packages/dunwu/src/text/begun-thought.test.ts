import { expect, test } from 'vitest';
import { begunThought } from './begun-thought.js';
import { renderPrompt } from './template.js';
import { makeTokenizer, R1_DISTILL_TEMPLATE, SMALL_CORPUS } from './testing/make-tokenizer.js';

const own = await makeTokenizer(SMALL_CORPUS, { vocab_size: 300 });
const distilled = await makeTokenizer(SMALL_CORPUS, { vocab_size: 300 }, R1_DISTILL_TEMPLATE);
const ids = (text: string): number[] => own.encode(text, { allow_special: true });

test('a prompt that ends in the tag, and blanks behind it', () => {
  expect(begunThought(distilled, renderPrompt(distilled, 'a'))).toBe('<think>\n');
  expect(begunThought(own, ids('a<think>'))).toBe('<think>');
  expect(begunThought(own, ids('<think>a</think>b<think> \n'))).toBe('<think> \n');
});

test.each(['', 'a', '<think>a', '<think>\n\n</think>\n\n', '<think>\n<｜Assistant｜>'])('%j begins none', (text) => {
  expect(begunThought(own, ids(text))).toBe('');
});

test('our own prompts begin none, with an instruction that names the tag, or a question that spells it', () => {
  expect(begunThought(own, renderPrompt(own, 'a', { instruction: 'r1-zero-en' }))).toBe('');
  expect(begunThought(own, own.encode('<think>\n'))).toBe('');
});
