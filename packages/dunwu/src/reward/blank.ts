/** Format characters (zero-width spaces, direction marks), and fillers that Unicode calls letters, marks or signs. */
const INVISIBLE = /[\s\p{Cf}\p{Cc}\u115f\u1160\u2800\u3164\uffa0]|\u034f|\u17b4|\u17b5/gu;

/** What of a text can be seen. */
export function visiblePart(text: string): string {
  return text.replace(INVISIBLE, '');
}

/** Whether a text says anything: has a letter or a digit. Blanks of any kind, dots and dashes say nothing. */
export function saysSomething(text: string): boolean {
  return /[\p{L}\p{N}]/u.test(visiblePart(text));
}
