export type Operation = 'add' | 'sub' | 'mul' | 'div';

export const OPERATIONS: readonly Operation[] = ['add', 'sub', 'mul', 'div'];

export const SYMBOLS: Readonly<Record<Operation, string>> = { add: '+', sub: '-', mul: '*', div: '/' };

/** An expression tree over whole numbers. */
export type Expression = number | { readonly op: Operation; readonly left: Expression; readonly right: Expression };

/** The result over the integers; undefined when a division is not exact (or is by zero). */
export function applyOperation(op: Operation, left: number, right: number): number | undefined {
  switch (op) {
    case 'add':
      return left + right;
    case 'sub':
      return left - right;
    case 'mul':
      return left * right;
    case 'div':
      return right !== 0 && left % right === 0 ? left / right : undefined;
  }
}

/** `80-21=59`. Says what it is given: the result may be wrong. */
export function equationText(op: Operation, left: number, right: number, result: number): string {
  return `${left}${SYMBOLS[op]}${right}=${result}`;
}

/**
 * Steps that say nothing (a+0, a-a, a*1, a/a …). Generators leave them out: a step reward neither counts them nor lets a
 * solution be right in full with them.
 */
export function isTrivial(op: Operation, left: number, right: number): boolean {
  if (left === 0 || right === 0) return true;
  if (op === 'sub' || op === 'div') return left === right || (op === 'div' && right === 1);
  return op === 'mul' && (left === 1 || right === 1);
}

const precedence = (op: Operation): number => (op === 'add' || op === 'sub' ? 1 : 2);

/**
 * The expression in infix, with as few parentheses as keep the tree readable back: the left operand is bracketed when it
 * binds less tightly, the right one also when it binds equally (`8-(3+2)`, `2+(3+4)`). So the text names the tree.
 */
export function infix(expression: Expression): string {
  if (typeof expression === 'number') return String(expression);
  const { op, left, right } = expression;
  const wrap = (child: Expression, bracketed: (childPrecedence: number) => boolean): string =>
    typeof child !== 'number' && bracketed(precedence(child.op)) ? `(${infix(child)})` : infix(child);
  const own = precedence(op);
  return `${wrap(left, (p) => p < own)}${SYMBOLS[op]}${wrap(right, (p) => p <= own)}`;
}
