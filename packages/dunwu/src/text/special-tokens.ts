/**
 * The tokens that carry structure: DeepSeek's own spelling (U+FF5C bars, U+2581 underscores) for the text and role
 * tokens, plus the four tags of R1-Zero's response format. Their order is their id, 0 to 7, in every tokenizer that
 * this library trains. The padding token is the beginning-of-sentence token: padding is always masked.
 */
export const SPECIAL_TOKENS = {
  bos: '<｜begin▁of▁sentence｜>',
  eos: '<｜end▁of▁sentence｜>',
  user: '<｜User｜>',
  assistant: '<｜Assistant｜>',
  think: '<think>',
  think_end: '</think>',
  answer: '<answer>',
  answer_end: '</answer>',
} as const;

export type SpecialName = keyof typeof SPECIAL_TOKENS | 'pad';

/** The special tokens in the order of their ids. */
export const SPECIAL_TOKEN_LIST: readonly string[] = Object.values(SPECIAL_TOKENS);
