import { ComputeEngine } from '@cortex-js/compute-engine';
import { Complex } from 'complex.js';
import Fraction from 'fraction.js';
import { Random } from '../../util/random.js';
import { decimalValue } from '../number.js';

/** An expression as the library reads it (MathJSON): a number, a symbol or a function with its arguments. */
export type Expression = number | string | { readonly num: string } | readonly Expression[];

/** `unknown`: neither the numbers nor the library could tell. */
export type Judgement = 'equal' | 'different' | 'unknown';

/** What the library tries in several ways, nested ones in 2^n. */
const TRIED_AGAIN = /\\(?:i*o?int|lim)(?![A-Za-z])|(?<!\\sqrt\s?)\[/g;

let reader: ComputeEngine | null = null;

/**
 * Reads LaTeX in the spelling of latex.ts as one expression.
 * @returns null when the library finds a fault in it, or several expressions
 */
export function readExpression(latex: string): Expression | null {
  if (latex.trim() === '' || /(?:^|[^\d._^])[\d.]+ \d/.test(latex)) return null; // the library would read "1 2" as 12
  if ((latex.match(TRIED_AGAIN)?.length ?? 0) > 4) return null;
  reader ??= new ComputeEngine();
  try {
    // Not canonical: nothing is simplified (or worked out) before we look at it, and nothing is declared.
    const read = simplified(reader.parse(latex, { canonical: false }).json as Expression);
    return read !== null && wellFormed(read) ? read : null;
  } catch {
    return null;
  }
}

const OPAQUE = ['At', 'Subscript', 'OverBar', 'OverVector', 'OverHat', 'OverTilde', 'Prime'];

/** Without delimiters, and with products written as such. Marked letters (x_1, a', \vec{v}) become one symbol each. */
function simplified(node: Expression): Expression | null {
  if (!isCall(node)) {
    if (typeof node === 'string' && node.startsWith("'")) return null; // a text within a formula
    return node;
  }
  const [head, ...rest] = node;
  if (typeof head !== 'string') return null;
  if (OPAQUE.includes(head)) return head === 'Prime' && isCall(rest[0] ?? 0) ? null : `${head} ${JSON.stringify(rest)}`;
  if (head === 'Delimiter') {
    return rest.length === 1 && !(isCall(rest[0] ?? 0) && (rest[0] as Expression[])[0] === 'Sequence')
      ? simplified(rest[0] ?? 0)
      : null;
  }
  const parts: Expression[] = [];
  for (const one of rest) {
    const part = simplified(one);
    if (part === null) return null;
    parts.push(part);
  }
  if (head === 'InvisibleOperator') {
    const [whole, fraction, ...more] = rest;
    // 2\frac{1}{3} is a mixed number, in school books and in answers.
    if (more.length === 0 && isWhole(whole) && isCall(fraction ?? 0)) {
      const [divide, top, bottom] = fraction as Expression[];
      if (divide === 'Divide' && isWhole(top) && isWhole(bottom)) return ['Add', parts[0] ?? 0, parts[1] ?? 0];
    }
    return ['Multiply', ...parts];
  }
  return [head, ...parts];
}

function isCall(node: Expression): node is readonly Expression[] {
  return Array.isArray(node);
}

function isWhole(node: Expression | undefined): boolean {
  return typeof node === 'number' && Number.isInteger(node) && node >= 0;
}

function wellFormed(node: Expression): boolean {
  if (!isCall(node)) return node !== '' && node !== 'Nothing' && node !== 'Undefined';
  if (node[0] === 'Error' || node[0] === 'Sequence' || node[0] === 'PlusMinus') return false;
  return node.length > 1 && node.slice(1).every(wellFormed);
}

/** What is no variable: constants, with their values. `i` is the imaginary unit and `e` Euler's number, on both sides. */
const CONSTANTS: ReadonlyMap<string, Complex> = new Map([
  ['Pi', Complex(Math.PI, 0)],
  ['e', Complex(Math.E, 0)],
  ['ExponentialE', Complex(Math.E, 0)],
  ['i', Complex(0, 1)],
  ['ImaginaryUnit', Complex(0, 1)],
  ['GoldenRatio', Complex((1 + Math.sqrt(5)) / 2, 0)],
]);

function variablesOf(node: Expression, into = new Set<string>()): Set<string> {
  if (typeof node === 'string') {
    if (!CONSTANTS.has(node)) into.add(node);
  } else if (isCall(node)) for (const part of node.slice(1)) variablesOf(part, into);
  return into;
}

/** Largest numerator or denominator of exact work, in bits: enough for any answer, and quick. */
const MAX_BITS = 4000;
const MAX_POWER = 1000;

function literal(node: number | { readonly num: string }): Fraction | null {
  const text = typeof node === 'number' ? String(node) : node.num;
  const match = /^(-?)(\d*(?:\.\d*)?)(?:e([+-]?\d{1,3}))?$/i.exec(text);
  const read = match ? decimalValue(match[2] ?? '') : null;
  if (!match || !read) return null;
  const exponent = Number(match[3] ?? 0);
  if (Math.abs(exponent) > 300) return null;
  const ten = new Fraction(10n ** BigInt(Math.abs(exponent)));
  const value = exponent < 0 ? read.value.div(ten) : read.value.mul(ten);
  return match[1] === '-' ? value.neg() : value;
}

/**
 * The exact value of what is made of numbers, the four operations and whole powers; null for anything else, for a
 * division by 0, and for what grows beyond {@link MAX_BITS} bits.
 */
export function exactValue(node: Expression, at: ReadonlyMap<string, Fraction> = new Map()): Fraction | null {
  if (typeof node === 'string') return at.get(node) ?? null;
  if (!isCall(node)) return literal(node);
  const values: Fraction[] = [];
  for (const part of node.slice(1)) {
    const value = exactValue(part, at);
    if (value === null) return null;
    values.push(value);
  }
  const result = exactStep(String(node[0]), values);
  if (result === null) return null;
  return bits(result.n) > MAX_BITS || bits(result.d) > MAX_BITS ? null : result;
}

function bits(value: bigint): number {
  return 4 * value.toString(16).length;
}

function exactStep(head: string, values: readonly Fraction[]): Fraction | null {
  const [a, b] = values;
  if (a === undefined) return null;
  switch (head) {
    case 'Add':
      return values.reduce((sum, value) => sum.add(value));
    case 'Multiply':
      return values.reduce((product, value) => product.mul(value));
    case 'Negate':
      return a.neg();
    case 'Subtract':
      return b === undefined ? null : a.sub(b);
    case 'Divide':
    case 'Rational':
      return b === undefined || b.n === 0n ? null : a.div(b);
    case 'Square':
      return a.mul(a);
    case 'Abs':
      return a.abs();
    case 'Power': {
      if (b === undefined || b.d !== 1n || b.n > BigInt(MAX_POWER)) return null;
      const exponent = Number(b.n);
      if (exponent * Math.max(bits(a.n), bits(a.d)) > 2 * MAX_BITS) return null;
      if (a.n === 0n) return b.s < 0 || exponent === 0 ? null : a;
      const raised = new Fraction(a.n ** BigInt(exponent) * (a.s < 0 && exponent % 2 === 1 ? -1n : 1n), a.d ** b.n);
      return b.s < 0 ? new Fraction(1).div(raised) : raised;
    }
    case 'Factorial': {
      if (a.d !== 1n || a.s < 0 || a.n > 300n) return null;
      let product = 1n;
      for (let k = 2n; k <= a.n; k++) product *= k;
      return new Fraction(product);
    }
    default:
      return null;
  }
}

type Step = (...values: Complex[]) => Complex;

const ONE = Complex(1, 0);
const real = (work: (...values: number[]) => number): Step => {
  return (...values) =>
    Complex(values.some(({ im }) => Math.abs(im) > 1e-12) ? Number.NaN : work(...values.map(({ re }) => re)), 0);
};

function factorial(n: number): number {
  if (!Number.isInteger(n) || n < 0 || n > 170) return Number.NaN;
  let product = 1;
  for (let k = 2; k <= n; k++) product *= k;
  return product;
}

/** An odd root of a negative number is the real one, as in school; other powers take their principal value. */
function root(value: Complex, degree: Complex): Complex {
  const odd = degree.im === 0 && Number.isInteger(degree.re) && degree.re % 2 !== 0;
  if (odd && value.im === 0 && value.re < 0) return Complex(-((-value.re) ** (1 / degree.re)), 0);
  return value.pow(ONE.div(degree));
}

const STEPS: ReadonlyMap<string, Step> = new Map<string, Step>([
  ['Add', (...all) => all.reduce((sum, value) => sum.add(value))],
  ['Multiply', (...all) => all.reduce((product, value) => product.mul(value))],
  ['Negate', (a) => a.neg()],
  ['Subtract', (a, b = ONE) => a.sub(b)],
  ['Divide', (a, b = ONE) => a.div(b)],
  ['Rational', (a, b = ONE) => a.div(b)],
  ['Square', (a) => a.mul(a)],
  ['Power', (a, b = ONE) => a.pow(b)],
  ['Sqrt', (a) => a.sqrt()],
  ['Root', (a, b = Complex(2, 0)) => root(a, b)],
  ['Abs', (a) => Complex(a.abs(), 0)],
  ['Exp', (a) => a.exp()],
  ['Ln', (a, b) => (b === undefined ? a.log() : a.log().div(b.log()))],
  ['Log', (a, b = Complex(10, 0)) => a.log().div(b.log())],
  ['Lg', (a) => a.log().div(Math.LN10)],
  ['Lb', (a) => a.log().div(Math.LN2)],
  ['Sin', (a) => a.sin()],
  ['Cos', (a) => a.cos()],
  ['Tan', (a) => a.tan()],
  ['Cot', (a) => a.cot()],
  ['Sec', (a) => a.sec()],
  ['Csc', (a) => a.csc()],
  ['Arcsin', (a) => a.asin()],
  ['Arccos', (a) => a.acos()],
  ['Arctan', (a) => a.atan()],
  ['Sinh', (a) => a.sinh()],
  ['Cosh', (a) => a.cosh()],
  ['Tanh', (a) => a.tanh()],
  ['Degrees', (a) => a.mul(Math.PI / 180)],
  ['Factorial', real(factorial)],
  ['Floor', real(Math.floor)],
  ['Ceil', real(Math.ceil)],
  ['Max', real(Math.max)],
  ['Min', real(Math.min)],
]);

/** What stands in a formula that {@link sampledValue} cannot work out: then the library is asked. */
function understood(node: Expression): boolean {
  if (!isCall(node)) return true;
  return STEPS.has(String(node[0])) && node.slice(1).every(understood);
}

/** The value at a point, in double precision; NaN parts where it is not defined. Knows what is {@link understood}. */
export function sampledValue(node: Expression, at: ReadonlyMap<string, number> = new Map()): Complex {
  if (typeof node === 'string') return CONSTANTS.get(node) ?? Complex(at.get(node) ?? Number.NaN, 0);
  if (!isCall(node)) return Complex(Number(typeof node === 'number' ? node : node.num), 0);
  const step = STEPS.get(String(node[0]));
  if (step === undefined) return Complex(Number.NaN, 0);
  return step(...node.slice(1).map((part) => sampledValue(part, at)));
}

function finite({ re, im }: Complex): boolean {
  return Number.isFinite(re) && Number.isFinite(im);
}

/** Agreement of two doubles that were worked out along different ways. */
function close(a: Complex, b: Complex): boolean {
  return a.sub(b).abs() <= 1e-9 * Math.max(a.abs(), b.abs()) + 1e-12;
}

/** Points at which expressions with variables are compared, and how many must tell something. */
const POINTS = 32;
const ENOUGH = 6;

/** The i-th point: whole numbers (for n!, (-1)^n), then reals within ±1 (for arcsin) and within ±6. */
function* points(names: readonly string[]): Generator<{ exact: Map<string, Fraction>; real: Map<string, number> }> {
  const rng = new Random(`maths ${names.join(' ')}`);
  for (let i = 0; i < POINTS; i++) {
    const exact = new Map<string, Fraction>();
    const real = new Map<string, number>();
    for (const name of names) {
      const span = i % 3 === 0 ? 1 : 6;
      const value =
        i < 10
          ? new Fraction(1 + Math.floor(rng.next() * 12))
          : new Fraction(Math.floor((2 * rng.next() - 1) * span * 1009), 1009);
      exact.set(name, value);
      real.set(name, value.valueOf());
    }
    yield { exact, real };
  }
}

/**
 * Whether two expressions are equal up to algebra.
 *
 * 1. Without variables: as exact rationals, or else to nine digits.
 * 2. With variables: at {@link POINTS} points, the same in every run. Exactly where both are rational there (two
 *    different polynomials of low degree agree at a point by accident only: Schwartz 1980, Zippel 1979), else to nine
 *    digits. Points where one is not defined or not real are passed over; one disagreement refutes, {@link ENOUGH}
 *    agreements prove.
 * 3. What cannot be worked out so (sums, integrals) is left to the library's own `isEqual`.
 */
export function judgeExpressions(a: Expression, b: Expression): Judgement {
  if (JSON.stringify(a) === JSON.stringify(b)) return 'equal';
  if (typeof a === 'string' && typeof b === 'string') return 'different'; // two symbols
  if (!understood(a) || !understood(b)) return askLibrary(a, b);
  const names = [...variablesOf(b, variablesOf(a))].sort();
  if (names.length === 0) {
    const [x, y] = [exactValue(a), exactValue(b)];
    if (x && y) return x.equals(y) ? 'equal' : 'different';
    const [z, w] = [sampledValue(a), sampledValue(b)];
    if (!finite(z) || !finite(w)) return 'unknown';
    return close(z, w) ? 'equal' : 'different';
  }
  if (names.length > 12) return 'unknown';
  const imaginary = usesImaginary(a) || usesImaginary(b);
  let agreed = 0;
  for (const { exact, real } of points(names)) {
    const [x, y] = [exactValue(a, exact), exactValue(b, exact)];
    if (x && y) {
      if (!x.equals(y)) return 'different';
      agreed++;
      continue;
    }
    const [z, w] = [sampledValue(a, real), sampledValue(b, real)];
    if (!finite(z) || !finite(w)) continue;
    if (!imaginary && (Math.abs(z.im) > 1e-9 * z.abs() || Math.abs(w.im) > 1e-9 * w.abs())) continue;
    if (!close(z, w)) return 'different';
    agreed++;
  }
  return agreed >= ENOUGH ? 'equal' : 'unknown';
}

function usesImaginary(node: Expression): boolean {
  if (isCall(node)) return node.slice(1).some(usesImaginary);
  return node === 'i' || node === 'ImaginaryUnit';
}

/** A fresh engine each time: the symbols that one pair declares must not change how the next is read. */
function askLibrary(a: Expression, b: Expression): Judgement {
  try {
    const engine = new ComputeEngine();
    const [one, other] = [a, b].map((node) => engine.box(node as Parameters<typeof engine.box>[0]));
    const equal = one !== undefined && other !== undefined && (one.isSame(other) || one.isEqual(other));
    return equal === true ? 'equal' : 'unknown';
  } catch {
    return 'unknown';
  }
}

/**
 * Whether two expressions are the same but for a constant factor other than 0: `2x + 2y - 4` and `x + y - 2`, the two
 * sides' differences of one line. `sign`: the factor's, where all points agree.
 */
export function proportional(a: Expression, b: Expression): { same: boolean; sign: number } {
  const names = [...variablesOf(b, variablesOf(a))].sort();
  if (names.length === 0 || names.length > 12 || !understood(a) || !understood(b)) return { same: false, sign: 0 };
  let ratio: Complex | null = null;
  let agreed = 0;
  for (const { real } of points(names)) {
    const [x, y] = [sampledValue(a, real), sampledValue(b, real)];
    if (!finite(x) || !finite(y)) continue;
    const [none, nothing] = [x.abs() < 1e-9, y.abs() < 1e-9];
    if (none && nothing) continue;
    if (none || nothing) return { same: false, sign: 0 };
    const here = x.div(y);
    ratio ??= here;
    if (!close(ratio, here)) return { same: false, sign: 0 };
    agreed++;
  }
  if (ratio === null || agreed < ENOUGH || Math.abs(ratio.im) > 1e-9) return { same: false, sign: 0 };
  return { same: true, sign: Math.sign(ratio.re) };
}
