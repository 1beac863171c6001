import type { Span } from './trace.js';

/** What is repeated in a text, counted in n-grams of tokens. */
export interface Repetition {
  /** n-grams of the text; 0 when it has fewer than n tokens. */
  readonly grams: number;
  /** Those of them that occurred before. */
  readonly repeated: number;
  /** `repeated / grams`, 0 without n-grams. */
  readonly share: number;
  /** Whether there is any token at all. */
  readonly empty: boolean;
  /** Runs of tokens that were written before (at most 64). */
  readonly spans: readonly Span[];
}

/** At most so many UTF-16 code units are read. */
const MAX_TEXT = 100_000;
const MAX_SPANS = 64;
/** Words and numbers in pieces of at most 20, so that "aaaa…" repeats itself; one character of unspaced scripts; signs. */
const TOKEN =
  /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}]|[\p{Script=Latin}\p{Script=Cyrillic}\p{Script=Greek}\p{M}]{1,20}|\d{1,20}|([^\p{L}\p{N}\s])\1{0,19}|\S/gu;

/**
 * Repetition of a text: the share of its n-grams that occurred before in it, which is rep-n of Welleck et al. (arXiv
 * 1908.04319, section 6.1: 1 − unique n-grams / n-grams). Tokens are words, numbers, signs, and single characters of
 * scripts without spaces; case does not count. Linear; never throws.
 */
export function repetition(source: string, n = 4): Repetition {
  const text = source.length > MAX_TEXT ? source.slice(0, MAX_TEXT) : source;
  const tokens: { text: string; start: number; end: number }[] = [];
  for (const { 0: token, index } of text.matchAll(TOKEN)) {
    tokens.push({ text: token.toLowerCase(), start: index, end: index + token.length });
  }
  const grams = Math.max(0, tokens.length - n + 1);
  const seen = new Set<string>();
  const spans: [number, number][] = [];
  let repeated = 0;
  let last = -1;
  for (let i = 0; i < grams; i++) {
    const window = tokens.slice(i, i + n);
    const key = window.map((token) => token.text).join(' ');
    if (!seen.has(key)) {
      seen.add(key);
      continue;
    }
    repeated++;
    const [start, end] = [window[0]?.start ?? 0, window.at(-1)?.end ?? 0];
    const open = spans.at(-1);
    // Overlapping repeated n-grams are one passage.
    if (open && last === i - 1) open[1] = end;
    else if (spans.length < MAX_SPANS) spans.push([start, end]);
    else continue;
    last = i;
  }
  return { grams, repeated, share: grams === 0 ? 0 : repeated / grams, empty: tokens.length === 0, spans };
}
