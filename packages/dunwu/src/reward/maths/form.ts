import { fold } from '../fold.js';
import { answerWordAt, type NumberToken, readNumber } from '../number.js';
import { unitOf } from '../units.js';
import { type Expression, readExpression } from './expression.js';
import { closing, normaliseLatex, splitOutside } from './latex.js';

/** One quantity: a number or an expression, with what stands round it. */
export interface Value {
  readonly kind: 'value';
  /** Null where the text is a plain number that {@link number} holds, in words perhaps. */
  readonly expression: Expression | null;
  readonly number: NumberToken | null;
  readonly percent: boolean;
  /** As written: "cm^2", "apples", "degrees"; null when there is none. */
  readonly unit: string | null;
}

export type Relation = '=' | '<' | '≤' | '>' | '≥' | '≠' | '≈' | '∈';

/** The shapes an answer may have. */
export type MathsAnswer =
  | Value
  | { readonly kind: 'words'; readonly text: string }
  /** Several answers side by side, in any order: `1, 2`, `x = 1 or x = 2`, `3 ± √2`. */
  | { readonly kind: 'list'; readonly items: readonly MathsAnswer[] }
  | { readonly kind: 'set'; readonly items: readonly MathsAnswer[] }
  /** A point, a vector or an interval: which, only the question knows. */
  | { readonly kind: 'tuple'; readonly open: string; readonly close: string; readonly items: readonly MathsAnswer[] }
  | { readonly kind: 'union'; readonly parts: readonly MathsAnswer[] }
  /** `a = b = c` has three sides and two relations; a chain of inequalities likewise. */
  | { readonly kind: 'relation'; readonly sides: readonly MathsAnswer[]; readonly relations: readonly Relation[] }
  | { readonly kind: 'matrix'; readonly rows: readonly (readonly MathsAnswer[])[] }
  /** 1101_2: digits, and the base that they are written in. */
  | { readonly kind: 'base'; readonly digits: string; readonly base: number };

/** Items of a list, a set or a tuple, and how deep they may nest. */
const MAX_ITEMS = 64;
const MAX_NESTING = 6;

/**
 * Reads the text of an answer, LaTeX or plain, Chinese or English. Never throws.
 * @returns null when it is none of the shapes, too long or malformed
 */
export function readMaths(source: string): MathsAnswer | null {
  const spoken = spokenNumber(source);
  if (spoken) return spoken;
  const text = normaliseLatex(source);
  return text === null || text === '' ? null : readForm(text, 0);
}

/** "eighteen", "三分之二", "负五": a number in words is no product of letters. */
function spokenNumber(source: string): MathsAnswer | null {
  if (source.length > 100 || /[\d\\$]/.test(source) || /^\s*[A-Za-z]\b/.test(source)) return null;
  const number = readNumber(source);
  return number ? { kind: 'value', expression: null, number, percent: number.percent, unit: null } : null;
}

const RELATION = /\\(?:le|ge|ne|approx|in)(?![A-Za-z])|[=<>]/;
const RELATIONS: Readonly<Record<string, Relation>> = {
  '=': '=',
  '<': '<',
  '>': '>',
  '\\le': '≤',
  '\\ge': '≥',
  '\\ne': '≠',
  '\\approx': '≈',
  '\\in': '∈',
};
const CUP = /\\cup(?![A-Za-z])/;
const AND_OR = /[;；、]|,(?=\s|\D|$)|,|(?<![A-Za-z\\])(?:or|and)(?![A-Za-z])|或者?|和|及/;

