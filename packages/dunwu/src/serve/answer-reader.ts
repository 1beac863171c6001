import { ResponseReader } from '../text/response-reader.js';
import type { Tokenizer } from '../text/tokenizer.js';
import { StopStrings } from './stop-strings.js';

/** A piece of a response as it is sent: of the thought, or of what is said. */
export interface AnswerPiece {
  readonly part: 'reasoning' | 'content';
  readonly text: string;
}

export interface AnswerReaderOptions {
  /** Token ids that end a response. */
  readonly stop: readonly number[];
  readonly stopStrings: readonly string[];
  /** All is content. */
  readonly raw?: boolean;
  /** The prompt has begun the thought: the response goes on inside it. */
  readonly thinking?: boolean;
}

/**
 * Tells thought and answer of one response apart, token by token, as DeepSeek's API does (`reasoning_content`, `content`),
 * and ends it at a stop string, which is looked for in each of the two. Tags are not part of either. Pieces come in the
 * order of the response.
 */
export class AnswerReader {
  readonly #reader: ResponseReader;
  readonly #stop: ReadonlySet<number>;
  readonly #finders: Readonly<Record<AnswerPiece['part'], StopStrings>>;
  readonly #raw: boolean;
  #part: AnswerPiece['part'] = 'content';
  #said = false;
  #ended = false;
  /** Tokens of the thought so far. */
  reasoningTokens = 0;

  constructor(tokenizer: Tokenizer, { stop, stopStrings, raw = false, thinking = false }: AnswerReaderOptions) {
    this.#reader = new ResponseReader(tokenizer, { raw, thinking });
    this.#stop = new Set(stop);
    this.#finders = { reasoning: new StopStrings(stopStrings), content: new StopStrings(stopStrings) };
    this.#raw = raw;
  }

  /** @returns what is to be sent, and whether the response ends here */
  push(token: number): { readonly pieces: readonly AnswerPiece[]; readonly stopped: boolean } {
    if (this.#ended || this.#stop.has(token)) return { pieces: [], stopped: this.#ended };
    return this.#sent(this.#reader.push(token));
  }

  /** What was held back. */
  end(): readonly AnswerPiece[] {
    if (this.#ended) return [];
    const { pieces, stopped } = this.#sent(this.#reader.end());
    return stopped ? pieces : [...pieces, ...this.#held()];
  }

  #sent(read: ReturnType<ResponseReader['push']>): { pieces: AnswerPiece[]; stopped: boolean } {
    const pieces: AnswerPiece[] = [];
    for (const { part: from, text } of read) {
      const part = from === 'thinking' ? 'reasoning' : 'content';
      if (part === 'reasoning') this.reasoningTokens++;
      // Blanks between the thought and the answer belong to neither.
      const own = part === 'content' && !this.#said && !this.#raw ? text.trimStart() : text;
      if (own === '') continue;
      if (part === 'content') this.#said = true;
      // Once the other part goes on, no stop string can come of what was held back.
      if (part !== this.#part) pieces.push(...this.#held());
      this.#part = part;
      const { text: shown, stopped } = this.#finders[part].push(own);
      if (shown !== '') pieces.push({ part, text: shown });
      if (stopped) {
        this.#ended = true;
        return { pieces, stopped: true };
      }
    }
    return { pieces, stopped: false };
  }

  /** What the part so far holds back. */
  #held(): AnswerPiece[] {
    const text = this.#finders[this.#part].end();
    return text === '' ? [] : [{ part: this.#part, text }];
  }
}
