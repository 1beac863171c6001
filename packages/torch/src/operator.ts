import { HANDLE, native, type OperatorArgument, type Schema } from './native.js';
import { adopt } from './scope.js';
import type { Tensor } from './tensor.js';

/**
 * Calls of operators. The generated methods use `callTensor` and its siblings with a lazily resolved index; `op()` is
 * for every operator that has no typed method.
 */

const resolved: number[] = [];

/** Resolves an operator once; `slot` is its place in the generated table. */
export function lazy(slot: number, name: string): number {
  const known = resolved[slot];
  if (known !== undefined) return known;
  const index = native.resolve(name);
  resolved[slot] = index;
  return index;
}

export function callTensor(index: number, ...args: OperatorArgument[]): Tensor {
  return adopt(native.call(index, ...args) as number);
}

export function callInPlace<T>(self: T, index: number, ...args: OperatorArgument[]): T {
  native.call(index, self, ...args);
  return self;
}

export function callAny(index: number, ...args: OperatorArgument[]): unknown {
  return wrapResult(native.call(index, ...args));
}

function wrapResult(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(wrapResult);
  if (value !== null && typeof value === 'object' && HANDLE in value) {
    return adopt((value as Record<symbol, number>)[HANDLE] as number);
  }
  return value;
}

export type OperatorResult = Tensor | number | boolean | string | null | OperatorResult[];

/** Any operator of libtorch: positional arguments in the schema's order, keyword-only ones also in a last object. */
export interface Operator {
  (...args: OperatorArgument[]): OperatorResult;
  readonly schema: Schema;
}

const untyped = new Map<string, Operator>();

/**
 * An operator by its full name, such as `op('aten::add.Tensor')`. Arguments are checked against the schema: numbers,
 * booleans, strings (dtypes, devices, layouts), Tensors, arrays of them, null for None, undefined for the default.
 * A plain object as the last argument gives arguments by name: `op('aten::add.Tensor')(a, b, { alpha: 2 })`.
 *
 * @throws Error that names the operator, its schema and the arguments' shapes.
 */
export function op(name: string): Operator {
  const known = untyped.get(name);
  if (known !== undefined) return known;
  const index = native.resolve(name);
  const dot = name.indexOf('.', name.indexOf('::'));
  const overload = dot < 0 ? '' : name.slice(dot + 1);
  const schema = native.schema(dot < 0 ? name : name.slice(0, dot)).find((entry) => entry.overload === overload);
  if (schema === undefined) throw new Error(`operator '${name}' has no schema`);
  const single = schema.returns.length === 1 && schema.returns[0]?.type === 'Tensor';
  const inPlace = schema.arguments[0]?.write === true;
  const call = (...given: OperatorArgument[]): OperatorResult => {
    const args = byName(schema, given);
    const result = native.call(index, ...args);
    if (inPlace) return (schema.returns.length > 0 ? args[0] : null) as OperatorResult;
    return (single ? (result === null ? null : adopt(result as number)) : wrapResult(result)) as OperatorResult;
  };
  const operator: Operator = Object.assign(call, { schema });
  untyped.set(name, operator);
  return operator;
}

function byName(schema: Schema, given: OperatorArgument[]): OperatorArgument[] {
  const last = given.at(-1);
  const named =
    last !== null && typeof last === 'object' && Object.getPrototypeOf(last) === Object.prototype
      ? (last as Record<string, unknown>)
      : undefined;
  if (named === undefined) return given;
  const args = given.slice(0, -1);
  for (const [key, value] of Object.entries(named)) {
    const place = schema.arguments.findIndex((argument) => argument.name === key);
    if (place < 0) {
      const known = schema.arguments.map((argument) => argument.name).join(', ');
      throw new Error(`${schema.name}: there is no argument '${key}'; known: ${known}\n  schema: ${schema.text}`);
    }
    if (place < given.length - 1) throw new Error(`${schema.name}: argument '${key}' is given twice`);
    args[place] = value;
  }
  return Array.from({ length: args.length }, (_, i) => args[i]);
}

/** Every overload of an operator, for example `schemas('aten::add')`. */
export function schemas(name: string): Schema[] {
  return native.schema(name);
}
