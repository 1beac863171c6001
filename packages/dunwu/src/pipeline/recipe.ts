import { readFile } from 'node:fs/promises';
import path from 'node:path';
import {
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  type Pair,
  parse,
  parseDocument,
  stringify,
} from 'yaml';
import { z } from 'zod';
import { didYouMean } from '../util/edit-distance.js';
import { errorCode, errorText, UsageError } from '../util/errors.js';
import { RuleFiles } from './rule-files.js';
import { at, describe, explainIssues, type Problem } from './schema-errors.js';
import type { StageKind } from './stage.js';

type Path = readonly (string | number)[];

/** Letters and digits of any script: names become folder names and are written in `--set stages.NAME.key=…`. */
const name = z
  .string()
  .regex(/^[\p{L}\p{N}][\p{L}\p{N}_-]*$/u, 'a name is letters, digits, - and _, and begins with a letter or digit');

const computeSchema = z.strictObject({
  /** What of these is there, only the engine knows: train/compute.ts. */
  device: z
    .string()
    .regex(/^(auto|cpu|cuda(:\d+)?)$/, 'expected auto, cpu, cuda or cuda:N')
    .default('auto'),
  dtype: z.enum(['auto', 'float32', 'bfloat16']).default('auto'),
  threads: z.union([z.literal('auto'), z.int().min(1).max(1024)]).default('auto'),
  float32_matmul_precision: z.enum(['auto', 'highest', 'high', 'medium']).default('auto'),
});

export type Compute = z.output<typeof computeSchema>;

/** A stage of a checked recipe; `config` is what the kind's schema made of the stage's keys. */
export interface RecipeStage {
  readonly name: string;
  readonly kind: string;
  readonly config: unknown;
  /** Earlier stages that it is made from. */
  readonly references: readonly string[];
}

/** A checked recipe, every default filled in. */
export interface Recipe {
  /** Absolute folder of the recipe file: relative paths in the recipe start here. Not part of the saved recipe. */
  readonly base: string;
  /** Files of rules that its stages import, from `base`. They are part of what a run is made from, as the recipe is. */
  readonly ruleFiles: readonly string[];
  readonly name: string;
  readonly description?: string;
  readonly seed: number;
  readonly compute: Compute;
  /** The `task` block as the task schema made it: its user narrows it with that schema's output type. */
  readonly task: unknown;
  readonly stages: readonly RecipeStage[];
}

export interface LoadOptions {
  readonly kinds: readonly StageKind[];
  /** Schema of the `task` block. */
  readonly task: z.ZodType;
  /** Overrides as on the command line: `stages.pretrain.steps=10`, `seed=3`. Values are YAML. */
  readonly set?: readonly string[];
  readonly seed?: number;
}

/**
 * Reads and checks a recipe file.
 * @throws UsageError naming file, line, column, key path, what is wrong and what is allowed, one line for each fault
 */
export async function loadRecipe(file: string, options: LoadOptions): Promise<Recipe> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    const why = errorCode(error) === 'ENOENT' ? 'there is no such file' : errorText(error);
    throw new UsageError(`cannot read the recipe ${file}: ${why}`);
  }
  return parseRecipe(text, file, options);
}

/** Like `loadRecipe`, of a text; `file` is for the errors. */
export async function parseRecipe(text: string, file: string, options: LoadOptions): Promise<Recipe> {
  const source = new Source(text, file);
  const value = source.value();
  const overrides = applyOverrides(value, options);
  const problems: Problem[] = [];

  const kindNames = options.kinds.map((kind) => kind.kind);
  const schema = z.strictObject({
    name,
    description: z.string().optional(),
    seed: z.int().min(0).default(1),
    compute: computeSchema.prefault({}),
    task: options.task,
    stages: z.array(z.looseObject({ name, kind: z.enum(kindNames) })).min(1),
  });
  const parsed = schema.safeParse(value);
  if (!parsed.success) problems.push(...explainIssues(schema, value, parsed.error.issues));

  const base = path.resolve(path.dirname(file));
  const ruleFiles = new RuleFiles(base);
  const stages = await checkStages(value, ruleFiles, options.kinds, problems);
  if (problems.length > 0 || !parsed.success) throw new UsageError(source.report(problems, overrides, value));
  const { name: recipeName, description, seed, compute, task } = parsed.data;
  const described = description === undefined ? {} : { description };
  return { base, ruleFiles: ruleFiles.files, name: recipeName, ...described, seed, compute, task, stages };
}

