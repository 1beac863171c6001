import { clearOfStops } from './stop-strings.js';
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
  /** Texts that end the response: none of it is told from the first of them on, and what may begin one is held back. */
  readonly stop?: readonly string[] | undefined;
}

/**
 * Tells thinking and answer apart while tokens arrive one by one. The tags are tokens; they switch the part and are not
 * text. With `raw`, or for a tokenizer without the tags, all is `other` and kept as it is.
 */
export class ResponseReader {
  readonly #decoder: ReturnType<Tokenizer['stream']>;
  readonly #switches: ReadonlyMap<number, ResponsePart>;
  readonly #first: ResponsePart;
  readonly #tokenizer: Tokenizer;
  readonly #stop: readonly string[];
  #part: ResponsePart;
  #stopped = false;
  /** What may be the beginning of a stop string; a tag belongs to no part. */
  #held: { readonly part: ResponsePart | null; readonly text: string }[] = [];

  constructor(tokenizer: Tokenizer, { raw = false, thinking = false, stop = [] }: ResponseReaderOptions = {}) {
    this.#tokenizer = tokenizer;
    this.#stop = stop;
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

  /** What the next token is part of. */
  get part(): ResponsePart {
    return this.#part;
  }

  push(id: number): ResponsePiece[] {
    const next = this.#switches.get(id);
    if (next === undefined) return this.#read(this.#part, this.#decoder.push(id));
    const rest = this.#read(this.#part, this.#decoder.end()); // half a character before a tag
    this.#part = next;
    return [...rest, ...this.#read(null, this.#tokenizer.decode([id]))];
  }

  /** What is left; the reader can then be used again. */
  end(): ResponsePiece[] {
    const rest = [...this.#read(this.#part, this.#decoder.end()), ...this.#tell(Number.POSITIVE_INFINITY)];
    this.#part = this.#first;
    this.#stopped = false;
    return rest;
  }

  #read(part: ResponsePart | null, text: string): ResponsePiece[] {
    if (text === '' || this.#stopped) return [];
    this.#held.push({ part, text });
    const { length, stopped } = clearOfStops(this.#held.map((one) => one.text).join(''), this.#stop);
    const told = this.#tell(length);
    this.#stopped = stopped;
    if (this.#stopped) this.#held = [];
    return told;
  }

  /** The first so many code units of what is held, without the tags. */
  #tell(length: number): ResponsePiece[] {
    const pieces: ResponsePiece[] = [];
    let left = length;
    for (let [first] = this.#held; first !== undefined && left > 0; [first] = this.#held) {
      const { part, text } = first;
      const told = text.slice(0, left);
      left -= told.length;
      if (told.length === text.length) this.#held.shift();
      else this.#held[0] = { part, text: text.slice(told.length) };
      if (part !== null) pieces.push({ part, text: told });
    }
    return pieces;
  }
}
