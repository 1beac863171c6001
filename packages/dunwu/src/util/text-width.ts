/**
 * Columns that a text takes in a terminal: 2 for a wide character (CJK, full-width forms, emoji), 0 for combining
 * marks and control sequences, else 1. Ranges after Unicode's EastAsianWidth.txt (classes W and F).
 */
export function textWidth(text: string): number {
  let width = 0;
  for (const { segment } of segmenter.segment(stripColours(text))) width += clusterWidth(segment);
  return width;
}

/** The longest beginning of `text` that fits in `columns`, with `…` as its end when something was cut. */
export function fitWidth(text: string, columns: number): string {
  if (textWidth(text) <= columns) return text;
  let width = 0;
  let fitted = '';
  for (const { segment } of segmenter.segment(stripColours(text))) {
    const next = clusterWidth(segment);
    if (width + next > columns - 1) break;
    width += next;
    fitted += segment;
  }
  return columns < 1 ? '' : `${fitted}…`;
}

const segmenter = new Intl.Segmenter(undefined, { granularity: 'grapheme' });

function stripColours(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the escape character is what colour codes begin with
  return text.replace(/\u001b\[[0-9;]*[A-Za-z]/g, '');
}

function clusterWidth(cluster: string): number {
  const point = cluster.codePointAt(0) ?? 0;
  if (point < 0x20 || (point >= 0x7f && point < 0xa0) || /^\p{M}|^\u200b/u.test(cluster)) return 0;
  if (/\p{Emoji_Presentation}|\ufe0f/u.test(cluster)) return 2;
  return WIDE.some(([low, high]) => point >= low && point <= high) ? 2 : 1;
}

const WIDE: readonly (readonly [number, number])[] = [
  [0x1100, 0x115f],
  [0x2e80, 0x303e],
  [0x3041, 0x33ff],
  [0x3400, 0x4dbf],
  [0x4e00, 0x9fff],
  [0xa000, 0xa4cf],
  [0xa960, 0xa97f],
  [0xac00, 0xd7a3],
  [0xf900, 0xfaff],
  [0xfe30, 0xfe6f],
  [0xff00, 0xff60],
  [0xffe0, 0xffe6],
  [0x20000, 0x3fffd],
];
