import Fraction from 'fraction.js';
import { roundsTo, sameNumber } from '../number.js';
import { sameUnit, unitOf } from '../units.js';
import {
  type Expression,
  exactValue,
  type Judgement,
  judgeExpressions,
  proportional,
  sampledValue,
} from './expression.js';
import { type MathsAnswer, plainWords, type Relation, readMaths, type Value } from './form.js';

export interface MathsOptions {
  /** `ignore`: a unit is not looked at. `match`: where the gold answer has one, the answer needs the same or one that converts. */
  readonly units: 'ignore' | 'match';
  /** Fewest decimal places of a rounded answer to a gold answer without a finite decimal (√2, 250/3). */
  readonly decimals: number;
  /** Largest relative error of an answer when the gold answer is a decimal (3.14); 0: none. */
  readonly tolerance: number;
}

export const MATHS_DEFAULTS: MathsOptions = { units: 'ignore', decimals: 2, tolerance: 0 };

/** What became of a comparison. `undecided` counts as wrong: nobody could show that the two are equal. */
export type MathsVerdict = 'equal' | 'different' | 'undecided' | 'unparsable' | 'bad-gold';

/**
 * Whether an answer says the same as the gold answer, both as text, LaTeX or plain. docs/maths.md says what counts as
 * equal. Never throws and is deterministic; takes as long as the library takes for what only it can work out, so it is
 * called in a thread with a time limit (worker.ts).
 */
export function compareMaths(gold: string, answer: string, options: MathsOptions = MATHS_DEFAULTS): MathsVerdict {
  const right = readMaths(gold);
  if (right === null) return 'bad-gold';
  const words = plainWords(gold);
  if (words !== '' && words === plainWords(answer)) return 'equal';
  const given = readMaths(answer);
  if (given === null) return 'unparsable';
  const judgement = judge(right, given, options);
  return judgement === 'unknown' ? 'undecided' : judgement;
}

type Judge = (gold: MathsAnswer, answer: MathsAnswer, options: MathsOptions) => Judgement;

const flag = (equal: boolean): Judgement => (equal ? 'equal' : 'different');

/** `equal` when all are, else what the first that is not equal says. */
function all(judgements: Iterable<Judgement>): Judgement {
  for (const one of judgements) if (one !== 'equal') return one;
  return 'equal';
}

const judge: Judge = (gold, answer, options) => {
  // x = 5 answers a question for 5, and 5 one for x = 5.
  const [right, given] = [named(gold), named(answer)];
  if (gold.kind === 'relation' && answer.kind === 'relation') return judgeRelations(gold, answer, options);
  if (right !== null && answer.kind !== 'relation') return judge(right, answer, options);
  if (given !== null && gold.kind !== 'relation') return judge(gold, given, options);
  const region = regionOf(gold) ?? null;
  const other = regionOf(answer) ?? null;
  if (region !== null && other !== null && (gold.kind !== 'tuple' || answer.kind !== 'tuple')) {
    return anyOrder(region, other, options);
  }
  switch (gold.kind) {
    case 'value':
      if (answer.kind === 'value') return judgeValues(gold, answer, options);
      return answer.kind === 'base' && gold.number !== null
        ? flag(answer.base === 10 && sameDigits(gold, answer.digits))
        : 'different';
    case 'words':
      return flag(answer.kind === 'words' && answer.text === gold.text);
    case 'base':
      if (answer.kind === 'base') return flag(answer.base === gold.base && answer.digits === gold.digits);
      return flag(answer.kind === 'value' && sameDigits(answer, gold.digits));
    case 'list':
      // Brackets say "in this order"; where the gold answer has none, they need not.
      if (answer.kind === 'list' || answer.kind === 'set') return anyOrder(gold.items, answer.items, options);
      return answer.kind === 'tuple' && answer.open === '(' && answer.close === ')'
        ? inOrder(gold.items, answer.items, options)
        : 'different';
    case 'set':
      if (answer.kind === 'set') return sameSet(gold.items, answer.items, options);
      if (answer.kind === 'list') return sameSet(gold.items, answer.items, options);
      return answer.kind === 'value' && gold.items.length === 1
        ? judge(gold.items[0] ?? gold, answer, options)
        : 'different';
    case 'tuple':
      if (answer.kind === 'list' && gold.open === '(' && gold.close === ')') {
        return inOrder(gold.items, answer.items, options);
      }
      if (answer.kind === 'matrix') return asVector(gold, answer, options);
      if (answer.kind !== 'tuple' || !sameBrackets(gold, answer)) return 'different';
      return inOrder(gold.items, answer.items, options);
    case 'union':
      return answer.kind === 'union' ? anyOrder(gold.parts, answer.parts, options) : 'different';
    case 'matrix':
      if (answer.kind === 'tuple') return asVector(answer, gold, options);
      if (answer.kind !== 'matrix' || answer.rows.length !== gold.rows.length) return 'different';
      return all(gold.rows.map((row, i) => inOrder(row, answer.rows[i] ?? [], options)));
    default:
      return 'different';
  }
};

