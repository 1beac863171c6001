import { expect, test } from 'vitest';
import { type ResponsePart, ResponseReader, type ResponseReaderOptions } from './response-reader.js';
import { encodeTagged } from './template.js';
import { makeTokenizer, SMALL_CORPUS } from './testing/make-tokenizer.js';

const tokenizer = await makeTokenizer(SMALL_CORPUS, { vocab_size: 300 });

function reading(options: ResponseReaderOptions = {}): (text: string) => Partial<Record<ResponsePart, string>> {
  const reader = new ResponseReader(tokenizer, options);
  return (said) => {
    const texts: Partial<Record<ResponsePart, string>> = {};
    for (const { part, text } of [...encodeTagged(tokenizer, said).flatMap((id) => reader.push(id)), ...reader.end()]) {
      texts[part] = (texts[part] ?? '') + text;
    }
    return texts;
  };
}

test('thinking and answer are told apart as they come, and again', () => {
  const read = reading();
  for (let again = 0; again < 2; again++) {
    expect(read('<think>25-7=18，对</think>\n<answer>18个</answer>')).toEqual({
      thinking: '25-7=18，对',
      other: '\n',
      answer: '18个',
    });
  }
});

test('a thought that the prompt has begun, closed or not, and again', () => {
  const read = reading({ thinking: true });
  expect(read('a</think>b')).toEqual({ thinking: 'a', other: 'b' });
  expect(read('a')).toEqual({ thinking: 'a' });
  expect(read('a<think>b</think>c')).toEqual({ thinking: 'ab', other: 'c' });
});

test('raw: all as it is', () => {
  const text = '<think>25</think>\n<answer>18个</answer>';
  expect(reading({ raw: true })(text)).toEqual({ other: text });
  expect(reading({ raw: true, thinking: true })(text)).toEqual({ other: text });
});
