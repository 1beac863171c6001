import { StringDecoder } from 'node:string_decoder';

/** The part of a readable stream that is needed; of a terminal also its modes. */
export interface Input {
  on(event: 'data', listener: (data: Buffer | string) => void): unknown;
  on(event: 'end' | 'close', listener: () => void): unknown;
  removeListener(event: string, listener: (...args: never[]) => void): unknown;
  resume(): unknown;
  pause(): unknown;
  readonly isTTY?: boolean;
  setRawMode?(raw: boolean): unknown;
}

/**
 * Keys and lines from a terminal or a pipe, in the order they come; what is typed ahead is kept. In a pipe a key is the
 * first letter of a line.
 */
export class TerminalInput {
  readonly #input: Input;
  readonly #decoder = new StringDecoder('utf8');
  #text = '';
  #ended = false;
  #wake: (() => void) | null = null;

  constructor(input: Input) {
    this.#input = input;
    input.on('data', this.#onData);
    input.on('end', this.#onEnd);
    input.on('close', this.#onEnd);
  }

  /** One key, in lower case; '' for Enter; null when there is no more (or for Ctrl-C, Ctrl-D). */
  async key(): Promise<string | null> {
    if (this.#input.isTTY !== true) return (await this.line())?.trim().slice(0, 1).toLowerCase() ?? null;
    this.#input.setRawMode?.(true);
    try {
      while (this.#text === '') if (!(await this.#more())) return null;
    } finally {
      this.#input.setRawMode?.(false);
    }
    const [first = ''] = this.#text;
    // An arrow or function key is several characters, and none of them is meant.
    this.#text = first === '\x1b' ? '' : this.#text.slice(first.length);
    if (first === '\x03' || first === '\x04') return null;
    return first === '\n' || first === '\x1b' ? '' : first.toLowerCase();
  }

  /** A line without its end; null when there is no more. */
  async line(): Promise<string | null> {
    let end = this.#text.indexOf('\n');
    while (end < 0 && (await this.#more())) end = this.#text.indexOf('\n');
    if (end < 0 && this.#text === '') return null;
    const line = end < 0 ? this.#text : this.#text.slice(0, end);
    this.#text = end < 0 ? '' : this.#text.slice(end + 1);
    return line.endsWith('\r') ? line.slice(0, -1) : line;
  }

  /** Leaves the terminal to another program for a while. */
  pause(): void {
    this.#input.removeListener('data', this.#onData);
    this.#input.pause();
  }

  resume(): void {
    this.#input.on('data', this.#onData);
    this.#input.resume();
  }

  close(): void {
    this.pause();
    this.#input.removeListener('end', this.#onEnd);
    this.#input.removeListener('close', this.#onEnd);
  }

  readonly #onData = (data: Buffer | string): void => {
    const text = typeof data === 'string' ? data : this.#decoder.write(data);
    this.#text += this.#input.isTTY === true ? text.replaceAll('\r', '\n') : text;
    this.#wake?.();
  };

  readonly #onEnd = (): void => {
    this.#ended = true;
    this.#wake?.();
  };

  /** Waits for more. @returns false at the end of the input */
  async #more(): Promise<boolean> {
    if (this.#ended) return false;
    const before = this.#text.length;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    this.#wake = null;
    return this.#text.length > before || !this.#ended;
  }
}
