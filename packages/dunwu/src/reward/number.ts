import Fraction from 'fraction.js';
import { fold } from './fold.js';
import { joinSpoken } from './spoken-number.js';

/**
 * One number found in a text. `value` is what the digits say; `percent` and `scale` say what stands behind them, because
 * "50%" may mean 50 or 1/2 and "2 million" may mean 2 (of millions) or 2,000,000: see {@link sameNumber}.
 */
export interface NumberToken {
  readonly value: Fraction;
  readonly percent: boolean;
  /** 1,000,000 for "million", 10,000 for 万, 60 for hours and minutes; absent when there is no such word. */
  readonly scale?: number;
  /** Digits after the decimal point, when it is written as a decimal. */
  readonly decimals?: number;
  /** How it is written. `ratio` is a:b, read as a/b; `compound` is a quantity in two units, see spoken-number.ts. */
  readonly form: 'decimal' | 'fraction' | 'mixed' | 'ratio' | 'words' | 'compound';
  /** Range in the text it was found in, with its sign, currency, percent and scale, without units. */
  readonly start: number;
  readonly end: number;
}

/** A longer run of digits is no number a problem asks for; without a limit, its exact value would cost quadratic time. */
export const MAX_DIGITS = 60;
/** Largest power of ten read in scientific notation. */
const MAX_EXPONENT = 300;

const INTEGER = String.raw`(?:\d{1,3}(?:(?:,|\{,\}|\\,|,\\!|[\u2009\u202f])\d{3})+(?!\d)|\d+)`;
const DECIMAL = String.raw`(?:${INTEGER}(?:\.\d+)?|\.\d+)`;
const decimalAt = new RegExp(DECIMAL, 'y');
const exponentAt = /[eE]([+-]?\d{1,3})(?![\dA-Za-z])/y;
const powerOfTenAt = /\s?(?:×|x|\*|\\times|\\cdot|·)\s?10\s?\^\s?(?:\{\s?([+-]?\d{1,3})\s?\}|\(?([+-]?\d{1,3})\)?)/y;
const superscriptAt = /\s?(?:×|x|\*|\\times)\s?10(⁻?[⁰¹²³⁴⁵⁶⁷⁸⁹]{1,3})/y;
const slashAt = new RegExp(String.raw` ?\/ ?(${DECIMAL})(?![\d/]|\.\d)`, 'y');
const mixedAt = /(?: |又| and )(\d{1,6})\/(\d{1,6})(?![\d/]|\.\d)/y;
const latexFractionAt = new RegExp(
  String.raw`\\[dtc]?frac\s?(?:\{\s?(-?)\s?(${DECIMAL})\s?\}\s?\{\s?(${DECIMAL})\s?\}|(\d)\s?(\d))`,
  'y',
);
const mixedGapAt = /\s?(?:又|and )?\s?/y;
const ofPartsAt = new RegExp(`分之(${INTEGER})`, 'y');
const ratioAt = /[:∶](\d+)(?![\d:]|\.\d)/y;
const percentAt = /\s?(?:\\?%|percent\b|per cent\b)/iy;
const scaleAt = /\s?(?:(thousand|million|billion|trillion)\b|(百万|千万|万|亿|千(?![克米瓦卡字焦赫帕升])|百(?!分)))/iy;
const symbolicAt = /\s?(?:\\?π|\\pi\b|\\sqrt|√)/y;
const SCALES: Readonly<Record<string, number>> = {
  thousand: 1e3,
  million: 1e6,
  billion: 1e9,
  trillion: 1e12,
  百: 1e2,
  千: 1e3,
  万: 1e4,
  百万: 1e6,
  千万: 1e7,
  亿: 1e8,
};
const VULGAR: Readonly<Record<string, readonly [number, number]>> = {
  '½': [1, 2],
  '⅓': [1, 3],
  '⅔': [2, 3],
  '¼': [1, 4],
  '¾': [3, 4],
  '⅕': [1, 5],
  '⅖': [2, 5],
  '⅗': [3, 5],
  '⅘': [4, 5],
  '⅙': [1, 6],
  '⅚': [5, 6],
  '⅛': [1, 8],
  '⅜': [3, 8],
  '⅝': [5, 8],
  '⅞': [7, 8],
};
const CURRENCY = '$¥￥€£₹';
/** Letters that may stand directly before digits without making an identifier of them. */
const currencyCode = /(?:^|[^A-Za-z])(?:US|CA|AU|HK|RM|Rs\.?|USD|CNY|RMB|EUR|GBP|Php|NT)$/;

