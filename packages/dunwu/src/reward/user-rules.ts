import { realpath } from 'node:fs/promises';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { z } from 'zod';
import type { Problem } from '../task/problem.js';
import { errorCode, errorText, UsageError } from '../util/errors.js';
import { RULES, setRule } from './rules/index.js';
import type { PartStatus, Rule, RuleResult, Span, StepPoints } from './trace.js';

/** What a user's rule says of a response: points between 0 and 1, alone or with why. */
export type Verdict =
  | number
  | {
      readonly points: number;
      /** Default: `ok` for 1 point, else `wrong`. */
      readonly status?: Exclude<PartStatus, 'error'>;
      /** Ranges of the response, in UTF-16 code units. */
      readonly evidence?: readonly Span[];
      readonly note?: string;
      readonly steps?: readonly StepPoints[];
    };

/** Values that a recipe may give: their keys and types are those of the defaults, and nothing else is taken. */
export type RuleOptions = Readonly<Record<string, string | number | boolean>>;

/** A rule as its user writes it: synchronous, the same verdict for the same response, and quick. */
export type UserRule =
  | ((problem: Problem, response: string) => Verdict)
  | {
      /** The options' defaults; leave out for a rule without options. */
      readonly options?: RuleOptions;
      judge(problem: Problem, response: string, options: RuleOptions): Verdict;
    };

const NAME = /^[\p{L}_][\p{L}\p{N}_-]{0,63}$/u;

/**
 * Makes a rule known by name, to recipes and programs of this process. A second rule of that name takes the first one's
 * place. What it throws, and what it returns that is no verdict, becomes the status `error` with a note: a mistake in
 * a rule ends no run.
 * @param origin file that it stands in, for messages
 * @throws Error when the name is that of a built-in rule or malformed, or when `rule` is no rule
 */
export function registerRule(name: string, rule: UserRule, origin = 'registerRule'): void {
  const fault = flaw(name, rule);
  if (fault !== null) throw new Error(`rule ${JSON.stringify(name)}: ${fault}`);
  const judge = typeof rule === 'function' ? rule : rule.judge.bind(rule);
  const options = optionsSchema(typeof rule === 'function' ? {} : (rule.options ?? {}));
  setRule(name, {
    options,
    origin,
    create: (given) => guarded(name, origin, judge, options.parse(given) as RuleOptions),
  });
}

/** What is wrong with a rule, or null. */
function flaw(name: string, rule: unknown): string | null {
  if (!NAME.test(name)) return 'a name is letters, digits, _ and -, at most 64, and begins with a letter';
  if (Object.hasOwn(RULES, name)) return 'this is the name of a built-in rule: choose another';
  if (typeof rule === 'function') return null;
  if (typeof rule !== 'object' || rule === null) {
    return `is ${describe(rule)}; a rule is a function (problem, response) or an object { options, judge }`;
  }
  const { options, judge, ...rest } = rule as Record<string, unknown>;
  const [extra] = Object.keys(rest);
  if (typeof judge !== 'function') return 'its `judge` is no function (problem, response, options)';
  if (extra !== undefined) return `unknown key \`${extra}\`; a rule object has options and judge`;
  if (options === undefined) return null;
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    return `its \`options\` are ${describe(options)}; give an object of defaults, like { min: 3 }`;
  }
  for (const [key, value] of Object.entries(options)) {
    if (key === 'weight') return 'an option cannot be called `weight`: that is the weight in the recipe';
    if (!['string', 'number', 'boolean'].includes(typeof value)) {
      return `the default of \`${key}\` is ${describe(value)}; give a number, a text, true or false`;
    }
  }
  return null;
}

function optionsSchema(defaults: RuleOptions): z.ZodType {
  const shape = Object.entries(defaults).map(([key, value]) => {
    if (typeof value === 'number') return [key, z.number().default(value)] as const;
    return [key, typeof value === 'boolean' ? z.boolean().default(value) : z.string().default(value)] as const;
  });
  return z.strictObject(Object.fromEntries(shape) as z.ZodRawShape);
}

type Judge = (problem: Problem, response: string, options: RuleOptions) => unknown;

const warned = new Set<string>();

function guarded(name: string, origin: string, judge: Judge, options: RuleOptions): Rule {
  const failed = (why: string): RuleResult => {
    const note = `rule ${name} (${path.basename(origin)}): ${why}`.slice(0, 500);
    // Once: the trace of every response has it, a line for each would bury the run's own.
    if (!warned.has(name + origin)) {
      warned.add(name + origin);
      process.emitWarning(`${note}; such responses get 0 points of it and the status error`, 'RewardRule');
    }
    return { name, points: 0, max: 1, status: 'error', evidence: [], note };
  };
  return (problem, response) => {
    let verdict: unknown;
    try {
      verdict = judge(problem, response, options);
      return read(name, verdict, response.length) ?? failed('nothing was returned');
    } catch (error) {
      return failed(error instanceof Rubbish ? error.message : `threw ${errorText(error)}`);
    }
  };
}

class Rubbish extends Error {}

const KEYS = ['name', 'points', 'max', 'status', 'evidence', 'note', 'steps'];
const STATUSES: readonly PartStatus[] = ['ok', 'wrong', 'unparsable', 'timeout', 'bad-gold'];