function readForm(text: string, nesting: number): MathsAnswer | null {
  if (nesting > MAX_NESTING || text === '') return null;
  const grouped = joinThousands(text);
  const whole = wrapped(grouped, nesting);
  if (whole !== undefined) return whole;
  const quoted = /^\\text\s?\{([^{}]*\d[^{}]*)\}$/.exec(grouped)?.[1];
  if (quoted !== undefined) return readForm(quoted.trim(), nesting + 1);
  const ratio = grouped.split(/\s?:\s?/);
  if (ratio.length > 2 && ratio.every((part) => /^\d+(?:\.\d+)?$/.test(part))) {
    return collect(ratio, nesting, (items) => ({ kind: 'tuple', open: ':', close: ':', items }));
  }
  const matrix = readMatrix(grouped, nesting);
  if (matrix !== undefined) return matrix;
  const compound = compoundQuantity(grouped);
  if (compound) return compound;

  const { parts: cups } = splitOutside(grouped, CUP);
  if (cups.length > 1 && !RELATION.test(splitOutside(grouped, RELATION).separators.join(''))) {
    return collect(cups, nesting, (parts) => ({ kind: 'union', parts }));
  }
  if (!isSentence(grouped)) {
    const { parts: items } = splitOutside(grouped, AND_OR);
    const given = items.filter((item) => item !== '');
    if (given.length > 1) return collect(given, nesting, (read) => ({ kind: 'list', items: read }));
  }
  const { parts: sides, separators } = splitOutside(grouped, RELATION);
  if (separators.length > 0) {
    const relations = separators.map((one) => RELATIONS[one] ?? '=');
    return collect(sides, nesting, (read) => ({ kind: 'relation', sides: read, relations }));
  }
  const pm = plusMinus(grouped, nesting);
  if (pm !== undefined) return pm;
  return readBase(grouped) ?? readValue(grouped) ?? readWords(grouped);
}

function collect(
  texts: readonly string[],
  nesting: number,
  make: (read: MathsAnswer[]) => MathsAnswer,
): MathsAnswer | null {
  if (texts.length > MAX_ITEMS) return null;
  const read: MathsAnswer[] = [];
  for (const text of texts) {
    const one = readForm(text, nesting + 1);
    if (one === null) return null;
    read.push(one);
  }
  return make(read);
}

