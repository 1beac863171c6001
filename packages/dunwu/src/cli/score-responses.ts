import { z } from 'zod';
import { RewardProgram, type RewardProgramConfig } from '../reward/program.js';
import { type RuleName, ruleNames } from '../reward/rules/index.js';
import type { PartStatus, Trace } from '../reward/trace.js';
import { rowTests } from '../task/code-tests.js';
import { languageOf } from '../task/language.js';
import type { Problem } from '../task/problem.js';
import { isLanguage, LANGUAGES } from '../text/language-codes.js';
import { lastBoxed } from '../util/braces.js';
import { UsageError } from '../util/errors.js';
import { textTable } from '../util/text-table.js';
import { visible } from '../util/visible.js';

/** One response to judge, with its place in the input. */
export interface ScoredResponse {
  /** From 0; blank lines are not counted, unreadable ones are. */
  readonly index: number;
  readonly trace: Trace;
  readonly problem: Problem;
  readonly response: string;
}

export interface BadLine {
  readonly index: number;
  /** `file:line: what is wrong`. */
  readonly error: string;
}

/** The rules that judge another model's output: no tags expected of it, and arithmetic of everyday life allowed. */
const OPTIONS: Partial<Record<string, Record<string, unknown>>> = {
  accuracy: { require_tags: false },
  steps: { constants: 'everyday' },
};

/** Rules that make no sense on a line of a file. */
const WHY_LEFT = {
  length: 'it needs a limit',
  instruction: 'it needs a problem of the general task',
} as const satisfies Partial<Record<RuleName, string>>;

/**
 * "accuracy,format=0.5,steps" → a reward program's config. @throws {UsageError} naming the rules there are.
 */
export function parseRules(list: string, requireTags = false): RewardProgramConfig {
  const rules: NonNullable<RewardProgramConfig['rules']> = {};
  const left: readonly string[] = Object.keys(WHY_LEFT);
  const known = ruleNames().filter((name) => !left.includes(name));
  for (const item of list.split(/[,，]/)) {
    const [name = '', weightText, ...more] = item.split('=').map((part) => part.trim());
    const rule = known.find((one) => one === name);
    if (left.includes(name)) {
      throw new UsageError(
        `--rules: ${name} is for recipes: ${WHY_LEFT[name as keyof typeof WHY_LEFT]}; allowed: ${known.join(', ')}`,
      );
    }
    if (!rule) throw new UsageError(`--rules: unknown rule "${name}"; allowed: ${known.join(', ')}`);
    if (rules[rule] !== undefined) throw new UsageError(`--rules: ${rule} is named twice`);
    const weight = weightText === undefined ? 1 : Number(weightText);
    if (more.length > 0 || weightText === '' || !Number.isFinite(weight) || weight === 0) {
      throw new UsageError(`--rules: "${item.trim()}" is not NAME or NAME=WEIGHT with a weight other than 0`);
    }
    rules[rule] = { weight, ...OPTIONS[rule], ...(rule === 'accuracy' ? { require_tags: requireTags } : {}) };
  }
  return { rules };
}

const gold = z.union([z.string(), z.number().transform(String)]);
const line = z
  .looseObject({
    question: z.string().optional(),
    /** MATH's name for the question. */
    problem: z.string().optional(),
    answer: gold.optional(),
    /** CMATH's name for the answer. */
    golden: gold.optional(),
    /** Of MATH: its last box is the answer where nothing else is. */
    solution: z.string().optional(),
    response: z.string(),
    source: z.string().optional(),
    /** The question's; of a row with `tests`, the program's. */
    language: z.string().optional(),
    tests: z.unknown().optional(),
    meta: z.record(z.string(), z.unknown()).optional(),
  })
  .refine((row) => row.question !== undefined || row.problem !== undefined, { error: 'missing', path: ['question'] })
  .refine((row) => goldOf(row) !== null || row.tests !== undefined, { error: 'missing', path: ['answer'] })
  .refine((row) => row.tests !== undefined || row.language === undefined || isLanguage(row.language), {
    error: `is no ISO 639-1 code of a language; known are ${LANGUAGES.join(', ')}`,
    path: ['language'],
  });

function goldOf(row: { answer?: string | undefined; golden?: string | undefined; solution?: string | undefined }) {
  return row.answer ?? row.golden ?? lastBoxed(row.solution ?? '');
}

/** GSM8K's annotations are its gold steps. */
function metaOf(answer: string, meta: Record<string, unknown> | undefined): Record<string, unknown> {
  const steps = [...answer.slice(0, 100_000).matchAll(/<<([^<>\n]{1,200})>>/g)].map((match) => match[1]);
  return { ...(steps.length > 0 ? { steps } : {}), ...meta };
}

