import { fold } from '../fold.js';

/** Longest answer that is read as mathematics, in UTF-16 code units, and how deep its brackets may go. */
export const MAX_MATHS = 1000;
export const MAX_DEPTH = 40;

const SYMBOLS: Readonly<Record<string, string>> = {
  π: '\\pi ',
  θ: '\\theta ',
  α: '\\alpha ',
  β: '\\beta ',
  '×': '\\times ',
  '÷': '\\div ',
  '·': '\\cdot ',
  '⋅': '\\cdot ',
  '≤': '\\le ',
  '≥': '\\ge ',
  '≠': '\\ne ',
  '≈': '\\approx ',
  '∞': '\\infty ',
  '∪': '\\cup ',
  '∩': '\\cap ',
  '∈': '\\in ',
  '±': '\\pm ',
  '∓': '\\mp ',
  '°': '^\\circ ',
  '∅': '\\emptyset ',
  '½': '\\frac{1}{2}',
  '⅓': '\\frac{1}{3}',
  '⅔': '\\frac{2}{3}',
  '¼': '\\frac{1}{4}',
  '¾': '\\frac{3}{4}',
};
const SUPERSCRIPTS = '⁰¹²³⁴⁵⁶⁷⁸⁹';

/** Functions and constants that people also write without the backslash: spelling → LaTeX. */
const NAMES: Readonly<Record<string, string>> = {
  asin: 'arcsin',
  acos: 'arccos',
  atan: 'arctan',
  infinity: 'infty',
  inf: 'infty',
  ...Object.fromEntries(
    'sqrt arcsin arccos arctan sin cos tan cot sec csc sinh cosh tanh ln log exp pi theta alpha beta infty'
      .split(' ')
      .map((name) => [name, name]),
  ),
};

type Rewrite = readonly [RegExp, string | ((match: string, ...groups: string[]) => string)];