function sticky(pattern: RegExp, text: string, at: number): RegExpExecArray | null {
  pattern.lastIndex = at;
  return pattern.exec(text);
}

/** The exact value of "1,234.50"; null when it has more than {@link MAX_DIGITS} digits. */
export function decimalValue(written: string): { value: Fraction; decimals: number } | null {
  if (written.length > 4 * MAX_DIGITS) return null;
  const [whole = '', part = ''] = written.split('.');
  const digits = whole.replace(/\D/g, '') + part;
  if (digits.length === 0 || digits.length > MAX_DIGITS) return null;
  return { value: new Fraction(BigInt(digits), 10n ** BigInt(part.length)), decimals: part.length };
}

/** Range of the plain decimal (digits, thousands separators, point) that starts exactly at `at`, or null. */
export function decimalEnd(text: string, at: number): number | null {
  const match = sticky(decimalAt, text, at);
  return match ? at + match[0].length : null;
}

function ratio(numerator: Fraction, denominator: Fraction): Fraction | null {
  return denominator.n === 0n ? null : numerator.div(denominator);
}

function superscriptNumber(written: string): number {
  let digits = '';
  for (const char of written) digits += char === '⁻' ? '-' : String('⁰¹²³⁴⁵⁶⁷⁸⁹'.indexOf(char));
  return Number(digits);
}

function power(base: Fraction, exponent: number): Fraction | null {
  if (Math.abs(exponent) > MAX_EXPONENT) return null;
  const ten = 10n ** BigInt(Math.abs(exponent));
  return exponent < 0 ? base.div(new Fraction(ten)) : base.mul(new Fraction(ten));
}

interface Body {
  readonly value: Fraction;
  readonly form: NumberToken['form'];
  readonly decimals?: number;
  readonly end: number;
  /** The sign inside \frac{-3}{4}. */
  readonly negative?: boolean;
}

function latexFraction(text: string, at: number): Body | null {
  const match = sticky(latexFractionAt, text, at);
  if (!match) return null;
  const top = decimalValue(match[2] ?? match[4] ?? '');
  const bottom = decimalValue(match[3] ?? match[5] ?? '');
  const value = top && bottom ? ratio(top.value, bottom.value) : null;
  if (!value) return null;
  return { value, form: 'fraction', end: at + match[0].length, negative: match[1] === '-' };
}

function vulgarFraction(text: string, at: number): Body | null {
  const pair = VULGAR[text.charAt(at)];
  return pair ? { value: new Fraction(pair[0], pair[1]), form: 'fraction', end: at + 1 } : null;
}

/** "3/4", "1 1/2", "1\frac{1}{2}", "3分之2", "3:4", "1.5e3", "2 × 10^5" or a plain decimal, from its first digit. */
function body(text: string, at: number): Body | null {
  const match = sticky(decimalAt, text, at);
  if (!match) return null;
  const end = at + match[0].length;
  const read = decimalValue(match[0]);
  if (!read) return null;
  const whole = read.decimals === 0;
  if (whole) {
    const mixed = sticky(mixedAt, text, end);
    if (mixed) {
      const [top, bottom] = [Number(mixed[1]), Number(mixed[2])];
      if (top > 0 && top < bottom) {
        return { value: read.value.add(new Fraction(top, bottom)), form: 'mixed', end: end + mixed[0].length };
      }
    }
    const gap = sticky(mixedGapAt, text, end);
    const partAt = end + (gap?.[0].length ?? 0);
    const part = latexFraction(text, partAt) ?? vulgarFraction(text, partAt);
    if (part && part.value.compare(1) < 0 && !part.negative) {
      return { value: read.value.add(part.value), form: 'mixed', end: part.end };
    }
    const ofParts = sticky(ofPartsAt, text, end);
    const top = ofParts ? decimalValue(ofParts[1] ?? '') : null;
    const value = top ? ratio(top.value, read.value) : null;
    if (ofParts && value) return { value, form: 'fraction', end: end + ofParts[0].length };
    const colon = sticky(ratioAt, text, end);
    const right = colon && !/[\d:]/.test(text.charAt(at - 1)) ? decimalValue(colon[1] ?? '') : null;
    const quotient = right ? ratio(read.value, right.value) : null;
    if (colon && quotient) return { value: quotient, form: 'ratio', end: end + colon[0].length };
  }
  if (text.charAt(at - 1) !== '/') {
    const slash = sticky(slashAt, text, end);
    const bottom = slash ? decimalValue(slash[1] ?? '') : null;
    const value = bottom ? ratio(read.value, bottom.value) : null;
    if (slash && value) return { value, form: 'fraction', end: end + slash[0].length };
  }
  const exponent = sticky(exponentAt, text, end);
  const tens = exponent ?? sticky(powerOfTenAt, text, end) ?? sticky(superscriptAt, text, end);
  if (tens) {
    const written = tens[1] ?? tens[2] ?? '0';
    const value = power(read.value, /[⁰-⁹⁻¹²³]/.test(written) ? superscriptNumber(written) : Number(written));
    if (value) return { value, form: 'decimal', end: end + tens[0].length };
  }
  return { value: read.value, form: 'decimal', decimals: read.decimals, end };
}

