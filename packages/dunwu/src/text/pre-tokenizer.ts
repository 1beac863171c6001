/**
 * How text is cut into words before byte-pair encoding; merges never cross a word's border. The three splits are
 * DeepSeek-V3's: digits, runs of Han and kana, then GPT-4's words, punctuation and white space. Only the first varies.
 */

/** `single`: every digit is a word, so a token; `up-to-3`: DeepSeek-V3's groups; `free`: a run of digits is one word. */
export type Digits = 'single' | 'up-to-3' | 'free';

const DIGIT_PATTERN: Readonly<Record<Digits, string>> = {
  single: '\\p{N}',
  'up-to-3': '\\p{N}{1,3}',
  free: '\\p{N}+',
};

const HAN_AND_KANA_PATTERN = '[一-龥぀-ゟ゠-ヿ]+';

const WORD_PATTERN = [
  '[!"#$%&\'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+',
  '[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+',
  ' ?[\\p{P}\\p{S}]+[\\r\\n]*',
  '\\s*[\\r\\n]+',
  '\\s+(?!\\S)',
  '\\s+',
].join('|');

export interface SplitConfig {
  readonly type: 'Split';
  readonly pattern: { readonly Regex: string };
  readonly behavior: 'Isolated';
  readonly invert: false;
}

/** The splits in the order they are applied, as `tokenizer.json` writes them. */
export function splitConfigs(digits: Digits): SplitConfig[] {
  const pattern = DIGIT_PATTERN[digits];
  if (pattern === undefined) {
    throw new Error(`digits: ${JSON.stringify(digits)} is not one of ${Object.keys(DIGIT_PATTERN).join(', ')}`);
  }
  return [pattern, HAN_AND_KANA_PATTERN, WORD_PATTERN].map((Regex) => ({
    type: 'Split',
    pattern: { Regex },
    behavior: 'Isolated',
    invert: false,
  }));
}

/** A lone surrogate cannot be written in UTF-8: it becomes U+FFFD before the words are cut, so both agree. */
export function wellFormed(text: string): string {
  return text.replace(/\p{Surrogate}/gu, '\uFFFD');
}