/** In this order: each step may count on what those before it have made uniform. None of them backtracks far. */
const REWRITES: readonly Rewrite[] = [
  [/^[\s*_`]+|[\s*_`]+$/g, ''],
  // Thousands and a decimal comma that LaTeX was told to set without a gap.
  [/(\d)(?:\{,\}|\\,|\\!,|,\\!|\\ |\u2009|\u202f)(?=\d{3}(?!\d))/g, '$1'],
  [/(\d)\{,\}(?=\d)/g, '$1.'],
  [/\\(?:left|right|[bB]igg?[lr]?)(?![A-Za-z])\s?\.?/g, ''],
  [/\\(?:displaystyle|textstyle|boldsymbol|mathbf|mathit|mathsf|mathnormal|bf|rm|limits)(?![A-Za-z])/g, ''],
  [/\\(?:text(?:bf|it|rm|tt|normal)|mbox|hbox)(?=\s?\{)/g, '\\text'],
  [/\\text\s?\{[\s,]*(,|;|or|and|或者?|和|及|、)[\s,]*\}/g, ' $1 '],
  [/(?<!\\)\\(?:[,;:!> ]|q?quad(?![A-Za-z])|thinspace(?![A-Za-z]))|~|&nbsp;/g, ' '],
  [/\\[dtc]frac(?![A-Za-z])/g, '\\frac'],
  [/\\[dt]binom(?![A-Za-z])/g, '\\binom'],
  [/\\leq?(?:slant)?(?![A-Za-z])|<=|=</g, '\\le '],
  [/\\geq?(?:slant)?(?![A-Za-z])|>=/g, '\\ge '],
  [/\\neq?(?![A-Za-z])|!=/g, '\\ne '],
  [/\\lt(?![A-Za-z])/g, '<'],
  [/\\gt(?![A-Za-z])/g, '>'],
  [/\\[lr]bra(?:ce|ck)(?![A-Za-z])/g, bracket],
  [/\\[lr]?vert(?![A-Za-z])/g, '|'],
  [/\\varnothing(?![A-Za-z])/g, '\\emptyset '],
  [/\\(?:degree|degrees)(?![A-Za-z])|\^\s?\{\s?\\circ\s?\}|\^\s?\\circ(?![A-Za-z])/g, '^\\circ '],
  [/[πθαβ×÷·⋅≤≥≠≈∞∪∩∈±∓°∅½⅓⅔¼¾]/g, (char) => SYMBOLS[char] ?? char],
  [/\+\/-/g, '\\pm '],
  [/⁻?[⁰¹²³⁴⁵⁶⁷⁸⁹]+/g, (run) => `^{${[...run].map(superscript).join('')}}`],
  [/√\s?(\d+(?:\.\d+)?|[A-Za-z])/g, '\\sqrt{$1}'],
  [/√/g, '\\sqrt'],
  [/(?<![\\A-Za-z])[a-z]{2,8}(?![A-Za-z])/g, (word) => (Object.hasOwn(NAMES, word) ? `\\${NAMES[word]} ` : word)],
  [/\\exp(?![A-Za-z])\s*/g, 'e^'],
  [/\*\*/g, '^'],
  [/\*/g, '\\cdot '],
  [/[-+](?:\s?[-+])+/g, (signs) => (signs.replace(/[+\s]/g, '').length % 2 === 0 ? '+' : '-')], // the library tries 2^n ways
  [/\^\s?(-?\d{2,}|-\s?(?:\d|[A-Za-z]))/g, '^{$1}'],
  [/_\s?(\d+|[A-Za-z])/g, '_{$1}'], // unbraced, the library takes what follows into the index
  [/\\%/g, '%'],
  [/(\d{0,15})\.(\d{0,15})\\overline\s?\{(\d{1,15})\}/g, repeating],
  [/\\(?:measured)?angle(?![A-Za-z])|\\triangle(?![A-Za-z])/g, ''],
  [/^(?:minus|negative) (?=[\d.\\¤])|^零下\s?(?=\d)/i, '-'],
  [/\s+/g, ' '],
  [/^(?:[\s,;:。，；]|\.(?!\d))+|[\s.,;:。，；]+$/g, ''],
];

function bracket(name: string): string {
  return { '\\lbrace': '\\{', '\\rbrace': '\\}', '\\lbrack': '[', '\\rbrack': ']' }[name] ?? name;
}

/** 0.1\overline{6} = (16 - 1) / 90: the library would cut it off. */
function repeating(_match: string, whole = '', before = '', again = ''): string {
  const top = BigInt(whole + before + again) - BigInt(`0${whole}${before}`);
  return `\\frac{${top}}{${'9'.repeat(again.length)}${'0'.repeat(before.length)}}`;
}

function superscript(char: string): string {
  return char === '⁻' ? '-' : String(SUPERSCRIPTS.indexOf(char));
}

/**
 * One way of writing for what LaTeX, Unicode and plain keyboards write differently: `\dfrac`, `½`, `1{,}000`, `2*sqrt(3)`,
 * `x^10`, `≤`. Mathematics stays as it was meant; fences (`$…$`, `\(…\)`), sizes and gaps go; a currency stays as `¤`.
 * @returns null when the text is longer than {@link MAX_MATHS}, nested deeper than {@link MAX_DEPTH}, or unbalanced
 */
export function normaliseLatex(source: string): string | null {
  if (source.length > MAX_MATHS) return null;
  let text = stripFences(fold(source).text.trim());
  for (const [pattern, by] of REWRITES) {
    text = typeof by === 'string' ? text.replace(pattern, by) : text.replace(pattern, by);
    if (text.length > 4 * MAX_MATHS) return null;
  }
  if (!balanced(text)) return null;
  text = unwrap(text, 'boxed');
  text = unwrap(text, 'fbox');
  text = bracesFor(text, /\\sqrt\s?(?:\[[^[\]]{1,20}\]\s?)?(?=\()/g);
  text = bracesFor(text, /\^\s?(?=\()/g);
  text = binomials(text);
  return text.trim();
}

/** `\$` and a `$` before a number of its own are money; other dollars, `\(` and `\[` only say that mathematics begins. */
function stripFences(source: string): string {
  const text = source.replace(/\\\$/g, '¤').replace(/(?<!\\)\\[()[\]]/g, ' ');
  const dollars = text.split('$').length - 1;
  const money = dollars === 1 ? text.replace(/\$(?=\s?-?[\d.])/, '¤') : text;
  return money.replaceAll('$', ' ').replace(/[€£¥￥₹]/g, '¤');
}

/** The index of the bracket that closes the one at `open`, any kind closing any (intervals mix them), or -1. */
export function closing(text: string, open: number): number {
  let depth = 0;
  for (let i = open; i < text.length; i++) {
    const char = text.charAt(i);
    if (char === '\\' && !/[{}]/.test(text.charAt(i + 1))) i++;
    else if (/[([{]/.test(char)) depth++;
    else if (/[)\]}]/.test(char) && --depth === 0) return i;
  }
  return -1;
}

function balanced(text: string): boolean {
  let braces = 0;
  let depth = 0;
  for (let i = 0; i < text.length; i++) {
    const char = text.charAt(i);
    if (char === '\\' && !/[{}]/.test(text.charAt(i + 1))) {
      i++;
      continue;
    }
    const set = char === '\\';
    const at = set ? text.charAt(++i) : char;
    if (/[([{]/.test(at)) depth++;
    else if (/[)\]}]/.test(at)) depth--;
    if (!set) braces += at === '{' ? 1 : at === '}' ? -1 : 0;
    if (depth < 0 || braces < 0 || depth > MAX_DEPTH) return false;
  }
  return depth === 0 && braces === 0;
}

/** `\name{…}` → what is inside, if it stands alone. */
function unwrap(text: string, name: string): string {
  const match = new RegExp(String.raw`^\\${name}\s?\{`).exec(text);
  if (!match) return text;
  const open = match[0].length - 1;
  return closing(text, open) === text.length - 1 ? text.slice(open + 1, -1).trim() : text;
}

/** `\sqrt(x+1)`, `x^(1/2)`: the parentheses after what `pattern` finds become braces, which LaTeX groups by. */
function bracesFor(source: string, pattern: RegExp): string {
  let text = source;
  pattern.lastIndex = 0;
  for (let match = pattern.exec(text); match; match = pattern.exec(text)) {
    const open = match.index + match[0].length;
    const close = closing(text, open);
    if (close > 0) text = `${text.slice(0, open)}{${text.slice(open + 1, close)}}${text.slice(close + 1)}`;
    pattern.lastIndex = open;
  }
  return text;
}

/** `\binom{n}{k}`, which the library does not know, as the quotient of factorials that it is. */
function binomials(source: string): string {
  let text = source;
  for (let round = 0; round < 4; round++) {
    const match = /\\binom\s?\{([^{}]{1,40})\}\s?\{([^{}]{1,40})\}/.exec(text);
    if (!match) break;
    const [whole, n, k] = match;
    const value = `\\frac{(${n})!}{(${k})!((${n})-(${k}))!}`;
    text = text.slice(0, match.index) + value + text.slice(match.index + whole.length);
  }
  return text;
}

/**
 * Parts of a text between separators that stand outside all brackets.
 * @param separator sticky or not, global or not: only its source and case flag are used
 */
export function splitOutside(text: string, separator: RegExp): { parts: string[]; separators: string[] } {
  const at = new RegExp(separator.source, separator.ignoreCase ? 'iy' : 'y');
  const parts: string[] = [];
  const separators: string[] = [];
  let depth = 0;
  let from = 0;
  for (let i = 0; i < text.length; ) {
    at.lastIndex = i;
    const match = depth === 0 ? at.exec(text) : null;
    if (match && match[0].length > 0) {
      parts.push(text.slice(from, i).trim());
      separators.push(match[0].trim());
      i += match[0].length;
      from = i;
      continue;
    }
    const char = text.charAt(i);
    if (char === '\\' && !/[{}]/.test(text.charAt(i + 1))) {
      // A command is one piece: \in begins no \infty, and a separator made of letters does not stand inside one.
      i += /^\\[A-Za-z]+|^\\[\s\S]?/.exec(text.slice(i, i + 40))?.[0].length ?? 1;
      continue;
    }
    if (/[([{]/.test(char)) depth++;
    else if (/[)\]}]/.test(char)) depth--;
    i++;
  }
  parts.push(text.slice(from).trim());
  return { parts, separators };
}
