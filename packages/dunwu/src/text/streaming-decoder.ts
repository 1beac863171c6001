/**
 * Text from tokens that arrive one by one: the bytes of an unfinished character are held back until it is complete.
 * Made by `Tokenizer.stream`.
 */
export class StreamingDecoder {
  readonly #bytesOf: (id: number) => Uint8Array | undefined;
  // A byte-order mark is a character of the text like any other, so it is kept.
  readonly #utf8 = new TextDecoder('utf-8', { ignoreBOM: true });

  /** @param bytesOf the bytes of a token; undefined for one to leave out. */
  constructor(bytesOf: (id: number) => Uint8Array | undefined) {
    this.#bytesOf = bytesOf;
  }

  /** The text that has become certain with this token: often '', never half a character. */
  push(id: number): string {
    const bytes = this.#bytesOf(id);
    return bytes === undefined ? '' : this.#utf8.decode(bytes, { stream: true });
  }

  /** What is left: U+FFFD if the last character is unfinished, else ''. The decoder can then be used again. */
  end(): string {
    return this.#utf8.decode();
  }
}
