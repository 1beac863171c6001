/** Text made uniform for reading, with the way back: `origin(i)` is the index in the source of index `i` of `text`. */
export interface Folded {
  readonly text: string;
  /** Source index of a folded index; `text.length` maps to the source's length. */
  origin(index: number): number;
}

/** Zero-width and direction marks: models copy them from web pages, nobody sees them, and they split a number in two. */
const HIDDEN = /[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]|\ufe0e|\ufe0f/;
const NEEDS_FOLDING =
  /[\u00a0\u00ad\u200b-\u200f\u2010-\u2013\u202a-\u202e\u2044\u2060-\u2064\u2212\u2215\u3000\ufe63\ufeff\uff01-\uff5e]|\ufe0e|\ufe0f|负(?=[\d０-９])/;

function foldUnit(char: string, code: number): string {
  // Full-width ASCII. The colon stays: "步骤1：18" is a label, while "1:18" is a ratio.
  if (code >= 0xff01 && code <= 0xff5e) return code === 0xff1a ? char : String.fromCharCode(code - 0xfee0);
  if ((code >= 0x2010 && code <= 0x2013) || code === 0x2212 || code === 0xfe63) return '-';
  if (code === 0x2044 || code === 0x2215) return '/';
  if (code === 0x00a0 || code === 0x3000) return ' ';
  return char;
}

/**
 * Full-width digits, letters and signs become ASCII, the several minus signs and fraction slashes one each, and invisible
 * characters disappear. Linear in the text's length.
 */
export function fold(source: string): Folded {
  if (!NEEDS_FOLDING.test(source)) return { text: source, origin: (index) => index };
  const chars: string[] = [];
  const origins: number[] = [];
  for (let i = 0; i < source.length; i++) {
    const char = source.charAt(i);
    if (HIDDEN.test(char)) continue;
    // 负5 is -5; 负 before a Chinese numeral is read with it.
    const negative = char === '负' && /[\d０-９]/.test(source.charAt(i + 1));
    chars.push(negative ? '-' : foldUnit(char, source.charCodeAt(i)));
    origins.push(i);
  }
  return { text: chars.join(''), origin: (index) => origins[index] ?? source.length };
}

/** The source span of a folded half-open range: ends right after the last character taken, not before the next one. */
export function originSpan(folded: Folded, start: number, end: number): [start: number, end: number] {
  return [folded.origin(start), end > start ? folded.origin(end - 1) + 1 : folded.origin(start)];
}