/** Index of the first character of the sign and currency in front of a number that starts at `at`. */
function prefix(text: string, at: number): { start: number; negative: boolean } {
  let start = at;
  let negative = false;
  let sawCurrency = false;
  for (let step = 0; step < 6; step++) {
    const before = text.charAt(start - 1);
    if (before !== '' && CURRENCY.includes(before) && !sawCurrency) {
      sawCurrency = true;
      start -= text.charAt(start - 2) === '\\' ? 2 : 1;
      continue;
    }
    if (before === '-' && !negative && isSign(text, start - 1, start === at || sawCurrency)) {
      negative = true;
      start -= 1;
      continue;
    }
    // "$ 18", "= - 5": white space counts only when a currency or a sign stands before it.
    if (before === ' ' && start === at) {
      const far = text.charAt(start - 2);
      if (far !== '' && CURRENCY.includes(far) && /^$|[\s=:(*]/.test(text.charAt(start - 3))) {
        start -= 1;
        continue;
      }
      if (far === '-' && /[=≈]\s?$/.test(text.slice(Math.max(0, start - 4), start - 2))) {
        negative = true;
        start -= 2;
      }
    }
    break;
  }
  return { start, negative };
}

/** Whether the '-' at `at` makes the following number negative; after an operand it subtracts, between words it joins. */
function isSign(text: string, at: number, adjacent: boolean): boolean {
  if (!adjacent) return false;
  let i = at - 1;
  while (i >= 0 && at - i < 4 && text.charAt(i) === ' ') i--;
  const before = i < 0 ? '' : text.charAt(i);
  if (/[A-Za-z]/.test(before) && i < at - 1) return true; // "is -5"
  return !/[\dA-Za-z)\]}%\u4e00-\u9fff]/.test(before) || /[是为得于]/.test(before);
}

const candidateStart = /\d|\.\d|\\[dtc]?frac|[½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞]/g;

/** Whether digits at `at` belong to a name, an exponent or an index (x1, H2O, m^2, a_3) and are no number. */
function isPartOfName(text: string, at: number): boolean {
  const before = text.charAt(at - 1);
  if (before === '^' || before === '_') return true;
  if (before === '{' && /[\^_]/.test(text.charAt(at - 2))) return true;
  if (before === '{' && text.slice(Math.max(0, at - 6), at - 1) === '\\sqrt') return true;
  if (before === '√') return true;
  if (!/[A-Za-z]/.test(before)) return false;
  if (/[xX]/.test(before) && /[\d)\s]/.test(text.charAt(at - 2))) return false; // 3x18
  const start = Math.max(0, at - 12);
  const head = text.slice(start, at);
  if (/\\[A-Za-z]+$/.test(head)) return false; // \times3, \approx5
  return !currencyCode.test(head);
}

/**
 * Every number of `text` from `from` to `to`, left to right, each read as far as it goes ("1 1/2" is one number).
 * Reads Arabic digits only; expects folded text (see fold.ts). Never throws; linear in the range's length: each character
 * is looked at a bounded number of times, and runs of more than {@link MAX_DIGITS} digits are skipped.
 */
