import Fraction from 'fraction.js';
import type { NumberToken } from './number.js';
import { unitOf } from './units.js';

/**
 * Reads numbers as people say them where an answer is expected. `text` is folded; `tokens` are its numbers, in order:
 *
 * - `1 000`: thousands set apart by gaps, after something that announces a number;
 * - `1.5k`: the scale 1000 (as with "million", digits alone still count, see sameNumber);
 * - `minus 5`, `negative 5`, 零下5: below zero, but "20 minus 5" stays a subtraction;
 * - `2 and a half`, 3个半: half more;
 * - `18 dollars and 50 cents`, `5 feet 6 inches`, 2小时30分: one quantity, 18.5 of the first unit; its scale leads to the last.
 *
 * Not for calculations: there "2 hours 30 minutes" gives two operands.
 */
export function joinSpoken(text: string, tokens: readonly NumberToken[]): NumberToken[] {
  const joined: NumberToken[] = [];
  for (let i = 0; i < tokens.length; ) {
    const run = thousands(text, tokens, i) ?? compound(text, tokens, i);
    const token = run?.token ?? (tokens[i] as NumberToken);
    joined.push(negated(text, halfMore(text, inThousands(text, token))));
    i += run?.count ?? 1;
  }
  return joined;
}

interface Run {
  readonly token: NumberToken;
  /** Tokens that it is made of. */
  readonly count: number;
}

const ANNOUNCED = /(?:^|[=≈:：({[>*#是为共约]|\b(?:is|are|was|be|equals|answer|about|approximately|of))[\s$*¥€£-]*$/i;

function thousands(text: string, tokens: readonly NumberToken[], at: number): Run | null {
  const first = tokens[at];
  if (first?.form !== 'decimal' || first.percent || first.scale !== undefined) return null;
  const written = /[1-9]\d{0,2}$/.exec(text.slice(first.start, first.end));
  if (!written || /[.,\d]/.test(text.charAt(first.start + written.index - 1))) return null;
  let digits = written[0];
  let last = first;
  let count = 1;
  for (let next = tokens[at + count]; next; next = tokens[at + count]) {
    const group = text.slice(next.start, next.end);
    if (next.start !== last.end + 1 || text.charAt(last.end) !== ' ') break;
    if (!/^\d{3}(?:\.\d+)?$/.test(group) || next.scale !== undefined || last.decimals !== 0) break;
    digits += group;
    last = next;
    count++;
  }
  if (count === 1 || !ANNOUNCED.test(text.slice(Math.max(0, first.start - 30), first.start))) return null;
  if (/^\s?[\d,]/.test(text.slice(last.end, last.end + 2)) || digits.length > 30) return null;
  const decimals = last.decimals ?? 0;
  const value = new Fraction(BigInt(digits.replace('.', '')), 10n ** BigInt(decimals));
  const { start } = first;
  return {
    token: {
      value: first.value.s < 0 ? value.neg() : value,
      percent: false,
      form: 'decimal',
      decimals,
      start,
      end: last.end,
    },
    count,
  };
}

const UNIT_AFTER = /^\s?([A-Za-z]{1,12}|[\u4e00-\u9fff]{1,2})/;
const JOINT = /^(?:,?\s(?:and\s)?|零|又)?$/;

/** The unit that begins a text; of two Chinese characters the second may belong to what follows. */
function unitAt(text: string): { name: string; end: number } | null {
  const match = UNIT_AFTER.exec(text);
  const name = match?.[1];
  if (!match || name === undefined) return null;
  const short = /^[\u4e00-\u9fff]{2}$/.test(name) && unitOf(name) === null && unitOf(name.charAt(0)) !== null;
  return short ? { name: name.charAt(0), end: match[0].length - 1 } : { name, end: match[0].length };
}

/** How many of `small` make one of `big`: 60 minutes an hour; null unless a whole number above 1. */
function ratioOf(big: string, small: string): number | null {
  const one = unitOf(big);
  // 分 is a minute, or a cent of 元.
  const other = one?.dimension === 'money' && small === '分' ? { dimension: 'money', factor: 0.01 } : unitOf(small);
  if (!one || !other || one.dimension !== other.dimension) return null;
  const ratio = one.factor / other.factor;
  const whole = Math.round(ratio);
  return whole > 1 && Math.abs(ratio - whole) < 1e-9 * whole ? whole : null;
}

function compound(text: string, tokens: readonly NumberToken[], at: number): Run | null {
  const first = tokens[at];
  if (!first || first.percent || first.scale !== undefined || first.value.d !== 1n) return null;
  const money = /[$¥€£]/.test(text.slice(first.start, first.end));
  let value = first.value.abs();
  let last = first;
  let big: string | null = money ? 'dollars' : null;
  let scale = 1;
  let count = 1;
  let end = first.end;
  for (let next = tokens[at + count]; next; next = tokens[at + count]) {
    const between = text.slice(last.end, next.start);
    if (between.length > 24 || next.percent || next.scale !== undefined) break;
    const named = unitAt(between);
    const joint = named && (!money || count > 1 || unitOf(named.name)) ? between.slice(named.end) : between;
    big ??= named?.name ?? null;
    const small = unitAt(text.slice(next.end, next.end + 16));
    const ratio = big !== null && small !== null && JOINT.test(joint) ? ratioOf(big, small.name) : null;
    if (
      ratio === null ||
      small === null ||
      ratio <= scale ||
      next.value.s < 0 ||
      next.value.mul(scale).compare(ratio) >= 0
    )
      break;
    value = value.add(next.value.div(ratio));
    scale = ratio;
    last = next;
    end = next.end + small.end;
    count++;
  }
  if (count === 1) return null;
  const signed = first.value.s < 0 ? value.neg() : value;
  return { token: { value: signed, percent: false, form: 'compound', scale, start: first.start, end }, count };
}

function inThousands(text: string, token: NumberToken): NumberToken {
  if (token.form !== 'decimal' || token.percent || token.scale !== undefined) return token;
  if (!/^k(?![A-Za-z\d^_])(?!\s*[-+*/=×÷])/i.test(text.slice(token.end, token.end + 8))) return token;
  return { ...token, scale: 1000, end: token.end + 1 };
}

function halfMore(text: string, token: NumberToken): NumberToken {
  if (token.form !== 'decimal' || token.percent || token.scale !== undefined || token.value.d !== 1n) return token;
  const half = /^(?: and (?:a|one) half(?![A-Za-z])|(?:个|小时|天|年|斤)半(?![径数价球岛]))/i.exec(
    text.slice(token.end, token.end + 16),
  );
  if (!half) return token;
  const value = token.value.s < 0 ? token.value.sub(1, 2) : token.value.add(1, 2);
  return { ...token, value, form: 'mixed', end: token.end + half[0].length };
}

const NEGATIVE = /(?:(?:(?:^|[=≈:：(,，]|\b(?:is|are|was|be|equals))[\s*$]*\bminus|\bnegative)\s|零下\s?)$/i;

function negated(text: string, token: NumberToken): NumberToken {
  const before = NEGATIVE.exec(text.slice(Math.max(0, token.start - 24), token.start));
  if (!before || token.value.s < 0) return token;
  const word = /(?:minus|negative)\s$|零下\s?$/i.exec(before[0]);
  return { ...token, value: token.value.neg(), start: token.start - (word?.[0].length ?? 0) };
}