function inOrder(gold: readonly MathsAnswer[], answer: readonly MathsAnswer[], options: MathsOptions): Judgement {
  if (gold.length !== answer.length) return 'different';
  return all(lazily(gold, (item, i) => judge(item, answer[i] as MathsAnswer, options)));
}

function* lazily<T, R>(items: readonly T[], work: (item: T, index: number) => R): Generator<R> {
  for (const [i, item] of items.entries()) yield work(item, i);
}

/** Each gold item has an answer of its own. */
function anyOrder(gold: readonly MathsAnswer[], answer: readonly MathsAnswer[], options: MathsOptions): Judgement {
  if (gold.length !== answer.length) return 'different';
  const left = [...answer];
  for (const item of gold) {
    const found = left.findIndex((one) => judge(item, one, options) === 'equal');
    if (found < 0) return 'different';
    left.splice(found, 1);
  }
  return 'equal';
}

/** What is named twice counts once. */
function sameSet(gold: readonly MathsAnswer[], answer: readonly MathsAnswer[], options: MathsOptions): Judgement {
  const within = (item: MathsAnswer, answers: boolean) =>
    (answers ? answer : gold).some((one) => judge(answers ? item : one, answers ? one : item, options) === 'equal');
  return flag(gold.every((item) => within(item, true)) && answer.every((item) => within(item, false)));
}

type Tuple = Extract<MathsAnswer, { kind: 'tuple' }>;
type Matrix = Extract<MathsAnswer, { kind: 'matrix' }>;
type Related = Extract<MathsAnswer, { kind: 'relation' }>;

/** At an infinite end both brackets mean the same. */
function sameBrackets(one: Tuple, other: Tuple): boolean {
  const [first, last] = [one.items[0], one.items.at(-1)];
  return (one.open === other.open || isInfinite(first)) && (one.close === other.close || isInfinite(last));
}

function isInfinite(item: MathsAnswer | undefined): boolean {
  return item?.kind === 'value' && JSON.stringify(item.expression).includes('PositiveInfinity');
}

/** A column or a row is a vector, which others write as (1, 2, 3). */
function asVector(vector: Tuple, matrix: Matrix, options: MathsOptions): Judgement {
  const [row] = matrix.rows;
  const cells =
    matrix.rows.length === 1 ? row : matrix.rows.every(({ length }) => length === 1) ? matrix.rows.flat() : undefined;
  if (cells === undefined || vector.open !== '(' || vector.close !== ')') return 'different';
  return inOrder(vector.items, cells, options);
}

function sameDigits(value: Value, digits: string): boolean {
  return value.number?.form === 'decimal' && value.number.decimals === 0 && value.number.value.toFraction() === digits;
}

/**
 * The last side of `x = 5`, `f(x) = x + 1`, `2 + 3 = 5`, `x ∈ [0, 1]`; null when the text is no such equation: a side
 * that is neither a name nor equal to the last one makes it an equation of its own.
 */
