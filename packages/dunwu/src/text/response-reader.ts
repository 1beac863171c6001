import type { Tokenizer } from './tokenizer.js';

/** What a piece of a response is: inside think tags, inside answer tags, or neither. */
export type ResponsePart = 'thinking' | 'answer' | 'other';

export interface ResponsePiece {
  readonly part: ResponsePart;
  readonly text: string;
}

export interface ResponseReaderOptions {
  /** All is `other` and kept as it is. */
  readonly raw?: boolean;
  /** The prompt has begun the thought (begunThought): the response goes on inside it. */
  readonly thinking?: boolean;
}

/**
 * Tells thinking and answer apart while tokens arrive one by one. The tags are tokens; they switch the part and are not
 * text. With `raw`, or for a tokenizer without the tags, all is `other` and kept as it is.
 */
export class ResponseReader {
  readonly #decoder: ReturnType<Tokenizer['stream']>;
  readonly #switches: ReadonlyMap<number, ResponsePart>;
  readonly #first: ResponsePart;
  #part: ResponsePart;

  constructor(tokenizer: Tokenizer, { raw = false, thinking = false }: ResponseReaderOptions = {}) {
    this.#decoder = tokenizer.stream();
    const { think, think_end, answer, answer_end } = tokenizer.special;
    const tags: readonly (readonly [number | undefined, ResponsePart])[] = raw
      ? []
      : [
          [think, 'thinking'],
          [think_end, 'other'],
          [answer, 'answer'],
          [answer_end, 'other'],
        ];
    this.#switches = new Map(tags.flatMap(([id, part]) => (id === undefined ? [] : [[id, part] as const])));
    this.#first = thinking && !raw ? 'thinking' : 'other';
    this.#part = this.#first;
  }

  push(id: number): ResponsePiece[] {
    const next = this.#switches.get(id);
    if (next === undefined) return this.#piece(this.#decoder.push(id));
    const rest = this.#piece(this.#decoder.end()); // half a character before a tag
    this.#part = next;
    return rest;
  }

  /** What is left; the reader can then be used again. */
  end(): ResponsePiece[] {
    const rest = this.#piece(this.#decoder.end());
    this.#part = this.#first;
    return rest;
  }

  #piece(text: string): ResponsePiece[] {
    return text === '' ? [] : [{ part: this.#part, text }];
  }
}