/** Checks each stage by its kind's schema, the uniqueness of names, and the references; adds to `problems`. */
async function checkStages(
  value: unknown,
  ruleFiles: RuleFiles,
  kinds: readonly StageKind[],
  problems: Problem[],
): Promise<RecipeStage[]> {
  const list = at(value, ['stages']);
  const stages: RecipeStage[] = [];
  const earlier: string[] = [];
  for (const [index, raw] of (Array.isArray(list) ? list : []).entries()) {
    if (typeof raw !== 'object' || raw === null || Array.isArray(raw)) continue; // told by the recipe's own schema
    const { name: stageName, kind: kindName, ...own } = raw as Record<string, unknown>;
    const kind = kinds.find((candidate) => candidate.kind === kindName);
    if (kind !== undefined) {
      const spec = await kind.spec();
      // First the user's own rules: the schemas know only rules that are there.
      const missing = await ruleFiles.load(own);
      for (const problem of missing) problems.push({ ...problem, path: ['stages', index, ...problem.path] });
      const result = missing.length > 0 ? null : spec.schema.safeParse(own);
      if (result === null) {
        // Told already; without its rules the rest cannot be judged.
      } else if (result.success) {
        const references = [...new Set(spec.references?.(result.data) ?? [])];
        stages.push({ name: String(stageName), kind: kind.kind, config: result.data, references });
        for (const reference of references) {
          if (earlier.includes(reference)) continue;
          const where = ['stages', index, ...(findText(own, reference) ?? [])];
          problems.push({ path: where, text: badReference(reference, earlier, list), atKey: false });
        }
      } else {
        for (const problem of explainIssues(spec.schema, own, result.error.issues, ['name', 'kind'])) {
          problems.push({ ...problem, path: ['stages', index, ...problem.path] });
        }
      }
    }
    if (typeof stageName !== 'string') continue;
    // Names become folders, and some file systems do not tell A from a.
    const same = earlier.find((other) => folded(other) === folded(stageName));
    if (same !== undefined) {
      problems.push({
        path: ['stages', index, 'name'],
        text: `the name \`${same}\` is taken by an earlier stage: stage names must be unique`,
        atKey: false,
      });
    }
    earlier.push(stageName);
  }
  return stages;
}

function folded(text: string): string {
  return text.normalize('NFC').toLowerCase();
}