function named(answer: MathsAnswer): MathsAnswer | null {
  if (answer.kind !== 'relation') return null;
  const last = answer.sides.at(-1);
  if (last === undefined || answer.relations.some((relation) => !['=', '≈', '∈'].includes(relation))) return null;
  const before = answer.sides.slice(0, -1);
  const settled = before.every(
    (side, i) =>
      (i === 0 && isName(side)) ||
      (side.kind === 'value' && last.kind === 'value' && judgeValues(side, last, MATHS_DEFAULTS) === 'equal'),
  );
  return settled ? last : null;
}

/** x, f(x), P(A), \angle ABC, "Area": what an answer is called. */
function isName(side: MathsAnswer): boolean {
  if (side.kind === 'words') return true;
  if (side.kind !== 'value' || side.number !== null || side.expression === null) return false;
  const { expression } = side;
  if (typeof expression === 'string') return true;
  // f(x) reads as the product of f and x.
  return (
    Array.isArray(expression) &&
    expression[0] === 'Multiply' &&
    expression.slice(1).every((part) => typeof part === 'string') &&
    expression.length <= 4
  );
}

const FLIPPED: Readonly<Record<Relation, Relation>> = {
  '=': '=',
  '≠': '≠',
  '≈': '≈',
  '∈': '∈',
  '<': '>',
  '>': '<',
  '≤': '≥',
  '≥': '≤',
};

const judgeRelations: Judge = (gold, answer, options) => {
  if (gold.kind !== 'relation' || answer.kind !== 'relation') return 'different';
  const [range, other] = [regionOf(gold), regionOf(answer)];
  if (range && other) return anyOrder(range, other, options);
  // The same relations between the same sides, read from either end.
  for (const [sides, relations] of [
    [answer.sides, answer.relations],
    [answer.sides.toReversed(), answer.relations.toReversed().map((relation) => FLIPPED[relation])],
  ] as const) {
    if (relations.join() === gold.relations.join() && inOrder(gold.sides, sides, options) === 'equal') return 'equal';
  }
  const [right, given] = [named(gold), named(answer)];
  // x = 2 + 3 = 5 and x = 5: the same name, the same last side.
  const [name, otherName] = [gold.sides[0], answer.sides[0]];
  if (right && given && name && otherName && isName(name) && judge(name, otherName, options) === 'equal') {
    return judge(right, given, options);
  }
  const [a, b] = [difference(gold), difference(answer)];
  if (a === null || b === null) return 'different';
  const { same, sign } = proportional(a, b);
  const [relation, otherRelation] = [gold.relations[0], answer.relations[0]];
  if (!same || relation === undefined || otherRelation === undefined) return 'different';
  return flag(relation === (sign < 0 ? FLIPPED[otherRelation] : otherRelation));
};

/** Left side less right side of a single relation of expressions. */
function difference({ sides, relations }: Related): Expression | null {
  const [left, right] = sides.map((side) => (side.kind === 'value' ? side.expression : null));
  if (sides.length !== 2 || relations[0] === '∈' || left == null || right == null) return null;
  return ['Subtract', left, right];
}

const INFINITY: Value = { kind: 'value', expression: 'PositiveInfinity', number: null, percent: false, unit: null };
const MINUS_INFINITY: Value = { ...INFINITY, expression: ['Negate', 'PositiveInfinity'] };

/**
 * The intervals that an answer stands for: those of a union, one in brackets, `x > 3`, `1 < x ≤ 2`, `x ∈ (0, 1]`, `x < 1
 * or x > 2`. Null when it stands for none.
 */
