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
  let text = '';
  return (token) => {
    text += decoder.push(token);
    const { length, stopped } = clearOfStops(text, stops);
    text = text.slice(length);
    return stopped;
  };
}

/**
 * How much of a text that is still growing can be shown: neither a stop string and what follows it, nor an end that may be the beginning
 * of one. What has been shown need not be given again.
 */
export function clearOfStops(
  text: string,
  stops: readonly string[],
): { readonly length: number; readonly stopped: boolean } {
  const { length } = cutAtStop(text, stops);
  if (length < text.length) return { length, stopped: true };
  return { length: length - Math.max(0, ...stops.map((stop) => overlap(text, stop))), stopped: false };
}

/** Length of the longest end of `text` that `stop` begins with, without all of it. */
function overlap(text: string, stop: string): number {
  for (let length = Math.min(stop.length - 1, text.length); length > 0; length--) {
    if (text.endsWith(stop.slice(0, length))) return length;
  }
  return 0;
}
