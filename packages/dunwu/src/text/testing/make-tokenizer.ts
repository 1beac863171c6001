import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type BpeOptions, trainBpe } from '../bpe-trainer.js';
import { CHAT_TEMPLATE_FILE } from '../chat-template.js';
import { Tokenizer } from '../tokenizer.js';
import { saveTokenizer } from '../tokenizer-file.js';

/**
 * Trains a tokenizer, writes it to a temporary folder, and reads it back from there.
 * @param template a chat template other than ours, as a checkpoint has it
 */
export async function makeTokenizer(
  corpus: readonly string[],
  options: BpeOptions,
  template?: string,
): Promise<Tokenizer> {
  const folder = mkdtempSync(path.join(tmpdir(), 'dunwu-tokenizer-'));
  try {
    await saveTokenizer(folder, trainBpe(corpus, options));
    if (template !== undefined) writeFileSync(path.join(folder, CHAT_TEMPLATE_FILE), template);
    return Tokenizer.load(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** A few sentences in Chinese and English: enough for some merges. */
export const SMALL_CORPUS: readonly string[] = [
  'Mary has 80 cards and loses 21 of them. How many are left? 80 - 21 = 59, so 59 cards are left.',
  '小明有25个苹果，送出了7个，还剩多少个？25 - 7 = 18，所以还剩18个苹果。',
  'Tom has many marbles and finds many more marbles. How many marbles has he? 小红有多少个苹果？还剩多少？',
];

/** R1-Distill's chat template, without its tool calls: thoughts of earlier turns are left out, that of the answer is begun. */
export const R1_DISTILL_TEMPLATE =
  "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'system' %}{{ message['content'] }}{% endif %}" +
  "{% if message['role'] == 'user' %}{{ '<｜User｜>' + message['content'] }}{% endif %}" +
  "{% if message['role'] == 'assistant' %}{% set content = message['content'] %}{% if '</think>' in content %}" +
  "{% set content = content.split('</think>')[-1] %}{% endif %}{{ '<｜Assistant｜>' + content + eos_token }}{% endif %}" +
  "{% endfor %}{% if add_generation_prompt %}{{ '<｜Assistant｜><think>\n' }}{% endif %}";
