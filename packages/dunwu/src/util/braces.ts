/** Where the brace closes whose content begins at `open` of a LaTeX text, or -1; `\{` and `\}` are letters. */
export function braceEnd(text: string, open: number): number {
  let depth = 1;
  for (let i = open; i < text.length; i++) {
    const char = text.charAt(i);
    if (char === '\\') i++;
    else if (char === '{') depth++;
    else if (char === '}' && --depth === 0) return i;
  }
  return -1;
}

/** `\boxed{` and `\fbox{`, up to their content. */
export const boxes = /\\(?:boxed|fbox)\s?\{/g;

/** What the last `\boxed{…}` of a solution holds, or null when there is none, or it does not close. */
export function lastBoxed(text: string): string | null {
  const box = [...text.matchAll(boxes)].at(-1);
  if (box === undefined) return null;
  const open = box.index + box[0].length;
  const end = braceEnd(text, open);
  return end < 0 ? null : text.slice(open, end).trim();
}
