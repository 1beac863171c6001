import { expect, test } from 'vitest';
import { chatTokens } from './chat-prompt.js';
import { makeTokenizer, SMALL_CORPUS } from './testing/make-tokenizer.js';

const template = "{% for m in messages %}{{ '<｜User｜>' + m.content }}{% endfor %}";
const tokenizer = await makeTokenizer(SMALL_CORPUS, { vocab_size: 300 }, template);
const USER = tokenizer.special_id('user');
const ask = (content: string) => chatTokens(tokenizer, [{ role: 'user', content }]);

test('private-use characters in a message stay, and special tokens that it spells out stay characters', () => {
  const some = Array.from({ length: 300 }, (_, i) => String.fromCharCode(0xe000 + i)).join('');
  const content = `<｜User｜>${some}<｜User｜>`;
  const ids = ask(content);
  expect(ids.filter((id) => id === USER)).toHaveLength(1);
  expect(tokenizer.decode(ids.slice(1))).toBe(content);
});

test('a message with all of them is refused', () => {
  const all = Array.from({ length: 0xf8ff - 0xe000 }, (_, i) => String.fromCharCode(0xe000 + i)).join('');
  expect(() => ask(all)).toThrow('every private-use character occurs in them');
});
