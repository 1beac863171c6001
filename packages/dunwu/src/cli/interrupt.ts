/** Signals that mean: save and stop. */
export const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** One Ctrl-C can arrive twice, from the terminal and again from npm: this close together they are one. */
const SAME_KEYPRESS_MS = 300;

export interface Interruption {
  readonly signal: AbortSignal;
  dispose(): void;
}

/**
 * The first Ctrl-C (or SIGTERM, SIGHUP) aborts the signal and calls `onFirst`. The next one ends the process at once,
 * even in the middle of a long native call: our handlers are gone by then, so that the system's own apply.
 */
export function interruption(onFirst: () => void): Interruption {
  const controller = new AbortController();
  const dispose = () => {
    for (const name of SIGNALS) process.removeListener(name, handle);
  };
  const handle = () => {
    if (controller.signal.aborted) return;
    controller.abort();
    onFirst();
    setTimeout(dispose, SAME_KEYPRESS_MS).unref();
  };
  for (const name of SIGNALS) process.on(name, handle);
  return { signal: controller.signal, dispose };
}