export function scanNumbers(text: string, from = 0, to = text.length): NumberToken[] {
  const found: NumberToken[] = [];
  const region = to < text.length ? text.slice(0, to) : text;
  let at = from;
  while (at < to) {
    candidateStart.lastIndex = at;
    const candidate = candidateStart.exec(region);
    if (!candidate) break;
    const start = candidate.index;
    const first = candidate[0];
    const plainEnd = decimalEnd(region, start) ?? start + first.length;
    at = plainEnd;
    if (isPartOfName(region, start)) continue;
    if (first.startsWith('.') && /[\d.]/.test(region.charAt(start - 1))) continue;
    const read = first.startsWith('\\')
      ? latexFraction(region, start)
      : (vulgarFraction(region, start) ?? body(region, start));
    if (!read) continue;
    at = read.end;
    if (sticky(symbolicAt, region, read.end)) continue; // 3π is not 3
    const sign = prefix(region, start);
    let begin = Math.max(sign.start, found.at(-1)?.end ?? 0, from);
    let end = read.end;
    let percent = false;
    const sigil = sticky(percentAt, region, end);
    if (sigil) {
      percent = true;
      end += sigil[0].length;
    } else if (region.slice(Math.max(0, start - 3), start) === '百分之') {
      percent = true;
      begin = Math.max(from, start - 3);
    }
    const scaleMatch = percent ? null : sticky(scaleAt, region, end);
    const scale = scaleMatch ? SCALES[(scaleMatch[1] ?? scaleMatch[2] ?? '').toLowerCase()] : undefined;
    if (scaleMatch && scale) end += scaleMatch[0].length;
    at = end;
    const negative = sign.negative !== (read.negative ?? false);
    found.push({
      value: negative ? read.value.neg() : read.value,
      percent,
      form: read.form,
      start: begin,
      end,
      ...(scale === undefined ? {} : { scale }),
      ...(read.decimals === undefined ? {} : { decimals: read.decimals }),
    });
  }
  return found;
}

const CHINESE_DIGITS: Readonly<Record<string, number>> = {
  零: 0,
  〇: 0,
  一: 1,
  二: 2,
  两: 2,
  三: 3,
  四: 4,
  五: 5,
  六: 6,
  七: 7,
  八: 8,
  九: 9,
};
const CHINESE_UNITS: Readonly<Record<string, number>> = { 十: 10, 百: 100, 千: 1000 };
const CHINESE_NUMBER = '[零〇一二两三四五六七八九十百千万亿]';
const chineseAt = new RegExp(
  `(负)?(百分之)?(${CHINESE_NUMBER}{1,24})(?:点([零〇一二三四五六七八九]{1,12})|分之(${CHINESE_NUMBER}{1,24}))?`,
  'y',
);

/** "三百二十" → 320, "两万零五" → 20005, "一百二" → 120, "二〇二四" → 2024; null when it is no numeral. */
export function chineseInteger(text: string): number | null {
  if (text.length === 0 || text.length > 24) return null;
  const digits = [...text].map((char) => CHINESE_DIGITS[char]);
  if (text.length > 1 && digits.every((digit) => digit !== undefined)) return Number(digits.join(''));
  let total = 0;
  let section = 0;
  let digit: number | null = null;
  let lastUnit = 0;
  for (const char of text) {
    const value = CHINESE_DIGITS[char];
    if (value !== undefined) {
      if (digit !== null && digit !== 0) return null;
      digit = value;
      if (value === 0) lastUnit = 0;
      continue;
    }
    const unit = CHINESE_UNITS[char];
    if (unit !== undefined) {
      section += (digit ?? (section === 0 && unit === 10 ? 1 : Number.NaN)) * unit;
      lastUnit = unit;
    } else {
      const big = char === '万' ? 1e4 : char === '亿' ? 1e8 : Number.NaN;
      section += digit ?? 0;
      if (section === 0 && total === 0) return null;
      // 亿 also multiplies what 万 made before it: 一万亿.
      total = big === 1e8 ? (total + section) * big : total + section * big;
      section = 0;
      lastUnit = big;
    }
    digit = null;
  }
  // "一百二" is said for 120: a last digit right after a unit counts tenths of that unit.
  if (digit !== null) section += lastUnit >= 100 && digit > 0 ? (digit * lastUnit) / 10 : digit;
  const value = total + section;
  return Number.isSafeInteger(value) ? value : null;
}

const ENGLISH: Readonly<Record<string, number>> = Object.fromEntries([
  ...'zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen'
    .split(' ')
    .map((word, value) => [word, value] as const),
  ...'twenty thirty forty fifty sixty seventy eighty ninety'
    .split(' ')
    .map((word, index) => [word, 20 + 10 * index] as const),
]);
const englishAt = /(?:(?:[a-z]{3,9})(?:[ -](?:and )?)?){1,8}/iy;