/** The problem and the response of one line of JSON. @throws {Error} saying what is wrong, without the place. */
export function parseResponseLine(text: string, index: number): { problem: Problem; response: string } {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new Error(`not valid JSON (${error instanceof Error ? error.message : String(error)})`);
  }
  const parsed = line.safeParse(value);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    const key = issue?.path.map(String).join('.');
    throw new Error(
      `${key ? `key "${key}": ` : ''}${issue?.message ?? 'wrong shape'}; expected {"question", "answer", "response"}`,
    );
  }
  const { response, source, language, meta, tests } = parsed.data;
  const question = parsed.data.question ?? parsed.data.problem ?? '';
  const given = goldOf(parsed.data) ?? '';
  const spoken = tests === undefined && language !== undefined ? language : languageOf(question);
  const problem: Problem = {
    id: `line:${index}`,
    prompt: question,
    ...(given === '' && tests !== undefined ? {} : { answer: given }),
    source: source ?? '',
    language: spoken,
    meta: { ...metaOf(given, meta), ...(tests === undefined ? {} : { tests: rowTests(parsed.data) }) },
  };
  return { problem, response };
}

/** Judges lines of JSON one by one, in order; a line that cannot be read is reported, and the next ones go on. */
export async function* scoreLines(
  lines: AsyncIterable<string> | Iterable<string>,
  file: string,
  config: RewardProgramConfig,
): AsyncGenerator<ScoredResponse | BadLine> {
  const program = new RewardProgram(config);
  let number = 0;
  let index = 0;
  for await (const raw of lines) {
    number++;
    const text = number === 1 ? raw.replace(/^\ufeff/, '') : raw;
    if (text.trim() === '') continue;
    const at = index++;
    let read: { problem: Problem; response: string };
    try {
      read = parseResponseLine(text, at);
    } catch (error) {
      yield { index: at, error: `${file}:${number}: ${error instanceof Error ? error.message : String(error)}` };
      continue;
    }
    yield { index: at, ...read, trace: program.score(read.problem, read.response) };
  }
}

/** The line that other programs read; keys and their order are fixed. */
export function traceJson({ index, trace }: ScoredResponse): string {
  const parts = trace.parts.map(({ name, points, max, status, evidence }) => ({ name, points, max, status, evidence }));
  return JSON.stringify({ index, total: trace.total, parts });
}

/** A line that `dunwu explain` reads: the problem, the response, and the whole trace. */
export function fullJson({ index, problem, response, trace }: ScoredResponse): string {
  const { prompt, answer, source, language } = problem;
  return JSON.stringify({ index, source, language, prompt, answer, response, trace });
}

/** The line that people read: `12  1.50  accuracy ok 1 «18»  format wrong 0 (…)`. */
export function traceText({ index, trace, response }: ScoredResponse): string {
  const parts = trace.parts.map((part) => {
    const [first] = part.evidence;
    const seen = first ? ` «${response.slice(first[0], Math.min(first[1], first[0] + 40)).replace(/\s+/g, ' ')}»` : '';
    const why = part.status === 'ok' || !part.note ? '' : ` (${visible(part.note.replace(/\s+/g, ' '))})`;
    return `${part.name} ${part.status} ${rounded(part.points)}${seen}${why}`;
  });
  return `${String(index).padStart(6)}  ${rounded(trace.total).padStart(6)}  ${parts.join('  ')}`;
}

function rounded(value: number): string {
  return String(Math.round(value * 1000) / 1000);
}

const STATUSES: readonly PartStatus[] = ['ok', 'wrong', 'unparsable', 'timeout', 'bad-gold', 'error'];

/** Counts of every status and mean points of every rule, over all responses. */
export class ScoreSummary {
  #responses = 0;
  #total = 0;
  readonly #rules = new Map<string, { points: number; statuses: Map<PartStatus, number> }>();

  add(trace: Trace): void {
    this.#responses++;
    this.#total += trace.total;
    for (const part of trace.parts) {
      let rule = this.#rules.get(part.name);
      if (!rule) {
        rule = { points: 0, statuses: new Map() };
        this.#rules.set(part.name, rule);
      }
      rule.points += part.points;
      rule.statuses.set(part.status, (rule.statuses.get(part.status) ?? 0) + 1);
    }
  }

  table(): string {
    if (this.#responses === 0) return 'no responses';
    // Only a rule of the user's own can fail: the column is there when one did.
    const failed = [...this.#rules.values()].some(({ statuses }) => statuses.has('error'));
    const columns = STATUSES.filter((status) => status !== 'error' || failed);
    const rows = [['rule', ...columns, 'mean points']];
    for (const [name, { points, statuses }] of this.#rules) {
      const counts = columns.map((status) => String(statuses.get(status) ?? 0));
      rows.push([name, ...counts, (points / this.#responses).toFixed(4)]);
    }
    const table = textTable(rows, (column) => column === 0);
    const mean = (this.#total / this.#responses).toFixed(4);
    return [...table, `${this.#responses} responses, mean total ${mean}`].join('\n');
  }
}
