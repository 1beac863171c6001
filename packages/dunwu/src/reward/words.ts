/** A word of natural language: one Han, kana, Thai … character, or a run of letters of another script. */
export interface Word {
  readonly text: string;
  readonly start: number;
  readonly end: number;
}

/** At most so many UTF-16 code units of one text are looked at. */
export const MAX_WORDS_TEXT = 100_000;

const blank = (text: string): string => ' '.repeat(text.length);

const CODE = [
  /```[^`]*(?:```|$)/g,
  /`[^`\n]*`/g,
  /<\/?[A-Za-z][^<>\n]{0,40}>/g,
  /<\|[^<>\n|]{1,40}\|>|<｜[^<>\n｜]{1,40}｜>/g,
  /<<[^<>\n]{0,200}>>/g,
  /\bhttps?:\/\/[^\s<>"'，。）]{1,2000}/g,
];
/** TeX's own fences, and Pandoc's rule for dollars: no space inside them, no digit behind ("$5 and $6" is money). */
const FORMULAS =
  /\$\$[^$]{1,2000}\$\$|\$(?![\s$])[^$\n]{0,500}?[^\s\\$]\$(?!\d)|\\\([^\n]{0,500}?\\\)|\\\[[^\]]{0,500}?\\\]|\\begin\{(equation|align|aligned|gather|cases|matrix|pmatrix|bmatrix|array)\*?\}[^$]{0,2000}?\\end\{\1\*?\}/g;
const TEXT_IN_FORMULA = /\\(?:text|textbf|textit|mathrm|mbox)\s?\{[^{}\n]{0,200}\}/g;
const TEXT_UNIT =
  /\\(?:text|mathrm)\s?\{\s?(?:km|cm|mm|dm|kg|mg|ml|mL|kWh|kW|min|mph|m|g|h|s|l|L|t)\s?(?:\^?[23])?\s?\}/g;
const TWO_WORDS = /\p{L}{2,}(?:[ ,]{1,3}\p{L}{2,}){1,200}/gu;
const NO_WORDS = [
  /\\(?:begin|end)\{[a-z*]{1,20}\}/g,
  /\\[A-Za-z]+/g,
  // Units and multipliers glued to or right behind digits: 5km, 3 kg, 10x.
  /(?<=\d ?)(?:km|cm|mm|dm|kg|mg|ml|mL|kWh|kW|min|mph|m|g|h|s|l|L|t|x|X)(?![A-Za-z])/g,
];
const UNSPACED = String.raw`\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}`;
const LATIN = String.raw`\p{Script=Latin}[\p{Script=Latin}\p{M}]*`;
const WORD = new RegExp(
  String.raw`${LATIN}(?:['’]${LATIN})*|(?=\p{L})[${UNSPACED}]\p{M}*|(?![${UNSPACED}\p{Script=Latin}])\p{L}(?:(?![${UNSPACED}\p{Script=Latin}])[\p{L}\p{M}])*`,
  'gu',
);

/** Letters of a formula are symbols, but for its \text{…} and for what is a sentence between dollars. */
function withoutSymbols(formula: string): string {
  const kept: (readonly [number, number])[] = [];
  for (const pattern of [TEXT_IN_FORMULA, TWO_WORDS]) {
    for (const match of formula.replace(/\\[A-Za-z]+(?!\s?\{)/g, blank).matchAll(pattern)) {
      kept.push([match.index, match.index + match[0].length]);
    }
  }
  return formula.replace(/\p{Script=Latin}+/gu, (run: string, at: number) =>
    kept.some(([start, end]) => at >= start && at + run.length <= end) ? run : blank(run),
  );
}

/**
 * The words of a text, with their places. Not counted, because they are in no language: numbers, formulas (between TeX's
 * fences; their \text is counted), LaTeX commands, code, tags, addresses, identifiers with digits, units behind a number,
 * and single Latin letters (variables, labels) other than "a" and "I". Reads {@link MAX_WORDS_TEXT} code units; linear.
 */
export function wordsOf(source: string): Word[] {
  let text = source.length > MAX_WORDS_TEXT ? source.slice(0, MAX_WORDS_TEXT) : source;
  for (const pattern of CODE) text = text.replace(pattern, blank);
  text = text.replace(TEXT_UNIT, blank).replace(FORMULAS, withoutSymbols);
  for (const pattern of NO_WORDS) text = text.replace(pattern, blank);
  text = text.replace(/[A-Za-z\d_^]+/g, (run) => (/[\d_^]/.test(run) ? blank(run) : run));
  const words: Word[] = [];
  for (const { 0: word, index } of text.matchAll(WORD)) {
    if (/^\p{Script=Latin}$/u.test(word) && word !== 'a' && word !== 'I') continue;
    words.push({ text: word, start: index, end: index + word.length });
  }
  return words;
}
