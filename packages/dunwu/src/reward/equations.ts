import Fraction from 'fraction.js';
import { type ArithmeticToken, evaluate, MAX_TOKENS, type Operator } from './arithmetic.js';
import { fold, originSpan } from './fold.js';
import { decimalEnd, decimalValue, roundsTo } from './number.js';
import type { Span } from './trace.js';

/** One calculation of a text: what stands on the two sides of one '='. */
export interface Equation {
  readonly span: Span;
  readonly right: boolean;
  /** Numbers that go in, and the number that comes out as written (right or not). */
  readonly operands: readonly EquationOperand[];
  readonly result: Fraction;
  /** The same calculation has the same key, whatever its units, spaces and order of equal operations. */
  readonly key: string;
  /** Its left side is the whole right side of the equation before it: a=b=c. */
  readonly chained: boolean;
  /** Adds 0 or multiplies by 1: true, and says nothing. */
  readonly trivial: boolean;
}

export interface EquationOperand {
  readonly value: Fraction;
  readonly percent: boolean;
}

/** At most so many equations of one text are read; a chain of thought for a school problem has about five. */
export const MAX_EQUATIONS = 500;
/** At most so many UTF-16 code units of one text are read. */
export const MAX_STEPS_TEXT = 100_000;

type Token =
  | {
      readonly kind: 'number';
      readonly value: Fraction;
      /** Without "million": "32 / 2 = $16 million" is written of 32 million. */
      readonly unscaled: Fraction;
      readonly percent: boolean;
      readonly decimals: number | null;
      readonly start: number;
      readonly end: number;
    }
  | { readonly kind: 'operator'; readonly operator: Operator; readonly start: number; readonly end: number }
  | { readonly kind: 'open' | 'close'; readonly start: number; readonly end: number }
  | { readonly kind: 'equals'; readonly approximate: boolean; readonly start: number; readonly end: number }
  | { readonly kind: 'remainder'; readonly start: number; readonly end: number }
  /** `unit`: may stand behind a number without changing the calculation; otherwise it is a name for something unknown. */
  | { readonly kind: 'word'; readonly unit: boolean; readonly start: number; readonly end: number }
  | { readonly kind: 'break'; readonly start: number; readonly end: number };

