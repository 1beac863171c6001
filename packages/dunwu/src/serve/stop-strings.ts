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
    const found = this.#stops.map((stop) => text.indexOf(stop)).filter((at) => at >= 0);
    if (found.length > 0) return { text: text.slice(0, Math.min(...found)), stopped: true };
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
