import { SPECIAL_TOKENS } from './special-tokens.js';
import type { Tokenizer } from './tokenizer.js';

/** Texts whose cutting shows differences that equal vocabularies may hide: merges, digits, spaces, scripts. */
const PROBES = [
  'Mary has 1234 cards; 12.5% of them…',
  ' 小明有25个苹果，还剩多少？',
  'if (x >= 10) {\n\treturn "ok"\n}',
  'naïve 🙂',
];

/**
 * Why two tokenizers do not share their tokens, or null when they do: a distribution over one's tokens means something
 * to the other. Compared are the ids of all tokens, the special tokens, and how a few texts are cut.
 */
export function vocabularyDifference(ours: Tokenizer, theirs: Tokenizer): string | null {
  const spelt = (token: string | undefined): string => (token === undefined ? 'nothing' : JSON.stringify(token));
  const size = Math.max(ours.vocab_size, theirs.vocab_size);
  for (let id = 0; id < size; id++) {
    const [a, b] = [ours.id_to_token(id), theirs.id_to_token(id)];
    if (a !== b) {
      const sizes =
        ours.vocab_size === theirs.vocab_size ? '' : ` (${ours.vocab_size} tokens and ${theirs.vocab_size})`;
      return `token ${id} is ${spelt(a)} in the one and ${spelt(b)} in the other${sizes}`;
    }
  }
  for (const name of Object.keys(SPECIAL_TOKENS) as (keyof typeof SPECIAL_TOKENS)[]) {
    if (ours.special[name] !== theirs.special[name]) {
      return `the ${name} token is ${ours.special[name] ?? 'nothing'} in the one and ${theirs.special[name] ?? 'nothing'} in the other`;
    }
  }
  for (const text of PROBES) {
    const [a, b] = [ours.encode(text), theirs.encode(text)];
    if (String(a) !== String(b))
      return `${JSON.stringify(text)} is cut into ${a.length} tokens by the one and ${b.length}, others, by the other`;
  }
  return null;
}
