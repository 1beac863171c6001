import type { Tokenizer } from './tokenizer.js';

export interface PromptLimit {
  /** Tokens that the prompt may have. A text that has more whatever its words is refused before it is encoded. */
  readonly at_most?: number;
}

/** A prompt with more tokens than it may have, told by its length in characters where that is certain. */
export class PromptTooLong extends Error {
  /** @throws PromptTooLong when no text of so many UTF-16 code units has `at_most` tokens */
  static check(tokenizer: Tokenizer, characters: number, at_most: number | undefined): void {
    if (at_most === undefined || characters <= at_most * tokenizer.longest_token) return;
    throw new PromptTooLong(`the prompt has ${characters} characters, more than ${at_most} tokens can hold`);
  }

  /** @throws PromptTooLong when there are more of them */
  static checkTokens(tokens: number, at_most: number | undefined): void {
    if (at_most !== undefined && tokens > at_most)
      throw new PromptTooLong(`the prompt has more than ${at_most} tokens`);
  }
}