function badReference(reference: string, earlier: readonly string[], list: unknown): string {
  const later = Array.isArray(list) && list.some((stage) => at(stage, ['name']) === reference);
  const near = didYouMean(reference, earlier);
  const what = later ? `stage \`${reference}\` does not come before this one.` : `there is no stage \`${reference}\`.`;
  const allowed = earlier.length === 0 ? 'This is the first stage' : `Allowed: ${earlier.join(', ')}`;
  return `${what}${near === undefined ? '' : ` Did you mean \`${near}\`?`} ${allowed}`;
}

/** Path of the first text that equals `wanted`: where a reference was written. */
function findText(value: unknown, wanted: string): (string | number)[] | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  for (const [key, inner] of Object.entries(value)) {
    const step = Array.isArray(value) ? Number(key) : key;
    if (inner === wanted) return [step];
    const below = findText(inner, wanted);
    if (below !== undefined) return [step, ...below];
  }
  return undefined;
}

interface Override {
  readonly path: Path;
  /** As it was typed, for errors. */
  readonly text: string;
}

/** Applies `--set` and `--seed` in place. Whether the keys exist is the schemas' business. */
function applyOverrides(value: Record<string, unknown>, options: LoadOptions): Override[] {
  const overrides: Override[] = [];
  for (const text of options.set ?? []) {
    const shown = `--set ${text}`;
    const equals = text.indexOf('=');
    if (equals <= 0) throw new UsageError(`${shown}: expected KEY=VALUE, for example --set stages.pretrain.steps=10`);
    let parsed: unknown;
    try {
      parsed = parse(text.slice(equals + 1));
    } catch (error) {
      throw new UsageError(`${shown}: the value is no YAML: ${errorText(error).split('\n')[0]}`);
    }
    const keys = text.slice(0, equals).trim().split('.');
    if (keys.some((key) => key === '' || key === '__proto__'))
      throw new UsageError(`${shown}: the key path is malformed`);
    overrides.push({ path: assign(value, keys, parsed, shown), text: shown });
  }
  if (options.seed !== undefined) {
    value.seed = options.seed;
    overrides.push({ path: ['seed'], text: `--seed ${options.seed}` });
  }
  return overrides;
}

function assign(top: Record<string, unknown>, keys: readonly string[], value: unknown, shown: string): Path {
  let target: Record<string, unknown> | unknown[] = top;
  const done: (string | number)[] = [];
  for (const [depth, key] of keys.entries()) {
    const step = Array.isArray(target) ? indexIn(target, key, done, shown) : key;
    const last = depth === keys.length - 1;
    if (last && Array.isArray(target) && done.length === 1 && done[0] === 'stages') {
      throw new UsageError(`${shown}: a stage is no single value; set one of its keys: stages.${key}.KEY=VALUE`);
    }
    done.push(step);
    const container: Record<string | number, unknown> = target as Record<string | number, unknown>;
    if (last) {
      container[step] = value;
      return done;
    }
    let next = Object.hasOwn(container, step) ? container[step] : undefined;
    if (next === undefined || next === null) {
      next = {};
      container[step] = next;
    }
    if (typeof next !== 'object') {
      throw new UsageError(`${shown}: \`${keys.slice(0, depth + 1).join('.')}\` is ${describe(next)} and has no keys`);
    }
    target = next as Record<string, unknown> | unknown[];
  }
  return done;
}

/** Stages are addressed by name, entries of other lists by their index. */
function indexIn(list: readonly unknown[], key: string, path: Path, shown: string): number {
  if (path.length === 1 && path[0] === 'stages') {
    const index = list.findIndex((stage) => at(stage, ['name']) === key);
    if (index >= 0) return index;
    const names = list.map((stage) => String(at(stage, ['name'])));
    const near = didYouMean(key, names);
    throw new UsageError(
      `${shown}: there is no stage \`${key}\`.${near === undefined ? '' : ` Did you mean \`${near}\`?`} Stages: ${names.join(', ')}`,
    );
  }
  const index = /^\d+$/.test(key) ? Number(key) : -1;
  if (index >= 0 && index < list.length) return index;
  throw new UsageError(
    `${shown}: \`${path.join('.')}\` is a list of ${list.length}: its entries are 0 to ${list.length - 1}`,
  );
}

/** The parsed file, for values and for positions. */
class Source {
  readonly #document: Document.Parsed;
  readonly #lines = new LineCounter();
  readonly #file: string;

  constructor(text: string, file: string) {
    this.#file = file;
    this.#document = parseDocument(text, { lineCounter: this.#lines, prettyErrors: false });
    const faults = [...this.#document.errors, ...this.#document.warnings];
    if (faults.length > 0) {
      const lines = faults.map((fault) => `${this.#position(fault.pos[0])}: ${fault.message}`);
      throw new UsageError(lines.join('\n'));
    }
  }

  value(): Record<string, unknown> {
    let value: unknown;
    try {
      value = this.#document.toJS();
    } catch (error) {
      throw new UsageError(`${this.#file}: ${errorText(error)}`); // an alias bomb
    }
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
    throw new UsageError(`${this.#file}:1:1: a recipe is a block of keys (name, stages, …), got ${describe(value)}`);
  }

  /** All faults, in the order of the file. */
  report(problems: readonly Problem[], overrides: readonly Override[], value: unknown): string {
    const rows = problems.map((problem) => {
      const { node, whole } = this.#find(problem.path, problem.atKey);
      const override = overrides.findLast(
        ({ path }) => isPrefix(path, problem.path) || (!whole && isPrefix(problem.path, path)),
      );
      const offset = node?.range?.[0] ?? 0;
      return {
        offset: override === undefined ? offset : -1,
        text: `${override?.text ?? this.#position(offset)}: ${readablePath(problem.path, value)}: ${problem.text}`,
      };
    });
    rows.sort((a, b) => a.offset - b.offset);
    return [...new Set(rows.map((row) => row.text))].join('\n');
  }

  #position(offset: number): string {
    const { line, col } = this.#lines.linePos(offset);
    return `${this.#file}:${Math.max(line, 1)}:${Math.max(col, 1)}`;
  }

