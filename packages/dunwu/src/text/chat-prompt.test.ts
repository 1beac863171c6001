import { expect, test } from 'vitest';
import { chatTokens, checkChatTemplate } from './chat-prompt.js';
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

test('a template that cannot be read is told with its folder before anything is asked of it', () => {
  expect(() => checkChatTemplate(tokenizer)).not.toThrow();
  expect(() => checkChatTemplate({ chat_template: undefined, path: '/m/tokenizer.json' })).not.toThrow();
  expect(() => checkChatTemplate({ chat_template: '{% bad', path: '/m/tokenizer.json' })).toThrow(
    /^\/m: the chat template \(chat_template\.jinja, or in tokenizer_config\.json\) is not valid: /,
  );
});