function englishInteger(text: string, at: number): { value: number; end: number } | null {
  const match = sticky(englishAt, text, at);
  if (!match) return null;
  let total = 0;
  let section = 0;
  let end = at;
  let seen = false;
  const words = /[a-z]+/gi;
  words.lastIndex = at;
  for (let word = words.exec(text); word && word.index < at + match[0].length; word = words.exec(text)) {
    const name = word[0].toLowerCase();
    const value = Object.hasOwn(ENGLISH, name) ? ENGLISH[name] : undefined; // "constructor" is no number
    if (value !== undefined) section += value;
    else if (name === 'hundred' && seen) section *= 100;
    else if (name === 'thousand' && seen) {
      total += section * 1000;
      section = 0;
    } else if (name === 'and' && seen) continue;
    else break;
    seen = true;
    end = word.index + word[0].length;
  }
  return seen ? { value: total + section, end } : null;
}

/** The number in words (三十八, 十二点五, 三分之二, eighteen) that starts exactly at `at` of a folded text, or null. */
export function wordNumberAt(text: string, at: number): NumberToken | null {
  const chinese = sticky(chineseAt, text, at);
  if (chinese) {
    const whole = chineseInteger(chinese[3] ?? '');
    if (whole === null) return null;
    let value = new Fraction(whole);
    let form: NumberToken['form'] = 'words';
    if (chinese[4]) {
      const part = [...chinese[4]].map((char) => CHINESE_DIGITS[char] ?? 0).join('');
      value = value.add(new Fraction(BigInt(part), 10n ** BigInt(part.length)));
    } else if (chinese[5]) {
      const top = chineseInteger(chinese[5]);
      if (top === null || whole === 0) return null;
      value = new Fraction(top, whole);
      form = 'fraction';
    }
    if (chinese[1]) value = value.neg();
    return { value, percent: chinese[2] !== undefined, form, start: at, end: at + chinese[0].length };
  }
  if (/[A-Za-z]/.test(text.charAt(at - 1))) return null;
  const english = englishInteger(text, at);
  if (!english) return null;
  return { value: new Fraction(english.value), percent: false, form: 'words', start: at, end: english.end };
}

const halfAt = /一半(以|多|或|到)?/y;
const englishFractionAt =
  /(?:(a|one|two|three|four|five|six|seven|eight|nine)[ -])?(half|halves|third|quarter|fourth|fifth|sixth|seventh|eighth|ninth|tenth)s?(?![A-Za-z])(?! (?:of \$?\d|an?\b|past\b|to\b|dozen))/iy;
const PARTS: Readonly<Record<string, number>> = {
  half: 2,
  halves: 2,
  third: 3,
  quarter: 4,
  fourth: 4,
  fifth: 5,
  sixth: 6,
  seventh: 7,
  eighth: 8,
  ninth: 9,
  tenth: 10,
};
const belowZeroAt = /(?:minus|negative) (?=[a-z])/iy;

/** "three quarters", "one-half", "half"; a bare "third" is an ordinal. */
function englishFraction(text: string, at: number): NumberToken | null {
  const match = sticky(englishFractionAt, text, at);
  const part = PARTS[match?.[2]?.toLowerCase() ?? ''];
  if (!match || part === undefined || (match[1] === undefined && part !== 2)) return null;
  const count = match[1] === undefined ? 1 : (ENGLISH[match[1].toLowerCase()] ?? 1);
  return { value: new Fraction(count, part), percent: false, form: 'fraction', start: at, end: at + match[0].length };
}

/**
 * What {@link wordNumberAt} reads, and what only an answer says: 一半, half, three quarters, minus five. In a problem's text
 * these are a number and a part, each of which may be calculated with.
 */
export function answerWordAt(text: string, at: number): NumberToken | null {
  const half = sticky(halfAt, text, at);
  if (half) {
    if (half[1] !== undefined) return null; // 一半以上 is more than half, and no 1 either
    return { value: new Fraction(1, 2), percent: false, form: 'fraction', start: at, end: at + 2 };
  }
  if (/[A-Za-z]/.test(text.charAt(at - 1))) return wordNumberAt(text, at);
  const below = sticky(belowZeroAt, text, at);
  const positive = below ? wordNumberAt(text, at + below[0].length) : null;
  if (positive) return { ...positive, value: positive.value.neg(), start: at };
  return englishFraction(text, at) ?? wordNumberAt(text, at);
}

