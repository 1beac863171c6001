/**
 * Where answers outside of tags are looked for: after the last `</think>` when something is written there, and not in a
 * further question that the model invents. `offset`: where the text begins in `response`.
 */
export function answerRegion(response: string): { text: string; offset: number } {
  const thought = response.lastIndexOf('</think>');
  const after = thought < 0 ? 0 : thought + '</think>'.length;
  const offset = after > 0 && /[\p{L}\p{N}]/u.test(response.slice(after)) ? after : 0;
  return { text: cutInventedQuestion(response.slice(offset)), offset };
}

/** A base model goes on with a question of its own after its answer; that part is not the answer to ours. */
function cutInventedQuestion(text: string): string {
  const digit = text.search(/\d/);
  const marker = MARKER.exec(text);
  if (digit < 0 || !marker) return text;
  INVENTED.lastIndex = Math.max(digit, marker.index + marker[0].length);
  const next = INVENTED.exec(text);
  return next ? text.slice(0, next.index) : text;
}

const MARKER = /####|\\boxed|answer|(?:^|\n)[ \t]{0,8}A ?:|答/i;
const INVENTED =
  /\n[ \t]{0,8}(?:#{1,6} ?)?\*{0,2}(?:Q|Question|Problem|User|Human|问题|题目|问)\*{0,2} ?\d{0,3} ?[:：]/gi;

export interface Mark {
  readonly at: number;
  readonly end: number;
}

export function marks(text: string, pattern: RegExp): Mark[] {
  return [...text.matchAll(pattern)].map((match) => ({ at: match.index, end: match.index + match[0].length }));
}

/** "the answer is", "Final Answer:", "the correct answer to the question would be", "答案是", "答案：". */
export const phrase =
  /\banswer\b["'*_\s]{0,4}(?:(?:to|for|of)\b[^.\n:=]{0,80}?)?["'*_\s,]{0,4}(?:(?:therefore|thus|then|hence|here),?\s)?(?:\b(?:is|was|equals|comes to)\b|\b(?:would|will|should|must) be\b|[:：=])[*_\s]{0,4}[:：]?|答案["”*_\s]{0,4}(?:应该|应当|就|便|也)?(?:是|为|等于|应为|[:：=])[*_\s]{0,4}[:：]?/gi;
/** A heading of its own: "## Final Answer", "**Answer**", "答案". */
export const heading = /(?:^|\n)[#*_\s>]{0,8}(?:(?:the )?final )?(?:answer|答案)[*_ \t]{0,6}(?=\n)/gi;
/** "A: 18", "Ans. 18", "答：一共18个". */
export const label =
  /(?:^|\n)[ \t>*_#-]{0,8}(?:A|Ans(?:wer)?)[*_]{0,3}\s?[:：.][*_]{0,3}|(?:^|[\s。.;；，,、)）])答[*_]{0,3}[:：][*_]{0,3}/gi;
export const hashes = /#{4}(?!#)/g;

/** "#### 1. Work out the price" is a markdown heading. */
export function isHeading(text: string, at: number): boolean {
  return /^[ \t]*\*{0,2}\d{1,2}(?:[.)、:：]|\s+-)[ \t]*\*{0,2}[ \t]*[\p{L}]/u.test(text.slice(at, at + 24));
}
