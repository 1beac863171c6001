import Fraction from 'fraction.js';

/** A token of an arithmetic expression over rationals. A number keeps its percent sign: "20%" can mean 1/5 or 20. */
export type ArithmeticToken =
  | { readonly kind: 'number'; readonly value: Fraction; readonly percent: boolean }
  | { readonly kind: 'operator'; readonly operator: Operator }
  | { readonly kind: 'open' }
  | { readonly kind: 'close' };

export type Operator = '+' | '-' | '*' | '/' | '^';

/** Limits that keep every evaluation cheap, whatever a model writes. */
export const MAX_TOKENS = 200;
export const MAX_DEPTH = 32;
export const MAX_POWER = 64n;
/** Largest numerator or denominator: about 600 decimal digits. */
const MAX_BITS = 2048;
const LARGEST = 1n << BigInt(MAX_BITS);

const BINDING: Readonly<Record<Operator, number>> = { '+': 1, '-': 1, '*': 2, '/': 2, '^': 4 };
/** -2^2 = -4: the sign binds weaker than the power and stronger than the product. */
const SIGN_BINDING = 3;

function tooLarge(value: Fraction): boolean {
  return value.n > LARGEST || value.d > LARGEST;
}

function apply(operator: Operator, left: Fraction, right: Fraction): Fraction | null {
  switch (operator) {
    case '+':
      return left.add(right);
    case '-':
      return left.sub(right);
    case '*':
      return left.mul(right);
    case '/':
      return right.n === 0n ? null : left.div(right);
    case '^': {
      if (right.d !== 1n || right.n > MAX_POWER) return null;
      const exponent = Number(right.n);
      const inverted = right.s < 0n;
      if (inverted && left.n === 0n) return null;
      if (left.n.toString(16).length * 4 * exponent > MAX_BITS) return null;
      if (left.d.toString(16).length * 4 * exponent > MAX_BITS) return null;
      const sign = left.s < 0n && exponent % 2 === 1 ? -1n : 1n;
      const [top, bottom] = [sign * left.n ** BigInt(exponent), left.d ** BigInt(exponent)];
      return inverted ? new Fraction(bottom, top) : new Fraction(top, bottom);
    }
  }
}

/**
 * Exact value of an expression: + - * / ^, signs, brackets, usual precedence, ^ from the right. A Pratt parser
 * (V. R. Pratt, "Top down operator precedence", 1973) that evaluates as it reads; nothing is ever passed to `eval`.
 * Null when the tokens are no complete expression, divide by zero, or pass a limit above. Never throws.
 *
 * @param percent what "20%" means: its hundredth, or its digits (as in "1/5 * 100 = 20%").
 */
export function evaluate(
  tokens: readonly ArithmeticToken[],
  percent: 'hundredth' | 'digits' = 'hundredth',
): Fraction | null {
  if (tokens.length === 0 || tokens.length > MAX_TOKENS) return null;
  let at = 0;

  function operand(depth: number): Fraction | null {
    const token = tokens[at++];
    if (!token) return null;
    if (token.kind === 'number') return token.percent && percent === 'hundredth' ? token.value.div(100) : token.value;
    if (token.kind === 'operator' && (token.operator === '-' || token.operator === '+')) {
      const value = expression(SIGN_BINDING, depth + 1);
      return value && token.operator === '-' ? value.neg() : value;
    }
    if (token.kind !== 'open') return null;
    const value = expression(0, depth + 1);
    return tokens[at++]?.kind === 'close' ? value : null;
  }

  function expression(binding: number, depth: number): Fraction | null {
    if (depth > MAX_DEPTH) return null;
    let left = operand(depth);
    while (left) {
      const token = tokens[at];
      if (token?.kind !== 'operator' || BINDING[token.operator] <= binding) break;
      at++;
      const right = expression(token.operator === '^' ? BINDING['^'] - 1 : BINDING[token.operator], depth + 1);
      left = right && apply(token.operator, left, right);
      if (left && tooLarge(left)) return null;
    }
    return left;
  }

  const value = expression(0, 0);
  return at === tokens.length ? value : null;
}
