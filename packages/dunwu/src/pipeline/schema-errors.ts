import type { z } from 'zod';
import { didYouMean } from '../util/edit-distance.js';

/** One thing that is wrong in a configuration: where, and what is allowed there. */
export interface Problem {
  /** Keys and indices from the top. For an unknown key: ends with that key. */
  readonly path: readonly (string | number)[];
  readonly text: string;
  /** The position to show is that of the key itself, not of its value. */
  readonly atKey: boolean;
}

/**
 * Zod's issues, put in words that name what is allowed.
 * @param schema the schema that gave the issues: unknown keys are compared with the keys it knows
 * @param value what was parsed
 * @param extraKeys keys allowed at the top beside the schema's
 */
export function explainIssues(
  schema: z.ZodType,
  value: unknown,
  issues: readonly z.core.$ZodIssue[],
  extraKeys: readonly string[] = [],
): Problem[] {
  return issues.flatMap((issue) => explain(schema, value, issue, extraKeys));
}

function explain(schema: z.ZodType, value: unknown, issue: z.core.$ZodIssue, extraKeys: readonly string[]): Problem[] {
  const path = issue.path.map((key) => (typeof key === 'symbol' ? String(key) : key));
  const got = at(value, path);
  if (issue.code === 'unrecognized_keys') {
    const allowed = [...(path.length === 0 ? extraKeys : []), ...allowedKeys(schema, value, path)];
    return issue.keys.map((key) => ({ path: [...path, key], text: unknownKey(key, allowed), atKey: true }));
  }
  const text = issue.code === 'invalid_union' ? explainUnion(got, issue, path) : wording(issue, got);
  if (typeof text !== 'string') return text.flatMap((inner) => explain(schema, value, inner, extraKeys));
  return [{ path, text, atKey: false }];
}

/** `unknown key. Did you mean \`steps\`? Allowed: …` */
export function unknownKey(key: string, allowed: readonly string[]): string {
  const near = didYouMean(key, allowed);
  const suggestion = near === undefined ? '' : ` Did you mean \`${near}\`?`;
  return `unknown key.${suggestion}${allowed.length === 0 ? '' : ` Allowed: ${allowed.join(', ')}`}`;
}