/** A checked copy of a verdict: getters and later changes of the user's object do not matter. */
function read(name: string, verdict: unknown, length: number): RuleResult | null {
  if (verdict === undefined) return null;
  const given = typeof verdict === 'number' ? { points: verdict } : verdict;
  if (verdict instanceof Promise) throw new Rubbish('returned a Promise; a rule is synchronous');
  if (typeof given !== 'object' || given === null || Array.isArray(given)) {
    throw new Rubbish(`returned ${describe(verdict)}, not points or { points, status, evidence, note }`);
  }
  const unknown = Object.keys(given).find((key) => !KEYS.includes(key));
  if (unknown !== undefined) throw new Rubbish(`returned the unknown key \`${unknown}\`; known: ${KEYS.join(', ')}`);
  const { points, max, status, evidence, note, steps } = given as Record<string, unknown>;
  if (typeof points !== 'number' || !(points >= 0 && points <= 1)) {
    throw new Rubbish(`returned ${describe(points)} points, not a number from 0 to 1`);
  }
  if (max !== undefined && max !== 1) throw new Rubbish(`returned max ${describe(max)}; it is always 1`);
  if (status !== undefined && !STATUSES.includes(status as PartStatus)) {
    throw new Rubbish(`returned the status ${describe(status)}; known: ${STATUSES.join(', ')}`);
  }
  if (note !== undefined && typeof note !== 'string') throw new Rubbish(`returned the note ${describe(note)}, no text`);
  const span = (value: unknown): Span => {
    const [start, end, ...more] = Array.isArray(value) ? (value as unknown[]) : [];
    const whole = Number.isInteger(start) && Number.isInteger(end) && more.length === 0;
    if (!whole || !(0 <= Number(start) && Number(start) <= Number(end) && Number(end) <= length)) {
      throw new Rubbish(
        `returned the span ${shown(value)}, not [start, end] within the response's ${length} characters`,
      );
    }
    return [Number(start), Number(end)];
  };
  const list = (value: unknown, what: string): unknown[] => {
    if (value === undefined) return [];
    if (!Array.isArray(value)) throw new Rubbish(`returned the ${what} ${describe(value)}, not a list`);
    return value;
  };
  const checked = list(steps, 'steps').map((step): StepPoints => {
    const { span: place, points: earned } = (step ?? {}) as Record<string, unknown>;
    if (typeof earned !== 'number' || !Number.isFinite(earned)) throw new Rubbish('returned a step without points');
    return { span: span(place), points: earned };
  });
  return {
    name,
    points,
    max: 1,
    status: (status as PartStatus | undefined) ?? (points === 1 ? 'ok' : 'wrong'),
    evidence: list(evidence, 'evidence').slice(0, 64).map(span),
    ...(note === undefined ? {} : { note: note.slice(0, 500) }),
    ...(steps === undefined ? {} : { steps: checked }),
  };
}

function describe(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'number') return String(value);
  if (typeof value === 'string') return JSON.stringify(value.slice(0, 40));
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`;
}

function shown(value: unknown): string {
  try {
    return (JSON.stringify(value) ?? describe(value)).slice(0, 60);
  } catch {
    return describe(value);
  }
}

export interface ImportOptions {
  /** Folder that the file must lie in, or in a folder below it; links are followed. Without it any file is taken. */
  readonly below?: string;
}

/**
 * Loads a module of rules and registers each of its exports under its name. The module is the user's program: it runs
 * with all the rights of this one.
 * @param file .mjs or .js; TypeScript (.ts, .mts) where Node itself runs it, from 22.18 on
 * @returns the names, sorted
 * @throws UsageError naming the file, and the export that is no rule
 */
export async function importRules(file: string, options: ImportOptions = {}): Promise<string[]> {
  const full = path.resolve(options.below ?? '.', file);
  let real: string;
  try {
    real = await realpath(full);
  } catch (error) {
    const why = errorCode(error) === 'ENOENT' ? 'there is no such file' : errorText(error);
    throw new UsageError(`${full}: cannot load rules: ${why}`);
  }
  if (options.below !== undefined) {
    const relative = path.relative(await realpath(options.below), real);
    if (relative.startsWith('..') || path.isAbsolute(relative)) {
      throw new UsageError(`${file}: rules must lie in the recipe's folder (${options.below}) or below it`);
    }
  }
  if (!/\.(m?js|m?ts)$/.test(real)) {
    throw new UsageError(`${full}: rules are JavaScript (.mjs, .js) or TypeScript (.ts, .mts)`);
  }
  if (/ts$/.test(real) && !(process.features as { typescript?: unknown }).typescript) {
    throw new UsageError(`${full}: Node ${process.version} runs no TypeScript (22.18 does): compile it to .mjs`);
  }
  let module: Record<string, unknown>;
  try {
    module = (await import(pathToFileURL(real).href)) as Record<string, unknown>;
  } catch (error) {
    throw new UsageError(`${full}: cannot load rules: ${errorText(error)}`, { cause: error });
  }
  const rules = Object.entries(module).sort(([a], [b]) => (a < b ? -1 : 1));
  if (rules.length === 0)
    throw new UsageError(`${full}: exports no rule; write export function NAME(problem, response)`);
  for (const [name, rule] of rules) {
    const fault = name === 'default' ? 'rules are exported by name, not as the default' : flaw(name, rule);
    if (fault !== null) throw new UsageError(`${full}: the export ${JSON.stringify(name)}: ${fault}`);
  }
  for (const [name, rule] of rules) registerRule(name, rule as UserRule, real);
  return rules.map(([name]) => name);
}
