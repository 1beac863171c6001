/**
 * Text for a terminal with its control characters (but line feed and tab) written out as \\xNN: what a model or a file says must
 * not move the cursor, change colours or set the window's title.
 */
export function visible(text: string): string {
  let shown = '';
  for (const char of text) {
    const code = char.codePointAt(0) ?? 0;
    const control = (code < 0x20 && char !== '\n' && char !== '\t') || (code >= 0x7f && code < 0xa0);
    shown += control ? `\\x${code.toString(16).padStart(2, '0')}` : char;
  }
  return shown;
}

/**
 * As {@link visible}, with what nobody sees written out as \\u{200b} too: zero-width characters, direction marks and
 * other format characters, lone surrogates, line separators. Line feeds stay, tabs become spaces.
 */
export function plainVisible(text: string): string {
  return visible(text)
    .replace(/[\p{Cf}\p{Cs}\p{Zl}\p{Zp}\u115f\u1160\u3164\uffa0]|\u034f/gu, escapedPoint)
    .replaceAll('\t', '    ');
}

const escapedPoint = (char: string): string => `\\u{${(char.codePointAt(0) ?? 0).toString(16)}}`;
