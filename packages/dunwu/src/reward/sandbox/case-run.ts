/** What one run of a program gets: a function to call with arguments, as JSON text, or standard input. */
export type Call =
  | { readonly entry: string; readonly args: string; readonly input?: undefined }
  | { readonly input: string; readonly entry?: undefined };

export interface Limits {
  /**
   * Turns of loops and calls, roughly: counted by the interpreters themselves, so that a program ends at the same place
   * on every machine.
   */
  readonly steps: number;
  /** The clock, for what the interpreters do not count (one long built-in operation). */
  readonly timeMs: number;
  /** The interpreter's whole memory, in MiB. */
  readonly memoryMb: number;
}

/** What became of a run. Texts are the program's: to be read with suspicion. */
export type Outcome =
  /** JSON text of what the function returned. */
  | { readonly kind: 'returned'; readonly text: string }
  | { readonly kind: 'printed'; readonly text: string }
  | { readonly kind: 'failed'; readonly at: 'compile' | 'run'; readonly why: string }
  | { readonly kind: 'timeout'; readonly why: string };

/** Runs a program once, in a context that nothing else was or will be run in. */
export type RunCase = (program: string, call: Call, limits: Limits) => Outcome;

/** Longest result or output that is taken from a program, in UTF-16 code units. */
export const MAX_OUTPUT = 1 << 18;
/** Longest message about an error of a program. */
export const MAX_WHY = 300;

export const tooLong = `more than ${MAX_OUTPUT} characters`;