function regionOf(answer: MathsAnswer): readonly MathsAnswer[] | null {
  if (answer.kind === 'tuple') return answer.items.length === 2 ? [answer] : null;
  if (answer.kind === 'union') return answer.parts;
  if (answer.kind === 'list') {
    const parts = answer.items.map((item) => (item.kind === 'relation' ? regionOf(item) : null));
    return parts.every((part) => part !== null) ? parts.flat() : null;
  }
  if (answer.kind !== 'relation') return null;
  const { sides, relations } = answer;
  const [first, second, third] = sides;
  if (relations.length === 1 && relations[0] === '∈' && second) return regionOf(second);
  const rising = relations.every((relation) => relation === '<' || relation === '≤');
  const falling = relations.every((relation) => relation === '>' || relation === '≥');
  if ((!rising && !falling) || first === undefined || second === undefined) return null;
  const open = (relation: Relation | undefined) => (relation === '<' || relation === '>' ? '(' : '[');
  const shut = (relation: Relation | undefined) => (relation === '<' || relation === '>' ? ')' : ']');
  const interval = (low: MathsAnswer, high: MathsAnswer, left: string, right: string): MathsAnswer[] => [
    { kind: 'tuple', open: left, close: right, items: [low, high] },
  ];
  if (sides.length === 3 && third && isVariable(second)) {
    return rising
      ? interval(first, third, open(relations[0]), shut(relations[1]))
      : interval(third, first, open(relations[1]), shut(relations[0]));
  }
  if (sides.length !== 2) return null;
  const [variable, bound, up] = isVariable(first) ? [first, second, falling] : [second, first, rising];
  if (!isVariable(variable) || !isConstant(bound)) return null;
  return up
    ? interval(bound, INFINITY, open(relations[0]), ')')
    : interval(MINUS_INFINITY, bound, '(', shut(relations[0]));
}

function isVariable(side: MathsAnswer): boolean {
  return side.kind === 'value' && typeof side.expression === 'string' && side.expression !== 'PositiveInfinity';
}

function isConstant(side: MathsAnswer): boolean {
  return (
    side.kind === 'value' &&
    (side.number !== null || (side.expression !== null && Number.isFinite(sampledValue(side.expression).re)))
  );
}

function judgeValues(gold: Value, answer: Value, options: MathsOptions): Judgement {
  if (gold.unit !== null && answer.unit !== null && unitOf(gold.unit) && unitOf(answer.unit)) {
    const converted = convert(gold, answer);
    if (converted === 'equal' || options.units === 'match') return converted;
  } else if (options.units === 'match' && gold.unit !== null) {
    if (answer.unit === null || !sameUnit(gold.unit, answer.unit)) return 'different';
  }
  if (isDegrees(gold) !== isDegrees(answer) && judgePlain(inRadians(gold), inRadians(answer), options) === 'equal') {
    return 'equal';
  }
  return judgePlain(gold, answer, options);
}

function isDegrees({ unit }: Value): boolean {
  const read = unit === null ? null : unitOf(unit);
  return read?.dimension === 'turn' && read.factor === 1;
}

/** 30° is π/6: as a number without a unit, an angle is in radians. */
function inRadians(value: Value): Value {
  const expression = expressionOf(value);
  if (!isDegrees(value) || expression === null) return value;
  return { ...value, unit: null, number: null, expression: ['Degrees', expression] };
}

function expressionOf({ expression, number }: Value): Expression | null {
  if (expression !== null) return expression;
  if (number === null) return null;
  const value = number.scale === undefined ? number.value : number.value.mul(number.scale);
  const [top = '', bottom = '1'] = value.toFraction().split('/');
  return ['Divide', { num: top }, { num: bottom }];
}

/** 1 m and 100 cm: the same quantity in units that convert. */
function convert(gold: Value, answer: Value): Judgement {
  const [one, other] = [unitOf(gold.unit ?? ''), unitOf(answer.unit ?? '')];
  const [a, b] = [expressionOf(gold), expressionOf(answer)];
  if (!one || !other || a === null || b === null || one.dimension !== other.dimension) return 'different';
  if (one.factor === other.factor) return judgePlain(gold, answer, MATHS_DEFAULTS);
  const [factor, otherFactor] = [new Fraction(one.factor), new Fraction(other.factor)];
  const scaled = (node: Expression, by: Fraction): Expression => ['Multiply', node, expressionOfFraction(by)];
  return judgeExpressions(scaled(a, factor), scaled(b, otherFactor));
}

