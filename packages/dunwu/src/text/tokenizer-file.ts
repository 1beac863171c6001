import { join } from 'node:path';
import { makeFolder, writeFileAtomic } from '../util/fs.js';
import type { TrainedBpe } from './bpe-trainer.js';
import { CHAT_TEMPLATE } from './chat-template.js';
import { splitConfigs } from './pre-tokenizer.js';
import { SPECIAL_TOKENS } from './special-tokens.js';

/** The two files that Hugging Face's libraries expect of a tokenizer, written from a trained vocabulary. */

/** The text of `tokenizer.json`. Entries are in the order of their ids, so equal vocabularies give equal files. */
export function tokenizerJson(bpe: TrainedBpe): string {
  const frame = {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: bpe.special_tokens.map((content, id) => ({
      id,
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    })),
    normalizer: null,
    pre_tokenizer: {
      type: 'Sequence',
      pretokenizers: [
        ...splitConfigs(bpe.digits),
        { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false },
      ],
    },
    post_processor: null,
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
    },
  };
  // The vocabulary is written by hand: an object would put keys like "7" first and lose one named "__proto__".
  const vocab = bpe.vocab.map((token, id) => `      ${JSON.stringify(token)}: ${id}`).join(',\n');
  const merges = bpe.merges.map((pair) => `      ${JSON.stringify(pair)}`).join(',\n');
  const text = JSON.stringify(frame, null, 2);
  const end = '\n  }\n}';
  if (!text.endsWith(end)) throw new Error('tokenizer.json: the model must be the last key');
  const list = (name: string, open: string, body: string, close: string) =>
    body === '' ? `    "${name}": ${open}${close}` : `    "${name}": ${open}\n${body}\n    ${close}`;
  return `${text.slice(0, -end.length)},\n${list('vocab', '{', vocab, '}')},\n${list('merges', '[', merges, ']')}${end}\n`;
}

/** The text of `tokenizer_config.json`: which tokens mean what, and the chat template. */
export function tokenizerConfigJson(bpe: TrainedBpe): string {
  const has = (token: string) => bpe.special_tokens.includes(token);
  const { bos, eos, user, assistant } = SPECIAL_TOKENS;
  const config = {
    tokenizer_class: 'PreTrainedTokenizerFast',
    ...(has(bos) ? { bos_token: bos, pad_token: bos } : {}),
    ...(has(eos) ? { eos_token: eos } : {}),
    add_bos_token: false,
    add_eos_token: false,
    clean_up_tokenization_spaces: false,
    ...([bos, eos, user, assistant].every(has) ? { chat_template: CHAT_TEMPLATE } : {}),
  };
  return `${JSON.stringify(config, null, 2)}\n`;
}

/** Writes `tokenizer.json` and `tokenizer_config.json` into a folder, which is made if need be; each file atomically. */
export async function saveTokenizer(folder: string, bpe: TrainedBpe): Promise<void> {
  makeFolder(folder);
  await writeFileAtomic(join(folder, 'tokenizer_config.json'), tokenizerConfigJson(bpe));
  await writeFileAtomic(join(folder, 'tokenizer.json'), tokenizerJson(bpe));
}