  /** The node at a path, or the nearest one above it (`whole` false) when the path ends in a key that is missing. */
  #find(path: Path, atKey: boolean): { node: Node | null; whole: boolean } {
    let node: Node | null = this.#document.contents;
    for (const [depth, key] of path.entries()) {
      const parent = isAlias(node) ? (node.resolve(this.#document) ?? null) : node;
      let next: Node | null = null;
      if (isMap(parent)) {
        const pair = (parent.items as Pair<unknown, unknown>[]).find(
          (item) => (isScalar(item.key) ? String(item.key.value) : undefined) === String(key),
        );
        if (pair !== undefined) {
          const ownKey = pair.key as Node;
          const keyWanted = atKey && depth === path.length - 1;
          next = keyWanted || pair.value === null ? ownKey : (pair.value as Node);
        }
      } else if (isSeq(parent)) next = (parent.items[Number(key)] as Node | undefined) ?? null;
      if (next === null) return { node, whole: false };
      node = next;
    }
    return { node, whole: true };
  }
}

function isPrefix(prefix: Path, path: Path): boolean {
  return prefix.length <= path.length && prefix.every((key, i) => key === path[i]);
}

/** `stages.pretrain.steps`: stages by name, as `--set` takes them. */
function readablePath(path: Path, value: unknown): string {
  return path
    .map((key, i) => {
      if (i !== 1 || path[0] !== 'stages') return String(key);
      const stage = at(value, ['stages', key, 'name']);
      return typeof stage === 'string' ? stage : String(key);
    })
    .join('.');
}

/** The recipe as one plain object, in the shape of the file. */
export function plainRecipe(recipe: Recipe): Record<string, unknown> {
  const { stages, base: _, ruleFiles: __, ...head } = recipe;
  return {
    ...head,
    stages: stages.map((stage) => ({ name: stage.name, kind: stage.kind, ...(stage.config as object) })),
  };
}

/** The resolved recipe as YAML: `dunwu run` takes it as it is. */
export function recipeYaml(recipe: Recipe): string {
  return stringify(plainRecipe(recipe), { aliasDuplicateObjects: false });
}

/**
 * What makes two resolved recipes different runs: `stages.pretrain.steps: 10 → 20`, one entry for each key.
 * The description does not count.
 */
export function recipeDifferences(before: string, after: string): string[] {
  const old = flatten(parse(before));
  const now = flatten(parse(after));
  const keys = [...new Set([...old.keys(), ...now.keys()])].filter((key) => key !== 'description');
  return keys
    .filter((key) => old.get(key) !== now.get(key))
    .map((key) => `${key}: ${old.get(key) ?? '(absent)'} → ${now.get(key) ?? '(absent)'}`);
}

function flatten(value: unknown, prefix = '', into = new Map<string, string>()): Map<string, string> {
  if (typeof value !== 'object' || value === null || Object.keys(value).length === 0) {
    into.set(prefix, JSON.stringify(value) ?? 'null');
    return into;
  }
  if (prefix === 'stages' && Array.isArray(value)) {
    into.set('stages (order)', value.map((stage) => String(at(stage, ['name']))).join(', '));
    for (const stage of value) flatten(stage, `stages.${String(at(stage, ['name']))}`, into);
    return into;
  }
  for (const [key, inner] of Object.entries(value)) flatten(inner, prefix === '' ? key : `${prefix}.${key}`, into);
  return into;
}
