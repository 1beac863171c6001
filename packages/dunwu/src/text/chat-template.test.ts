import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { trainBpe } from './bpe-trainer.js';
import { CHAT_TEMPLATE, readChatTemplate } from './chat-template.js';
import { renderPrompt } from './template.js';
import { SMALL_CORPUS } from './testing/make-tokenizer.js';
import { Tokenizer } from './tokenizer.js';
import { saveTokenizer } from './tokenizer-file.js';

let dir = '';
beforeEach(() => {
  dir = mkdtempSync(path.join(os.tmpdir(), 'dunwu-chat-template-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

test('a text, none, or the default of a list', () => {
  expect(readChatTemplate(dir, { chat_template: 'x' })).toBe('x');
  for (const config of [{}, { chat_template: null }]) expect(readChatTemplate(dir, config)).toBeUndefined();
  const list = [
    { name: 'tool_use', template: 'tools' },
    { name: 'default', template: 'plain' },
  ];
  expect(readChatTemplate(dir, { chat_template: list })).toBe('plain');
});

test.each([
  [
    [
      { name: 'tool_use', template: 'a' },
      { name: 'rag', template: 'b' },
    ],
    'has the templates "tool_use", "rag", but none named "default": put the one that is meant into',
  ],
  [[], 'has no templates, but none named "default"'],
  [[{ name: 'default', template: 'a' }, { name: 'rag' }], '"chat_template"[1] must be an object with'],
  [[null], '"chat_template"[0] must be an object with'],
  [7, '"chat_template" must be a text, or a list'],
])('refused: %j', (chat_template, message) => {
  expect(() => readChatTemplate(dir, { chat_template })).toThrow(message);
  expect(() => readChatTemplate(dir, { chat_template })).toThrow(path.join(dir, 'tokenizer_config.json'));
});

test('chat_template.jinja wins over tokenizer_config.json, and a loaded tokenizer prompts with it', async () => {
  await saveTokenizer(dir, trainBpe(SMALL_CORPUS, { vocab_size: 300 }));
  expect(Tokenizer.load(dir).chat_template).toBe(CHAT_TEMPLATE);
  writeFileSync(
    path.join(dir, 'chat_template.jinja'),
    "{{ messages[0]['content'] }}:{% if add_generation_prompt %}!{% endif %}",
  );
  const tokenizer = Tokenizer.load(dir);
  expect(tokenizer.decode(renderPrompt(tokenizer, 'how many'))).toBe('how many:!');
  expect(readChatTemplate(dir, { chat_template: [{ name: 'rag', template: '' }] })).toContain('messages[0]');
});