const COMPOUND_UNIT =
  /\b(?:and|or|to|half|quarters?|thirds?|dozens?|hundreds?|score)\b|[或和半至到几多零一二两三四五六七八九十百万亿]|千(?![克米瓦卡升])/i;
const unitAfter = /^\s*(?:\\text\{|\\mathrm\{)?\s*(?:[\p{L}²³°℃/.^{}]{1,20}(?:2|3)?\}?\s*){0,4}[.。]?\s*$/u;

/**
 * Reads a whole string as one number and nothing else: sign, currency, digits, percent or scale, then at most a unit of
 * one to four words and a full stop. "18", "$1,234.50", "3/4", "-5", "40%", "18元", "十八". Anything more ("18 or 20",
 * "2 dozen", "about 5") is null: gold answers are read with this, and a gold answer that is misread is worse than one
 * that is refused. Never throws.
 */
export function readNumber(source: string): NumberToken | null {
  if (source.length > 1000) return null;
  const text = fold(source).text.trim();
  const [token, ...others] = joinSpoken(text, scanNumbers(text));
  if (token) {
    if (others.length > 0 || text.slice(0, token.start).trim() !== '') return null;
    const rest = text.slice(token.end);
    return unitAfter.test(rest) && !/\d\D*\d/.test(rest) && !COMPOUND_UNIT.test(rest) ? token : null;
  }
  if (/\d/.test(text)) return null;
  const words = answerWordAt(text, 0);
  if (!words) return null;
  const rest = text.slice(words.end);
  return unitAfter.test(rest) && !COMPOUND_UNIT.test(rest) ? words : null;
}

/** {@link findNumbers} reads so many UTF-16 code units. */
export const MAX_TEXT = 100_000;

/**
 * Every number of any text (full-width and hidden characters understood), with ranges in that text. Never throws; reads
 * the first {@link MAX_TEXT} code units.
 */
export function findNumbers(source: string): NumberToken[] {
  const folded = fold(source.slice(0, MAX_TEXT));
  return scanNumbers(folded.text).map((token) => {
    const start = folded.origin(token.start);
    return { ...token, start, end: folded.origin(token.end - 1) + 1 };
  });
}

function scaled(token: NumberToken): Fraction {
  return token.scale ? token.value.mul(token.scale) : token.value;
}

function terminates(value: Fraction): boolean {
  let d = value.d;
  while (d % 2n === 0n) d /= 2n;
  while (d % 5n === 0n) d /= 5n;
  return d === 1n;
}

/** Whether `shown`, with `decimals` digits after the point, is `exact` rounded half away from zero. */
export function roundsTo(exact: Fraction, shown: Fraction, decimals: number): boolean {
  const unit = new Fraction(1n, 10n ** BigInt(decimals));
  return exact.sub(shown).abs().mul(2).compare(unit) <= 0;
}

/**
 * Whether an answer says the same as the gold answer: exact rational equality (18 = 18.00 = 36/2), and
 * - percent: when only one of the two has a percent sign, its digits or its hundredth may match (gold 50 or 0.5 or 50%
 *   all match "50%"; gold 40% matches 40 and 0.4); when both have one, the digits must match (0.5% is not 50%);
 * - scale words: "2 million" or 2万 match gold 2 (the question asked for millions) and gold 2,000,000;
 * - a gold fraction without a finite decimal (250/3) matches a decimal of at least two places that it rounds to (83.33).
 */
export function sameNumber(gold: NumberToken, answer: NumberToken): boolean {
  if (gold.percent && answer.percent) return gold.value.equals(answer.value);
  const goldValue = scaled(gold);
  const answerValue = scaled(answer);
  if (goldValue.equals(answerValue)) return true;
  if (answer.scale && !gold.scale && answer.value.equals(gold.value)) return true;
  if (gold.scale && !answer.scale && gold.value.equals(answer.value)) return true;
  if (answer.percent && answer.value.div(100).equals(goldValue)) return true;
  if (gold.percent && gold.value.div(100).equals(answerValue)) return true;
  if ((answer.decimals ?? 0) >= 2 && !terminates(goldValue)) {
    return roundsTo(goldValue, answerValue, answer.decimals ?? 0);
  }
  return false;
}
