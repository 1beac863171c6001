import type { Operation } from '../task/arithmetic.js';

/**
 * A child's systematic mistakes in column arithmetic. Unlike random errors they do not average away: a model trained on
 * a mixture of right and buggy solutions holds both ways of calculating, and rewards can choose between them.
 *
 * - add, mul: the carry is dropped; the leading column is written in full. 58+27: 8+7=15 → 5, 5+2=7 → 75. 14*3 → 32.
 * - sub: ten is borrowed but not paid back. 80-21: 10-1=9, 8-2=6 → 69.
 * - div: the remainder is not brought down to the next column. 72/4: 7/4=1, 2/4=0 → 10.
 *
 * Where no carry, borrow or remainder is needed the result is right.
 * Undefined where the way is not defined: negative or fractional operands, left < right in a subtraction, a factor or
 * divisor that is not a single digit from 1 to 9.
 */
export function buggyResult(op: Operation, left: number, right: number): number | undefined {
  if (!Number.isInteger(left) || !Number.isInteger(right) || left < 0 || right < 0) return undefined;
  switch (op) {
    case 'add':
      return columns(left, right, (a, b, leading) => (leading ? a + b : (a + b) % 10));
    case 'sub':
      // left ≥ right, so the leading column never needs to borrow
      return left < right ? undefined : columns(left, right, (a, b) => (a - b + 10) % 10);
    case 'mul':
      if (right > 9 || right < 1) return undefined;
      return columns(left, 0, (a, _, leading) => (leading ? a * right : (a * right) % 10));
    case 'div':
      return right > 9 || right < 1 ? undefined : divide(left, right);
  }
}

/** Works on two numbers column by column, units first; the leading column is the longer number's first digit. */
function columns(left: number, right: number, column: (a: number, b: number, leading: boolean) => number): number {
  const width = Math.max(String(left).length, String(right).length);
  let result = 0;
  for (let place = 0; place < width; place++) {
    const scale = 10 ** place;
    const digit = (n: number): number => Math.floor(n / scale) % 10;
    result += column(digit(left), digit(right), place === width - 1) * scale;
  }
  return result;
}

/** Long division; the first dividend takes as many digits as it needs (12/4 starts with 12), the rest one each. */
function divide(left: number, right: number): number {
  let result = 0;
  let first = 0;
  let started = false;
  for (const character of String(left)) {
    const digit = Number(character);
    if (!started) first = first * 10 + digit;
    const quotient = Math.floor((started ? digit : first) / right);
    started ||= quotient > 0;
    result = result * 10 + quotient;
  }
  return result;
}