/** "1,234,567" is one number; within brackets only beside a separator with a gap: `(1,234, 5)`, but `\{100,200,300\}`. */
function joinThousands(text: string): string {
  const inBrackets = /^(?:\\\{|[([])/.test(text);
  if (inBrackets && !/,\s/.test(text)) return text;
  return text.replace(/(?<![\d.,])\d{1,3}(?:,\d{3})+(?![\d,])/g, (number) => number.replaceAll(',', ''));
}

/** `(…)`, `[…)`, `\{…\}`, `{…}` round the whole text; undefined when there is nothing round it. */
function wrapped(text: string, nesting: number): MathsAnswer | null | undefined {
  const set = text.startsWith('\\{');
  const open = set ? '\\{' : text.charAt(0);
  if (!set && !/[([{]/.test(open)) return undefined;
  const end = closing(text, open.length - 1);
  if (end !== text.length - 1) return undefined;
  const close = text.endsWith('\\}') ? '\\}' : text.charAt(end);
  const inner = text.slice(open.length, -close.length).trim();
  if (set !== (close === '\\}') || (open === '{') !== (close === '}')) return null;
  if (open === '{') return readForm(inner, nesting + 1);
  if (set) {
    if (inner === '') return { kind: 'set', items: [] };
    const builder = /^([A-Za-z])\s?(?:\\in\s?\\mathbb\s?\{R\})?\s?(?:\||:|\\mid(?![A-Za-z]))(.+)$/.exec(inner);
    const condition = builder?.[2] === undefined ? null : readForm(builder[2].trim(), nesting + 1);
    if (condition?.kind === 'relation' || condition?.kind === 'list') return condition; // {x | x > 1} is (1, ∞)
    if (/[|:]|\\mid/.test(inner)) return { kind: 'words', text: plainWords(text) }; // another one: by its text
  }
  const { parts } = splitOutside(inner, /[,;]/);
  const tuple = (items: MathsAnswer[]): MathsAnswer =>
    set ? { kind: 'set', items } : { kind: 'tuple', open, close, items };
  if (parts.length === 1) {
    if (set) return collect(parts, nesting, tuple);
    if (/^[A-Za-z]$/.test(inner)) return readValue(inner); // (B)
    // (x+1) is x+1; what is in brackets for another reason, like (1 or 2), is that.
    return open === '(' && close === ')' ? readForm(inner, nesting + 1) : null;
  }
  return collect(parts, nesting, tuple);
}

function readMatrix(text: string, nesting: number): MathsAnswer | null | undefined {
  const match = /^\\begin\s?\{([pbB]?matrix|array)\}(?:\{[lcr|\s]{1,20}\})?([\s\S]*)\\end\s?\{\1\}$/.exec(text);
  if (!match) return undefined;
  const rows: MathsAnswer[][] = [];
  for (const line of (match[2] ?? '').split(/\\\\(?:\s?\[[^\]]{0,10}\])?/)) {
    if (line.trim() === '') continue;
    const row = collect(
      line.split('&').map((cell) => cell.trim()),
      nesting,
      (items) => ({ kind: 'list', items }),
    );
    if (row?.kind !== 'list') return null;
    rows.push([...row.items]);
  }
  return rows.length === 0 ? null : { kind: 'matrix', rows };
}

/** `a ± b` is the list of both; with `∓` beside it the signs go together. */
function plusMinus(text: string, nesting: number): MathsAnswer | null | undefined {
  const signs = text.match(/\\(?:pm|mp)(?![A-Za-z])/g)?.length ?? 0;
  if (signs === 0) return undefined;
  if (signs > 4) return null;
  const signed = (plus: string, minus: string) =>
    text.replace(/\\pm(?![A-Za-z])/g, plus).replace(/\\mp(?![A-Za-z])/g, minus);
  const texts = [signed('+', '-'), signed('-', '+')].map((one) => one.replace(/^\s*\+/, ''));
  return collect(texts, nesting, (items) => ({ kind: 'list', items }));
}

function readBase(text: string): MathsAnswer | null {
  const match = /^([\dA-F]{1,60})\s?_\s?\{?\s?(?:\\text\s?\{)?\s?(\d{1,2}|two|three|eight|ten|sixteen)\s?\}{0,2}$/.exec(
    text,
  );
  if (!match?.[1] || !/^\d/.test(match[1])) return null;
  const named: Readonly<Record<string, number>> = { two: 2, three: 3, eight: 8, ten: 10, sixteen: 16 };
  const base = named[match[2] ?? ''] ?? Number(match[2]);
  const fits = base >= 2 && base <= 16 && [...match[1]].every((digit) => Number.parseInt(digit, 16) < base);
  return fits ? { kind: 'base', digits: match[1].replace(/^0+(?=.)/, ''), base } : null;
}

const UNIT_POWER = String.raw`(?:\s?\^\s?\{?\s?[23]\s?\}?)?`;
const textUnit = new RegExp(
  String.raw`^([\s\S]*?)\s*\\(?:text|mathrm|operatorname)\s?\{([^{}]{0,60})\}(${UNIT_POWER})$`,
);
const wordUnit = new RegExp(
  String.raw`^([\s\S]*?[\d)}\]!i])\s*((?:[A-Za-z\u4e00-\u9fff]+\.?[ /]?){1,4})(${UNIT_POWER})$`,
);
/** A word that would change the number before it, so that it is no unit. */
const NO_UNIT = /\d|\b(?:or|and|to|not|half|dozens?|pairs?|hundreds?|score|mod)\b|[或和半至到几多]/i;
const SCALED = /^-?[¤\d.,/\s]*\d\s*(?:thousand|million|billion|trillion|k|百|千|万|百万|千万|亿)$/i;

/** "about 18": a word beside a number or another word is no product of its letters. */
const PROSE = /(?<![\\A-Za-z])[A-Za-z]{4,}\s+[\dA-Za-z]|[\dA-Za-z]\s+[A-Za-z]{4,}/;

/** A number or an expression, and what stands round it; null when it is none. */
function readValue(source: string): Value | null {
  let text = source;
  let unit: string | null = null;
  let percent = false;
  const money = /^(-?)\s?¤\s?(-?)/.exec(text) ?? null;
  if (money) {
    text = `${money[1]}${money[2]}${text.slice(money[0].length)}`;
    unit = 'dollars';
  }
  if (/\s?¤$/.test(text)) {
    text = text.replace(/\s?¤$/, '');
    unit = 'dollars';
  }
  const scaled = readScaled(text);
  if (scaled) return { kind: 'value', expression: null, number: scaled, percent: false, unit };
  const { value, written } = withoutUnit(text);
  text = value;
  unit = written ?? unit;
  if (/%$/.test(text) || unit === 'percent' || unit === 'per cent') {
    text = text.replace(/\s?%$/, '');
    percent = true;
    if (unit === 'percent' || unit === 'per cent') unit = null;
  }
  const number = plainNumber(text, percent);
  const expression = PROSE.test(text) ? null : readExpression(text);
  return expression === null && number === null ? null : { kind: 'value', expression, number, percent, unit };
}

/** "2 million", "3万", "1.5k". */
function readScaled(text: string): NumberToken | null {
  return SCALED.test(text) ? readNumber(text.replace('¤', '')) : null;
}

const SCIENTIFIC = /(?:\s?\\(?:times|cdot)\s?10\s?\^\s?(?:\{\s?[-+]?\d{1,3}\s?\}|\d)|[eE][-+]?\d{1,3})$/;
const FRACTION = /\\frac\s?(?:\{\s?-?\s?[\d.]+\s?\}\s?\{\s?[\d.]+\s?\}|\d\s?\d)/;

/** What readNumber says of a text that is nothing but a number; `2x`, `5!` and `10^3` are not. */
function plainNumber(text: string, percent: boolean): NumberToken | null {
  if (!/^[-\d.,/:\s]*$/.test(text.replace(SCIENTIFIC, '').replace(FRACTION, ''))) return null;
  return readNumber(percent ? `${text}%` : text);
}

/** "18 sixty", "18三十": a second number is no unit of the first. */
function saysNumber(words: string): boolean {
  return words.split(/[^A-Za-z\u4e00-\u9fff]+/).some((word) => word !== '' && answerWordAt(word, 0) !== null);
}

function withoutUnit(text: string): { value: string; written: string | null } {
  const none = { value: text, written: null };
  if (/\^\\circ\s*(?:[CF])?$/.test(text)) {
    const value = text.replace(/\s*\^\\circ\s*(?:[CF])?$/, '');
    // sin 30° has its degrees within; only those of the whole are a unit.
    return /\\(?:sin|cos|tan|cot|sec|csc)|\^\\circ/.test(value) ? none : { value, written: 'degrees' };
  }
  const named = textUnit.exec(text) ?? wordUnit.exec(text);
  if (!named) return none;
  const [, value = '', words = '', power = ''] = named;
  const unit = `${words.trim()}${power.replace(/\s/g, '')}`;
  if (value.trim() === '' || NO_UNIT.test(words) || saysNumber(words)) return none;
  if (/\\$/.test(value)) return none;
  const plain = !/\\(?:text|mathrm|operatorname)/.test(text.slice(value.length));
  // Bare letters after an expression are a product: "5 ab". A unit is a word, or one that is known and stands apart.
  if (plain) {
    const letters = words.trim();
    const apart =
      /\s$/.test(text.slice(0, text.length - `${words}${power}`.length)) || /^\s/.test(text.slice(value.length));
    const known = unitOf(unit) !== null && (letters.length > 1 || apart);
    const word = /[\u4e00-\u9fff]|[A-Za-z]{3}/.test(letters) && /^[-¤\d.,/\s]*\d$|\}$/.test(value.trim());
    if (!known && !(word && (apart || /[\u4e00-\u9fff]/.test(letters)))) return none;
  }
  return { value: value.trim(), written: unit };
}

/** "18 dollars and 50 cents", "5 feet 6 inches", "2小时30分": one quantity, in the first unit; `scale` leads to the second. */
function compoundQuantity(text: string): Value | null {
  const number = readNumber(
    text
      .replace(/\\text\s?\{([^{}]*)\}/g, ' $1 ')
      .replace(/\s+/g, ' ')
      .trim(),
  );
  if (number?.form !== 'compound') return null;
  return { kind: 'value', expression: null, number, percent: false, unit: null };
}

/** Whether a text is prose, which commas and "and" do not divide into answers: "the cat and the dog". */
function isSentence(text: string): boolean {
  return (
    /^\\text\s?\{[^{}]*\}$/.test(text) || (/[A-Za-z]{2,} [A-Za-z]{2,} [A-Za-z]{2,}/.test(text) && !/[\d\\=]/.test(text))
  );
}

/** An answer in words: at least one letter of any script, and no number of its own, which words would only blur ("about 18"). */
function readWords(text: string): MathsAnswer | null {
  if (/\b\d/.test(text)) return null;
  const words = plainWords(text);
  return /\p{L}/u.test(words) && !/[{}\\^_]/.test(words) ? { kind: 'words', text: words } : null;
}

/**
 * The words of a text, for comparing them: without `\text`, spaces, brackets round a single letter, and case (but single
 * letters keep theirs: x is not X).
 */
export function plainWords(source: string): string {
  const text = fold(source)
    .text.replace(/\\(?:text(?:bf|it|rm)?|mathrm|mathbf|mbox|operatorname)\s?\{([^{}]*)\}/g, '$1')
    .replace(/\\[,;:! ]|[\s$~]|\\(?:left|right)(?![A-Za-z])/g, '')
    .replace(/[.。]$/, '');
  const letter = /^\(?([A-Za-z])\)?$/.exec(text)?.[1];
  return letter ?? text.toLowerCase();
}
