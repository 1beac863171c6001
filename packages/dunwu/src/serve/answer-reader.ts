import { type ResponsePiece, ResponseReader, type ResponseReaderOptions } from '../text/response-reader.js';
import type { Tokenizer } from '../text/tokenizer.js';

/** A piece of a response as it is sent: of the thought, or of what is said. */
export interface AnswerPiece {
  readonly part: 'reasoning' | 'content';
  readonly text: string;
}

export interface AnswerReaderOptions extends ResponseReaderOptions {
  /** Token ids that end a response. */
  readonly ends: readonly number[];
}

/**
 * Tells thought and answer of one response apart, token by token, as DeepSeek's API does (`reasoning_content`, `content`).
 * Tags are not part of either. Pieces come in the order of the response.
 */
export class AnswerReader {
  readonly #reader: ResponseReader;
  readonly #ends: ReadonlySet<number>;
  readonly #raw: boolean;
  #said = false;
  /** Tokens of the thought so far. */
  reasoningTokens = 0;

  constructor(tokenizer: Tokenizer, { ends, ...options }: AnswerReaderOptions) {
    this.#reader = new ResponseReader(tokenizer, options);
    this.#ends = new Set(ends);
    this.#raw = options.raw === true;
  }

  /** @returns what is to be sent */
  push(token: number): AnswerPiece[] {
    if (this.#ends.has(token)) return [];
    const before = this.#reader.part;
    const pieces = this.#sent(this.#reader.push(token));
    if (before === 'thinking' && this.#reader.part === 'thinking') this.reasoningTokens++;
    return pieces;
  }

  /** What was held back. */
  end(): AnswerPiece[] {
    return this.#sent(this.#reader.end());
  }

  #sent(read: readonly ResponsePiece[]): AnswerPiece[] {
    return read.flatMap(({ part: from, text }) => {
      const part = from === 'thinking' ? 'reasoning' : 'content';
      // Blanks between the thought and the answer belong to neither.
      const own = part === 'content' && !this.#said && !this.#raw ? text.trimStart() : text;
      if (own === '') return [];
      if (part === 'content') this.#said = true;
      return [{ part, text: own } as const];
    });
  }
}
