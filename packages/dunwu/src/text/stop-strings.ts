import type { Tokenizer } from './tokenizer.js';

/**
 * Stop strings: a response ends with the token that completes one, wherever in the tokens it begins or ends, and its text ends
 * before it. Of several that the same token completes the one that begins first counts. What is searched is the text that the
 * tokens spell, tags included; not the prompt's.
 */

/** The text before the first stop string; all of it where there is none. */
export function cutAtStop(text: string, stops: readonly string[]): string {
  const found = stops.map((stop) => text.indexOf(stop)).filter((at) => at >= 0);
  return found.length === 0 ? text : text.slice(0, Math.min(...found));
}

/**
 * Asked with every token of one response whether a stop string is complete with it; null where there are none.
 * @throws Error without a tokenizer, or for one that is not byte-level
 */
export function stopWatch(
  tokenizer: Pick<Tokenizer, 'stream'> | undefined,
  stops: readonly string[] = [],
): ((token: number) => boolean) | null {
  if (stops.length === 0) return null;
  if (tokenizer === undefined) throw new Error('sampling.stop needs the tokenizer that reads the tokens');
  const decoder = tokenizer.stream();
  const finder = new StopStrings(stops);
  return (token) => finder.push(decoder.push(token)).stopped;
}

/**
 * Finds stop strings in text that arrives in pieces. Text that may be the beginning of one is held back until it is clear.
 */
export class StopStrings {
  readonly #stops: readonly string[];
  #held = '';

  constructor(stops: readonly string[]) {
    this.#stops = stops;
  }

  /** @returns what can be shown now; `stopped`: a stop string was found, and neither it nor what follows is shown */
  push(piece: string): { readonly text: string; readonly stopped: boolean } {
    const text = this.#held + piece;
    this.#held = '';
    const clear = cutAtStop(text, this.#stops);
    if (clear.length < text.length) return { text: clear, stopped: true };
    const open = Math.max(0, ...this.#stops.map((stop) => overlap(text, stop)));
    this.#held = text.slice(text.length - open);
    return { text: text.slice(0, text.length - open), stopped: false };
  }

  /** What was held back, at the end of the text. */
  end(): string {
    const rest = this.#held;
    this.#held = '';
    return rest;
  }
}

/** Length of the longest end of `text` that `stop` begins with, without all of it. */
function overlap(text: string, stop: string): number {
  for (let length = Math.min(stop.length - 1, text.length); length > 0; length--) {
    if (text.endsWith(stop.slice(0, length))) return length;
  }
  return 0;
}