function wording(issue: z.core.$ZodIssue, got: unknown): string {
  switch (issue.code) {
    case 'invalid_type': {
      const expected = typeName(issue.expected);
      return got === undefined ? `is missing: ${expected} is needed` : `expected ${expected}, got ${describe(got)}`;
    }
    case 'invalid_value': {
      const allowed = issue.values.map(String);
      if (got === undefined) return `is missing. Allowed: ${allowed.join(', ')}`;
      const near = typeof got === 'string' ? didYouMean(got, allowed) : undefined;
      return `${describe(got)} is not allowed.${near === undefined ? '' : ` Did you mean \`${near}\`?`} Allowed: ${allowed.join(', ')}`;
    }
    case 'too_small':
      return `must be ${issue.inclusive === false ? '>' : '≥'} ${issue.minimum}${sized(issue.origin)}, got ${describe(got)}`;
    case 'too_big':
      return `must be ${issue.inclusive === false ? '<' : '≤'} ${issue.maximum}${sized(issue.origin)}, got ${describe(got)}`;
    default:
      return issue.message === 'Invalid input' ? `${describe(got)} is not allowed` : issue.message;
  }
}

/** For a union: the branch that the value was meant for if one can be told, else what all of them would take. */
function explainUnion(
  got: unknown,
  issue: z.core.$ZodIssueInvalidUnion,
  path: readonly (string | number)[],
): string | z.core.$ZodIssue[] {
  if (issue.errors.length === 0) {
    const options = 'options' in issue && Array.isArray(issue.options) ? issue.options.map(String) : [];
    return wording({ code: 'invalid_value', values: options, path: [...path], message: '', input: got }, got);
  }
  const depth = (branch: readonly z.core.$ZodIssue[]) => Math.max(...branch.map((inner) => inner.path.length));
  const meant = issue.errors.filter((branch) =>
    branch.every((inner) => inner.path.length > 0 || inner.code === 'unrecognized_keys'),
  );
  const best = meant.sort((a, b) => a.length - b.length || depth(b) - depth(a))[0];
  if (best !== undefined) return best.map((inner) => ({ ...inner, path: [...path, ...inner.path] }));
  const wanted = issue.errors.flatMap((branch) =>
    branch.slice(0, 1).map((inner) => {
      if (inner.code === 'invalid_value') return inner.values.map((value) => `\`${String(value)}\``).join(', ');
      if (inner.code === 'invalid_type') return typeName(inner.expected);
      return inner.code === 'too_small' || inner.code === 'too_big'
        ? wording(inner, got).replace(/, got .*/, '')
        : inner.message;
    }),
  );
  const literals = issue.errors.flatMap((branch) =>
    branch.flatMap((inner) => (inner.code === 'invalid_value' ? inner.values.map(String) : [])),
  );
  const near = typeof got === 'string' ? didYouMean(got, literals) : undefined;
  const allowed = [...new Set(wanted)].join(' or ');
  if (got === undefined) return `is missing. Allowed: ${allowed}`;
  return `${describe(got)} is not allowed.${near === undefined ? '' : ` Did you mean \`${near}\`?`} Allowed: ${allowed}`;
}

function sized(origin: string): string {
  if (origin === 'string') return ' characters';
  return origin === 'array' || origin === 'set' ? ' entries' : '';
}

function typeName(expected: string): string {
  const names: Record<string, string> = {
    int: 'a whole number',
    number: 'a number',
    string: 'a text',
    boolean: 'true or false',
    array: 'a list',
    object: 'a block of keys',
    record: 'a block of keys',
    null: 'nothing (null)',
  };
  return names[expected] ?? expected;
}

/** A value for an error: short, and with its type where that could be mistaken. */
export function describe(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (value === null) return 'nothing (null)';
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (typeof value === 'object') return 'a block of keys';
  if (typeof value === 'string') return JSON.stringify(value.length > 60 ? `${value.slice(0, 57)}…` : value);
  return String(value);
}

/** The value at a path, or undefined. */
export function at(value: unknown, path: readonly (string | number)[]): unknown {
  let current = value;
  for (const key of path) {
    if (typeof current !== 'object' || current === null || !Object.hasOwn(current, key)) return undefined;
    current = (current as Record<string | number, unknown>)[key];
  }
  return current;
}

/** The keys that a schema takes at a path, alternatives included, following the value through discriminators. */
export function allowedKeys(schema: z.ZodType, value: unknown, path: readonly (string | number)[]): string[] {
  const keys = new Set<string>();
  collect(schema as unknown as Node, value, path, keys);
  return [...keys];
}

/** What is read of zod's own description of a schema (`schema.def`, zod 4). */
interface Node {
  readonly def: {
    readonly type: string;
    readonly innerType?: Node;
    readonly in?: Node;
    readonly out?: Node;
    readonly element?: Node;
    readonly valueType?: Node;
    readonly left?: Node;
    readonly right?: Node;
    readonly options?: readonly Node[];
    readonly discriminator?: string;
    readonly getter?: () => Node;
    readonly items?: readonly Node[];
    readonly values?: readonly unknown[];
  };
  readonly shape?: Readonly<Record<string, Node>>;
}

function collect(node: Node | undefined, value: unknown, path: readonly (string | number)[], keys: Set<string>): void {
  if (node === undefined) return;
  const { def } = node;
  const [head, ...rest] = path;
  switch (def.type) {
    case 'object':
      if (node.shape === undefined) return;
      if (head === undefined) for (const key of Object.keys(node.shape)) keys.add(key);
      else if (Object.hasOwn(node.shape, head)) collect(node.shape[head], at(value, [head]), rest, keys);
      return;
    case 'array':
      if (head !== undefined) collect(def.element, at(value, [head]), rest, keys);
      return;
    case 'record':
      if (head !== undefined) collect(def.valueType, at(value, [head]), rest, keys);
      return;
    case 'tuple':
      if (typeof head === 'number') collect(def.items?.[head], at(value, [head]), rest, keys);
      return;
    case 'union': {
      const tag = def.discriminator;
      const options = def.options ?? [];
      const chosen = tag === undefined ? [] : options.filter((option) => takesTag(option, tag, at(value, [tag])));
      for (const option of chosen.length > 0 ? chosen : options) collect(option, value, path, keys);
      return;
    }
    case 'intersection':
      collect(def.left, value, path, keys);
      collect(def.right, value, path, keys);
      return;
    case 'pipe':
      collect(def.in?.def.type === 'transform' ? def.out : def.in, value, path, keys);
      return;
    case 'lazy':
      collect(def.getter?.(), value, path, keys);
      return;
    default:
      collect(def.innerType, value, path, keys);
  }
}

function takesTag(option: Node, tag: string, value: unknown): boolean {
  return option.shape?.[tag]?.def.values?.includes(value) === true;
}