const SCALES: Readonly<Record<string, number>> = {
  thousand: 1e3,
  million: 1e6,
  billion: 1e9,
  万: 1e4,
  亿: 1e8,
};
const scaleAt = /\s?(?:(thousand|million|billion)\b|([万亿]))/iy;
const wordAt = /[A-Za-z_µ°℃'’]+(?:\^\{?\d\}?|[²³\d])?\.?(?=[^A-Za-z]|$)|[\u3400-\u9fff]{1,10}|[A-Za-z_µ°℃]/y;
const mixedAt = /(?: and | )(\d{1,6})\/(\d{1,6})(?![\d/]|\.\d)/y;
const clockAt = /\d{1,2}:\d\d(?!\d)/y;
/** "1 500 000": only with a last group of zeros, since "5 250" may be two numbers. */
const spacedAt = /\d{1,3}(?: \d{3}){0,4} 000(?![\d.])/y;
const tightAt = /(\d{1,9})\/(\d{1,9})(?![\d/.])/y;
const commandAt = /\\(?:text|mathrm|textbf|mathbf|textit|operatorname)\s?\{([^{}\n]{0,80})\}|\\[A-Za-z]+|\\./y;
/** One Latin letter is a variable, except the symbols of units. */
const UNIT_LETTERS = /^[mghLl]$/;
const NOT_UNITS = /^(?:and|or|if|then|so|is|are|let|be|where|because|since|but|that|which|when|得|即|则|设)$/i;

function sticky(pattern: RegExp, text: string, at: number): RegExpExecArray | null {
  pattern.lastIndex = at;
  return pattern.exec(text);
}

function lex(text: string): Token[] {
  const tokens: Token[] = [];
  /** For each open LaTeX brace, what its closing one means. */
  const braces: ('numerator' | 'denominator' | 'group')[] = [];
  let at = 0;
  const push = (token: Token): void => {
    tokens.push(token);
    at = token.end;
  };
  const operator = (name: Operator, length: number): void =>
    push({ kind: 'operator', operator: name, start: at, end: at + length });
  while (at < text.length) {
    const char = text.charAt(at);
    if (char === '\n') {
      push({ kind: 'break', start: at, end: at + 1 });
      braces.length = 0;
    } else if (/[\s$¥￥€£`~]/.test(char)) {
      at++;
    } else if (char === '*' && text.charAt(at + 1) === '*') {
      at += 2; // markdown bold
    } else if (/[\d.]/.test(char)) {
      number(char);
    } else if (char === '+') operator('+', 1);
    else if (char === '-') minus();
    else if (/[*×✕✖·⋅]/.test(char)) operator('*', 1);
    else if (/[/÷]/.test(char)) operator('/', 1);
    else if (char === '^') operator('^', 1);
    else if (char === '(' || char === '[') push({ kind: 'open', start: at, end: at + 1 });
    else if (char === ')' || char === ']') push({ kind: 'close', start: at, end: at + 1 });
    else if (char === '{') {
      braces.push('group');
      push({ kind: 'open', start: at, end: at + 1 });
    } else if (char === '}') closeBrace();
    else if (char === '=' || char === '≈') equals(char);
    else if (char === '…') push({ kind: 'remainder', start: at, end: at + (text.charAt(at + 1) === '…' ? 2 : 1) });
    else if (char === '\\') command();
    else word();
  }
  return tokens;

  function number(char: string): void {
    if (char === '.' && text.startsWith('...', at)) {
      const run = /\.{3,6}/y;
      push({ kind: 'remainder', start: at, end: at + (sticky(run, text, at)?.[0].length ?? 3) });
      return;
    }
    // "7:50 + 30 minutes = 8:20": a clock does not count in tens.
    const clock = sticky(clockAt, text, at);
    if (clock) {
      push({ kind: 'word', unit: false, start: at, end: at + clock[0].length });
      return;
    }
    const spaced = sticky(spacedAt, text, at);
    const end = spaced ? at + spaced[0].length : decimalEnd(text, at);
    if (end === null) {
      push({ kind: 'break', start: at, end: at + 1 });
      return;
    }
    // "500 / 2/5": the closer slash makes a fraction.
    const before = tokens.at(-1);
    const tight =
      before?.kind === 'operator' && before.operator === '/' && before.end < at ? sticky(tightAt, text, at) : null;
    const [top, bottom] = tight ? [decimalValue(tight[1] ?? ''), decimalValue(tight[2] ?? '')] : [null, null];
    if (tight && top && bottom && bottom.value.n !== 0n) {
      const value = top.value.div(bottom.value);
      push({
        kind: 'number',
        value,
        unscaled: value,
        percent: false,
        decimals: null,
        start: at,
        end: at + tight[0].length,
      });
      return;
    }
    const written = text.slice(at, end);
    const read = decimalValue(written);
    // 60-digit runs, and the 3 of "a3", are no numbers to calculate with.
    if (!read) {
      push({ kind: 'word', unit: false, start: at, end });
      return;
    }
    let { value } = read;
    let stop = end;
    const mixed = read.decimals === 0 ? sticky(mixedAt, text, stop) : null;
    if (mixed && Number(mixed[1]) > 0 && Number(mixed[1]) < Number(mixed[2])) {
      value = value.add(new Fraction(Number(mixed[1]), Number(mixed[2])));
      stop += mixed[0].length;
    }
    const percent = /^ ?\\?%/.exec(text.slice(stop, stop + 3));
    if (percent) stop += percent[0].length;
    const unscaled = value;
    const scale = percent ? null : sticky(scaleAt, text, stop);
    if (scale) {
      value = value.mul(SCALES[(scale[1] ?? scale[2] ?? '').toLowerCase()] ?? 1);
      stop += scale[0].length;
    }
    push({
      kind: 'number',
      value,
      unscaled,
      percent: percent !== null,
      decimals: scale || mixed ? null : read.decimals,
      start: at,
      end: stop,
    });
  }

  function minus(): void {
    const before = tokens.at(-1);
    // "60-minute": the hyphen joins a unit to its number.
    if (before?.kind === 'number' && before.end === at && /[A-Za-z]/.test(text.charAt(at + 1))) {
      at++;
      return;
    }
    // "->": an arrow, not a subtraction.
    if (text.charAt(at + 1) === '>') push({ kind: 'break', start: at, end: at + 2 });
    // "- 48/2": a list mark.
    else if ((!before || before.kind === 'break') && text.charAt(at + 1) === ' ') at++;
    else operator('-', 1);
  }

  function closeBrace(): void {
    const brace = braces.pop();
    if (brace === 'numerator' && text.charAt(at + 1) === '{') {
      const start = at;
      tokens.push({ kind: 'close', start, end: start + 1 }, { kind: 'operator', operator: '/', start, end: start + 1 });
      push({ kind: 'open', start: start + 1, end: start + 2 });
      braces.push('denominator');
    } else if (brace === 'denominator') {
      const start = at;
      tokens.push({ kind: 'close', start, end: start + 1 });
      push({ kind: 'close', start, end: start + 1 });
    } else if (brace) push({ kind: 'close', start: at, end: at + 1 });
    else push({ kind: 'break', start: at, end: at + 1 });
  }

  function equals(char: string): void {
    const before = text.charAt(at - 1);
    const after = text.charAt(at + 1);
    if (/[<>!]/.test(before) || after === '>' || (after === '<' && text.charAt(at + 2) !== '<')) {
      push({ kind: 'break', start: at, end: at + 1 });
      return;
    }
    push({ kind: 'equals', approximate: char === '≈', start: at, end: at + (after === '=' ? 2 : 1) });
  }

  function command(): void {
    const match = sticky(commandAt, text, at);
    if (!match) {
      push({ kind: 'break', start: at, end: at + 1 });
      return;
    }
    const name = match[0];
    const end = at + name.length;
    if (match[1] !== undefined) {
      const content = match[1].trim();
      if (content === '') at = end;
      else push({ kind: 'word', unit: !/\d/.test(content), start: at, end });
    } else if (/^\\(?:times|cdot|ast)$/.test(name)) operator('*', name.length);
    else if (/^\\div$/.test(name)) operator('/', name.length);
    else if (/^\\(?:approx|thickapprox|simeq)$/.test(name)) {
      push({ kind: 'equals', approximate: true, start: at, end });
    } else if (/^\\[dtc]?frac$/.test(name) && text.charAt(end) === '{') {
      tokens.push({ kind: 'open', start: at, end }, { kind: 'open', start: end, end: end + 1 });
      braces.push('numerator');
      at = end + 1;
    } else if (/^\\%$/.test(name) || /^\\(?:left|right|quad|qquad|boxed|[,;:! ()[\]$&])$/.test(name)) at = end;
    else push({ kind: 'word', unit: false, start: at, end });
  }

  function word(): void {
    const before = tokens.at(-1);
    const adjacent = before?.end === at;
    // x and X between two numbers multiply.
    if (
      /[xX]/.test(text.charAt(at)) &&
      before &&
      (before.kind === 'number' || before.kind === 'close' || before.kind === 'word') &&
      !(before.kind === 'word' && adjacent) &&
      /^[ $¥€£\\(]{0,4}[\d.]/.test(text.slice(at + 1, at + 6))
    ) {
      operator('*', 1);
      return;
    }
    const match = sticky(wordAt, text, at);
    if (!match) {
      // Commas, colons, full stops, other scripts, emoji: a sentence goes on, a calculation does not.
      push({ kind: 'break', start: at, end: at + 1 });
      return;
    }
    let written = match[0];
    if (written.endsWith('.') && !/^(?:sq|ft|oz|lb|lbs|in|hr|hrs|min)\.$/i.test(written))
      written = written.slice(0, -1);
    if (/^(?:equals|等于)$/i.test(written)) {
      push({ kind: 'equals', approximate: false, start: at, end: at + written.length });
      return;
    }
    const half = written.indexOf('等于');
    if (half > 0) written = written.slice(0, half);
    if (written === '余') {
      push({ kind: 'remainder', start: at, end: at + 1 });
      return;
    }
    // "20% of 50": of multiplies when numbers stand on both sides.
    if (/^of$/i.test(written) && before?.kind === 'number' && /^\s*\$?\d/.test(text.slice(at + 2, at + 6))) {
      operator('*', 2);
      return;
    }
    const letter = written.length === 1 && /[A-Za-z]/.test(written);
    const unit = letter ? UNIT_LETTERS.test(written) : !NOT_UNITS.test(written);
    push({ kind: 'word', unit, start: at, end: at + written.length });
  }
}

interface Side {
  readonly tokens: readonly Token[];
  readonly first: number;
  readonly last: number;
  readonly operations: number;
  /** Something unknown (a variable, a name) takes part: the side cannot be checked. */
  readonly unknown: boolean;
}

const MAX_UNIT_WORDS = 4;

/** Index before the units that end at `at` ("apples", "cm", "(包)", "/ week", "per hour"), walking left. */
function skipUnitsLeft(tokens: readonly Token[], at: number, stop: number): { at: number; unknown: boolean } {
  let i = at;
  let unknown = false;
  for (let words = 0; i >= stop && words < MAX_UNIT_WORDS; words++) {
    const token = tokens[i];
    if (token?.kind === 'word') {
      if (!token.unit) unknown = true;
      i--;
      const slash = tokens[i];
      if (slash?.kind === 'operator' && slash.operator === '/' && tokens[i - 1]?.kind === 'word') i--;
      else if (slash?.kind === 'operator' && slash.operator === '/' && tokens[i - 1]?.kind === 'number') i--;
    } else if (token?.kind === 'close' && tokens[i - 1]?.kind === 'word') {
      let open = i - 1;
      while (open >= stop && i - open <= MAX_UNIT_WORDS && tokens[open]?.kind === 'word') open--;
      if (tokens[open]?.kind !== 'open') break;
      i = open - 1;
    } else break;
  }
  return { at: i, unknown };
}

function openingOf(tokens: readonly Token[], close: number, stop: number): number {
  let depth = 0;
  for (let i = close; i >= stop && close - i < MAX_TOKENS; i--) {
    const kind = tokens[i]?.kind;
    if (kind === 'close') depth++;
    else if (kind === 'open' && --depth === 0) return i;
  }
  return -1;
}

function closingOf(tokens: readonly Token[], open: number, stop: number): number {
  let depth = 0;
  for (let i = open; i <= stop && i - open < MAX_TOKENS; i++) {
    const kind = tokens[i]?.kind;
    if (kind === 'open') depth++;
    else if (kind === 'close' && --depth === 0) return i;
  }
  return -1;
}

/** The longest expression that ends at `end` (inclusive), not crossing `stop`. */
function expressionBefore(tokens: readonly Token[], end: number, stop: number): Side | null {
  let i = end;
  let first = -1;
  let unknown = false;
  while (i >= stop && end - i < MAX_TOKENS) {
    const afterUnits = skipUnitsLeft(tokens, i, stop);
    const operand = tokens[afterUnits.at];
    let begin = -1;
    if (operand?.kind === 'number') begin = afterUnits.at;
    else if (operand?.kind === 'close') begin = openingOf(tokens, afterUnits.at, stop);
    if (begin < 0) {
      // An operator whose left operand is a word or a name: the calculation holds something unknown.
      if (first >= 0 && afterUnits.at < i) unknown = true;
      if (first >= 0 && operand && (operand.kind === 'word' || operand.kind === 'close')) unknown = true;
      break;
    }
    unknown ||= afterUnits.unknown;
    first = begin;
    i = begin - 1;
    const before = tokens[i];
    if (i < stop || !before) break;
    if (before.kind === 'operator') {
      const left = tokens[i - 1];
      if (before.operator === '-' && (i - 1 < stop || left?.kind === 'open' || left?.kind === 'break')) {
        first = i; // a sign
        break;
      }
      if (before.operator === '-' && left?.kind === 'operator') {
        first = i;
        i--;
      }
      i--;
      continue;
    }
    // 2(40): a bracket right behind a number multiplies.
    const bracketed = tokens[begin]?.kind === 'open';
    if (bracketed && (before.kind === 'number' || before.kind === 'close') && before.end === tokens[begin]?.start) {
      continue;
    }
    break;
  }
  if (first < 0) return null;
  const operations = countOperations(tokens, first, end) + implicit(tokens, first, end);
  return { tokens, first, last: end, operations, unknown };
}

/** The longest expression that starts at `begin`, not crossing `stop` (inclusive). */
function expressionAfter(tokens: readonly Token[], begin: number, stop: number): Side | null {
  let i = begin;
  let last = -1;
  let unknown = false;
  while (i <= stop && i - begin < MAX_TOKENS) {
    let token = tokens[i];
    if (token?.kind === 'operator' && token.operator === '-') token = tokens[++i];
    let end = -1;
    if (token?.kind === 'number') end = i;
    else if (token?.kind === 'open') end = closingOf(tokens, i, stop);
    if (end < 0) {
      if (last >= 0 && token?.kind === 'word') unknown = true;
      break;
    }
    last = end;
    i = end + 1;
    const close = tokens[i];
    if (close?.kind === 'open' && close.start === tokens[end]?.end && i <= stop) {
      const inner = tokens[i + 1];
      if (inner?.kind === 'number' || inner?.kind === 'open') continue;
    }
    // Units, then an operator or the end.
    let words = 0;
    let u = i;
    while (u <= stop && words < MAX_UNIT_WORDS && tokens[u]?.kind === 'word') {
      const word = tokens[u];
      if (word?.kind === 'word' && !word.unit && word.start === tokens[end]?.end) unknown = true;
      const slash = tokens[u + 1];
      u++;
      words++;
      if (slash?.kind === 'operator' && slash.operator === '/' && tokens[u + 1]?.kind === 'word') u++;
    }
    const next = tokens[u];
    if (u <= stop && next?.kind === 'operator' && tokens[u + 1]) {
      i = u + 1;
      continue;
    }
    break;
  }
  if (last < 0) return null;
  // An operator without an operand behind it ends the sentence, not the expression ("= 24 - so …").
  const operations = countOperations(tokens, begin, last) + implicit(tokens, begin, last);
  return { tokens, first: begin, last, operations, unknown };
}

function implicit(tokens: readonly Token[], first: number, last: number): number {
  let count = 0;
  for (let i = first + 1; i <= last; i++) {
    const [a, b] = [tokens[i - 1], tokens[i]];
    if (b?.kind === 'open' && (a?.kind === 'number' || a?.kind === 'close') && a.end === b.start) count++;
  }
  return count;
}

function countOperations(tokens: readonly Token[], first: number, last: number): number {
  let count = 0;
  for (let i = first; i <= last; i++) if (tokens[i]?.kind === 'operator') count++;
  return count;
}

/** The side without its units, ready to be evaluated; null when a word in it is no unit. */
function arithmetic(side: Side, scaled = true): ArithmeticToken[] | null {
  const out: ArithmeticToken[] = [];
  for (let i = side.first; i <= side.last; i++) {
    const token = side.tokens[i];
    if (!token) return null;
    const before = out.at(-1);
    switch (token.kind) {
      case 'number':
        if (before?.kind === 'number' || before?.kind === 'close') return null;
        out.push({ kind: 'number', value: scaled ? token.value : token.unscaled, percent: token.percent });
        break;
      case 'operator': {
        // "80 words / stanza": a slash between units belongs to them.
        const unitSlash = token.operator === '/' && side.tokens[i + 1]?.kind === 'word' && i < side.last;
        if (!unitSlash) out.push({ kind: 'operator', operator: token.operator });
        break;
      }
      case 'open': {
        if (isUnitGroup(side, i)) {
          while (side.tokens[i]?.kind !== 'close') i++;
          break;
        }
        if (before?.kind === 'number' || before?.kind === 'close') out.push({ kind: 'operator', operator: '*' });
        out.push({ kind: 'open' });
        break;
      }
      case 'close':
        out.push({ kind: 'close' });
        break;
      case 'word':
        if (!token.unit || !(before?.kind === 'number' || before?.kind === 'close')) return null;
        break;
      default:
        return null;
    }
  }
  return out;
}

/** "(包)" behind a number. */
function isUnitGroup(side: Side, open: number): boolean {
  for (let i = open + 1; i <= side.last && i - open <= MAX_UNIT_WORDS + 1; i++) {
    const token = side.tokens[i];
    if (token?.kind === 'close') return i > open + 1;
    if (token?.kind !== 'word') return false;
  }
  return false;
}

function numbersOf(tokens: readonly ArithmeticToken[]): EquationOperand[] {
  return tokens.flatMap((token) => (token.kind === 'number' ? [{ value: token.value, percent: token.percent }] : []));
}

function keyOf(tokens: readonly ArithmeticToken[], result: Fraction): string {
  const numbers: string[] = [];
  const operators: string[] = [];
  for (const token of tokens) {
    if (token.kind === 'number') numbers.push(`${token.value.toFraction()}${token.percent ? '%' : ''}`);
    else if (token.kind === 'operator') operators.push(token.operator);
  }
  // Order is dropped on purpose: 48+24=72 and 24+48=72 are one step.
  return `${numbers.sort().join(' ')} ${operators.sort().join('')} = ${result.toFraction()}`;
}

function isTrivial(tokens: readonly ArithmeticToken[]): boolean {
  if (tokens.length !== 3) return false;
  const [left, operator, right] = tokens;
  if (left?.kind !== 'number' || operator?.kind !== 'operator' || right?.kind !== 'number') return false;
  const [a, b] = [left.value, right.value];
  switch (operator.operator) {
    case '+':
      return a.equals(0) || b.equals(0);
    case '-':
      return b.equals(0) || a.equals(b);
    case '*':
      return a.equals(1) || b.equals(1) || a.equals(0) || b.equals(0);
    case '/':
      return b.equals(1) || a.equals(b) || a.equals(0);
    case '^':
      return b.equals(1) || a.equals(1);
  }
}

function agree(
  left: readonly ArithmeticToken[],
  right: readonly ArithmeticToken[],
  decimals: number | null,
  approximate: boolean,
): boolean {
  const percents = [...left, ...right].some((token) => token.kind === 'number' && token.percent);
  const readings: ['hundredth' | 'digits', 'hundredth' | 'digits'][] = [['hundredth', 'hundredth']];
  // "(30/60)*100 = 50%" and "0.2 * 100% = 20" are how people write shares.
  if (percents) readings.push(['digits', 'digits'], ['hundredth', 'digits'], ['digits', 'hundredth']);
  for (const [leftReading, rightReading] of readings) {
    const a = evaluate(left, leftReading);
    const b = evaluate(right, rightReading);
    if (!a || !b) continue;
    if (a.equals(b)) return true;
    if (decimals === null || right.length > 2) continue;
    const places =
      decimals + (rightReading === 'hundredth' && right.some((t) => t.kind === 'number' && t.percent) ? 2 : 0);
    // Rounding is right where it is announced by ≈, and where two or more decimals show it.
    if (approximate || decimals >= 2) {
      if (roundsTo(a, b, places)) return true;
      // 10/3 = 3.33 and 20/3 = 6.66: cut off instead of rounded.
      const unit = new Fraction(1n, 10n ** BigInt(places));
      if (a.sub(b).abs().compare(unit) < 0 && a.abs().compare(b.abs()) >= 0) return true;
    }
  }
  return false;
}

/** 17 ÷ 5 = 3 … 2 (quotient and remainder, as Chinese primary schools write it). */
function withRemainder(left: readonly ArithmeticToken[], quotient: Fraction, remainder: Fraction): boolean {
  const [a, slash, b] = left;
  if (left.length !== 3 || a?.kind !== 'number' || b?.kind !== 'number') return false;
  if (slash?.kind !== 'operator' || slash.operator !== '/') return false;
  return (
    b.value.mul(quotient).add(remainder).equals(a.value) && remainder.compare(0) >= 0 && remainder.compare(b.value) < 0
  );
}

/** GSM8K's calculator annotations: blanked in the running text, and read on their own. */
const annotation = /<<([^<>\n]{1,200})>>/g;

/**
 * Every calculation written in a text, in order of position: `80-21=59`, `3 × 4 = 12`, `$12/60 = $0.2`, `a=b=c` (one
 * equation for each '='), `<<48/2=24>>`, `17÷5=3……2`, `\frac{3}{4} \times 8 = 6`, `20% of 50 = 10`. x, ×, *, ·, ÷, / and
 * LaTeX's names are known, currency signs are ignored, and up to four words behind a number are its unit.
 * An '=' with no operation on either side ("x = 5"), or with a variable or a name in it, is no calculation that can be
 * checked, and is left out. Never throws; linear: only {@link MAX_STEPS_TEXT} code units and {@link MAX_EQUATIONS}
 * equations are read, and each side has at most MAX_TOKENS tokens.
 */
export function findEquations(source: string): Equation[] {
  const folded = fold(source.length > MAX_STEPS_TEXT ? source.slice(0, MAX_STEPS_TEXT) : source);
  const { text } = folded;
  const found: Equation[] = [];
  const running = text.replace(annotation, (whole, content: string, offset: number) => {
    found.push(...equationsIn(content).map((equation) => moved(equation, offset + 2)));
    return ' '.repeat(whole.length);
  });
  found.push(...equationsIn(running));
  return found
    .map((equation) => ({ ...equation, span: originSpan(folded, equation.span[0], equation.span[1]) }))
    .sort((a, b) => a.span[0] - b.span[0] || a.span[1] - b.span[1])
    .filter((equation, i, all) => {
      // "48/2 = <<48/2=24>>24" is one step, written once for people and once for the calculator.
      const before = all[i - 1];
      return before?.key !== equation.key || equation.span[0] >= before.span[1];
    })
    .slice(0, MAX_EQUATIONS);
}

function moved(equation: Equation, by: number): Equation {
  return { ...equation, span: [equation.span[0] + by, equation.span[1] + by] };
}

function equationsIn(text: string): Equation[] {
  if (!/[=≈]|\\approx|等于|equals/i.test(text)) return [];
  const tokens = lex(text);
  const signs = tokens.flatMap((token, index) => (token.kind === 'equals' ? [index] : []));
  const found: Equation[] = [];
  for (let s = 0; s < signs.length && found.length < MAX_EQUATIONS; s++) {
    const at = signs[s] ?? 0;
    const sign = tokens[at];
    if (sign?.kind !== 'equals') continue;
    const previous = s > 0 ? (signs[s - 1] ?? -1) : -1;
    const following = s + 1 < signs.length ? (signs[s + 1] ?? tokens.length) : tokens.length;
    const left = expressionBefore(tokens, at - 1, previous + 1);
    const right = expressionAfter(tokens, at + 1, following - 1);
    if (!left || !right || left.unknown || right.unknown) continue;
    if (left.operations === 0 && right.operations === 0) continue;
    const leftSide = arithmetic(left);
    const rightSide = arithmetic(right);
    if (!leftSide || !rightSide) continue;
    const leftValue = evaluate(leftSide);
    const rightValue = evaluate(rightSide);
    if (!leftValue || !rightValue) continue;

    const shown = tokens[right.last];
    const decimals = rightSide.length <= 2 && shown?.kind === 'number' ? shown.decimals : null;
    let correct = agree(leftSide, rightSide, decimals, sign.approximate);
    if (!correct) {
      const [bareLeft, bareRight] = [arithmetic(left, false), arithmetic(right, false)];
      if (bareLeft && bareRight && (differ(leftSide, bareLeft) || differ(rightSide, bareRight))) {
        correct = agree(bareLeft, bareRight, null, sign.approximate);
      }
    }
    let end = shown?.end ?? sign.end;
    const rest = remainderAfter(tokens, right.last + 1);
    if (rest) {
      correct = withRemainder(leftSide, rightValue, rest.value);
      end = rest.end;
    }
    // "2 kg = 2 * 1000 g", "$15/hour = 15 * 7": a quantity restated in other units is no calculation gone wrong.
    if (!correct && left.operations === 0 && tokens[at - 1]?.kind === 'word') continue;
    // "72 = 48 + 24" calculates on the right.
    const calculation = left.operations > 0 ? leftSide : rightSide;
    const result = left.operations > 0 ? rightValue : leftValue;
    const last = found.at(-1);
    const start = tokens[left.first]?.start ?? sign.start;
    found.push({
      span: [start, end],
      right: correct,
      operands: numbersOf(calculation),
      result,
      key: keyOf(calculation, result),
      chained: previous >= 0 && left.first === previous + 1 && last !== undefined && last.span[1] >= start,
      trivial: isTrivial(calculation),
    });
  }
  return found;
}

function differ(a: readonly ArithmeticToken[], b: readonly ArithmeticToken[]): boolean {
  return a.some((token, i) => {
    const other = b[i];
    return token.kind === 'number' && other?.kind === 'number' && !token.value.equals(other.value);
  });
}

function remainderAfter(tokens: readonly Token[], at: number): { value: Fraction; end: number } | null {
  let i = at;
  for (let words = 0; words < 2; words++) {
    const token = tokens[i];
    if (token?.kind === 'word') i++;
    else if (token?.kind === 'open' && tokens[i + 1]?.kind === 'word' && tokens[i + 2]?.kind === 'close') i += 3;
  }
  const number = tokens[i + 1];
  if (tokens[i]?.kind !== 'remainder' || number?.kind !== 'number') return null;
  return { value: number.value, end: number.end };
}