function expressionOfFraction(value: Fraction): Expression {
  const [top = '', bottom = '1'] = value.toFraction().split('/');
  return ['Divide', { num: top }, { num: bottom }];
}

/** Without units: as numbers where both are, else as expressions; then rounded, then within the tolerance. */
function judgePlain(gold: Value, answer: Value, options: MathsOptions): Judgement {
  if (gold.number && answer.number) {
    if (sameNumber(gold.number, answer.number) && !tooCoarse(gold, answer, options)) return 'equal';
    return flag(withinTolerance(gold, answer, options));
  }
  const [a, b] = [expressionOf(gold), expressionOf(answer)];
  if (a === null || b === null) return 'different';
  if (gold.number && !answer.number && isCalculation(b)) return 'different';
  const judgement = judgeExpressions(a, b);
  if (judgement === 'equal') return 'equal';
  // 50% is 50 or a half, as in the rule of numbers: the sign may stand in the question.
  if (gold.percent !== answer.percent) {
    const [one, other] = gold.percent ? [['Divide', a, 100] as const, b] : [a, ['Divide', b, 100] as const];
    if (judgeExpressions(one, other) === 'equal') return 'equal';
  }
  if (rounded(a, answer, options) || withinTolerance(gold, answer, options)) return 'equal';
  return judgement;
}

/** 80 - 21 where 59 is asked for: the work that was to be done. √64 and 2^3 are other names of a number. */
function isCalculation(expression: Expression): boolean {
  const adds = (node: Expression): boolean =>
    Array.isArray(node) && (['Add', 'Subtract', 'Multiply'].includes(String(node[0])) || node.slice(1).some(adds));
  return adds(expression) && exactValue(expression) !== null;
}

/** sameNumber takes two decimals of 250/3; the options may ask for more. */
function tooCoarse(gold: Value, answer: Value, { decimals }: MathsOptions): boolean {
  const [right, given] = [gold.number, answer.number];
  if (right?.form !== 'fraction' && right?.form !== 'mixed' && right?.form !== 'ratio') return false;
  if (given?.decimals === undefined || given.percent || right.percent) return false;
  return !right.value.equals(given.value) && given.decimals < decimals;
}

/** Whether an answer is the gold answer rounded: 1.41 for √2, 83.33 for 250/3. */
function rounded(gold: Expression, answer: Value, { decimals }: MathsOptions): boolean {
  const places = answer.number?.decimals ?? 0;
  if (answer.number === null || answer.percent || places < decimals || places === 0 || places > 12) return false;
  const exact = exactValue(gold);
  if (exact) return !isFiniteDecimal(exact) && roundsTo(exact, answer.number.value, places);
  const { re, im } = sampledValue(gold);
  if (!Number.isFinite(re) || Math.abs(im) > 1e-9) return false;
  return Math.abs(re - answer.number.value.valueOf()) <= 0.5 * 10 ** -places * (1 + 1e-9);
}

function isFiniteDecimal(value: Fraction): boolean {
  let d = value.d;
  while (d % 2n === 0n) d /= 2n;
  while (d % 5n === 0n) d /= 5n;
  return d === 1n;
}

/** Only a gold answer that is itself a decimal may be missed by a little. */
function withinTolerance(gold: Value, answer: Value, { tolerance }: MathsOptions): boolean {
  if (tolerance === 0 || gold.number?.decimals === undefined || gold.number.decimals === 0) return false;
  const given = expressionOf(answer);
  if (given === null || gold.percent !== answer.percent) return false;
  const right = gold.number.value.valueOf();
  const { re, im } = sampledValue(given);
  return Number.isFinite(re) && Math.abs(im) < 1e-9 && Math.abs(re - right) <= tolerance * Math.abs(right);
}
