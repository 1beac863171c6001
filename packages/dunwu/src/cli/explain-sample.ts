import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { parse } from 'yaml';
import { z } from 'zod';
import { type AdvantageConfig, advantageSchema, groupAdvantages } from '../objective/advantage.js';
import { traceFault, traceSchema } from '../reward/check-trace.js';
import type { Trace } from '../reward/trace.js';
import { didYouMean } from '../util/edit-distance.js';
import { readLines } from '../util/jsonl.js';
import { Random } from '../util/random.js';
import { UsageError } from './errors.js';
import { parseResponseLine } from './score-responses.js';

/** One response with its judgement, and what is known around it. */
export interface ExplainedSample {
  /** `runs/x/samples/r1-zero.jsonl:17`, or what else it was read from. */
  readonly place: string;
  readonly prompt: string;
  readonly answer?: string;
  readonly response: string;
  readonly trace: Trace;
  readonly language?: string;
  readonly step?: number;
  /** What else its line says, as far as it is a number or a short text: reason, length, score, kl, reward, verdict … */
  readonly facts: readonly (readonly [name: string, value: string])[];
  /** Normalised reward of each of the trace's steps (process supervision). */
  readonly stepAdvantages?: readonly number[];
  readonly advantage?: number;
  readonly group?: GroupContext;
}

/** The responses to the same question that it was compared with (GRPO). */
export interface GroupContext {
  readonly size: number;
  /** From 1: how many had more points, and this one. */
  readonly rank: number;
  readonly mean: number;
  readonly std: number;
  /** The stage's own way from reward to advantage, when the run folder says so and there is one for the whole response. */
  readonly config?: AdvantageConfig;
  /** The advantage by that way; the stored one is this, to the last bit, or the trace is not what was learnt from. */
  readonly recomputed?: number;
}

export interface PickFlags {
  readonly step?: number;
  readonly index?: number;
  readonly best?: boolean;
  readonly worst?: boolean;
  readonly random?: boolean;
  readonly seed?: number;
}

/** A line that has been read, not yet checked. */
interface Row {
  readonly line: number;
  readonly value: Record<string, unknown>;
}

const numbers = z.array(z.number().finite()).max(100_000);

const sampleRow = z.looseObject({
  id: z.string().optional(),
  step: z.number().optional(),
  language: z.string().optional(),
  prompt: z.string(),
  answer: z.union([z.string(), z.number().transform(String)]).optional(),
  response: z.string(),
  trace: traceSchema,
  advantage: z.number().finite().optional(),
  step_advantages: numbers.optional(),
});

/** Scores a response that has no trace yet: `dunwu score`'s own input. */
export type Scorer = (line: string) => Trace;

/**
 * Finds the sample that SAMPLE, STAGE and the options mean.
 * @param scorer judges lines that have no trace; null: they are refused
 * @throws {UsageError} when there is no such sample, saying what there is
 */
export function findSample(
  reference: string,
  stage: string | undefined,
  flags: PickFlags,
  scorer: Scorer | null,
): ExplainedSample {
  const picks = [flags.best, flags.worst, flags.random, flags.index !== undefined].filter(Boolean).length;
  if (picks > 1) throw new UsageError('--index, --best, --worst, --random: give one of them');
  if (flags.seed !== undefined && flags.random !== true) {
    throw new UsageError(`--seed ${flags.seed}: would be ignored; give --random too`);
  }
  const located = /^(.*):(\d+)$/s.exec(reference);
  const file = existsSync(reference) ? reference : (located?.[1] ?? reference);
  if (!existsSync(file)) throw new UsageError(`${reference}: there is no file or folder ${file}`);
  const folder = statSync(file).isDirectory();
  if (!folder && stage !== undefined) throw new UsageError(`${stage}: would be ignored; ${file} is a file of samples`);
  if (file !== reference) {
    if (folder) throw new UsageError(`${reference}: ${file} is a folder; a line is one of a file`);
    if (picks > 0 || flags.step !== undefined) {
      throw new UsageError(`${reference}: names a line already; --step, --index, --best … choose among several`);
    }
    return sampleAt(file, Number(located?.[2]), scorer);
  }
  return picked(folder ? samplesFile(file, stage) : file, flags, scorer);
}

/** The one JSON object of a text, as standard input gives it. @throws {UsageError} */
export function sampleOfText(text: string, scorer: Scorer | null): ExplainedSample {
  const line = text.trim();
  if (line === '') throw new UsageError('standard input is empty; give one line of JSON');
  return explained('standard input', jsonObject(line, 'standard input'), line, scorer);
}

function samplesFile(run: string, stage: string | undefined): string {
  const folder = path.join(run, 'samples');
  const names = existsSync(folder)
    ? readdirSync(folder)
        .filter((name) => name.endsWith('.jsonl') && statSync(path.join(folder, name)).size > 0)
        .map((name) => name.slice(0, -'.jsonl'.length))
    : [];
  if (names.length === 0) throw new UsageError(`${run}: is no run folder with samples (no ${folder}/STAGE.jsonl)`);
  const listed = names.sort().join(', ');
  if (stage !== undefined) {
    if (names.includes(stage)) return path.join(folder, `${stage}.jsonl`);
    const near = didYouMean(stage, names);
    throw new UsageError(
      `${run}: stage ${stage} has no samples.${near === undefined ? '' : ` Did you mean ${near}?`} Stages that have: ${listed}`,
    );
  }
  if (names.length === 1) return path.join(folder, `${names[0]}.jsonl`);
  throw new UsageError(`${run}: several stages have samples: say which (dunwu explain ${run} STAGE): ${listed}`);
}

function sampleAt(file: string, line: number, scorer: Scorer | null): ExplainedSample {
  // Of a group the lines before and after are needed too, and those are near: the file is gone through once.
  const before: Row[] = [];
  let found: Row | undefined;
  let text = '';
  const after: Row[] = [];
  for (const { text: raw, number } of readLines(file)) {
    const value = looseObject(raw);
    if (number === line) {
      text = raw;
      found = { line, value: jsonObject(raw, `${file}:${line}`) };
    } else if (found === undefined) {
      if (value === null || (before.length > 0 && !sameGroup(before[0] as Row, { line: number, value })))
        before.length = 0;
      if (value !== null) before.push({ line: number, value });
    } else if (value !== null && sameGroup(found, { line: number, value })) after.push({ line: number, value });
    else break;
  }
  if (found === undefined) throw new UsageError(`${file}:${line}: there is no such line`);
  const target = found;
  const group = [...before.filter((row) => sameGroup(target, row)), target, ...after];
  return explained(`${file}:${line}`, target.value, text, scorer, groupContext(file, target, group));
}

/** Neighbours in a file with the same step and problem are the answers to one question. */
function sameGroup(a: Row, b: Row): boolean {
  const { id, step, dropped } = a.value;
  return (
    id !== undefined && step !== undefined && id === b.value.id && step === b.value.step && dropped === b.value.dropped
  );
}

function picked(file: string, flags: PickFlags, scorer: Scorer | null): ExplainedSample {
  // Only what choosing needs is kept of each line: files of samples grow to gigabytes.
  const rows: { line: number; step: unknown; total: number }[] = [];
  for (const { text, number } of readLines(file)) {
    const value = looseObject(text);
    const total = (value?.trace as { total?: unknown } | undefined)?.total;
    if (value !== null)
      rows.push({ line: number, step: value.step, total: typeof total === 'number' ? total : Number.NaN });
  }
  const steps = rows.flatMap(({ step }) => (typeof step === 'number' ? [step] : []));
  // The last step unless something is looked for in all of them.
  const everywhere = flags.best === true || flags.worst === true || flags.random === true;
  const step = flags.step ?? (everywhere ? undefined : steps.at(-1));
  const among = step === undefined ? rows : rows.filter((row) => row.step === step);
  if (among.length === 0) {
    const span = steps.length === 0 ? 'has no steps' : `has steps ${steps[0]} to ${steps.at(-1)}`;
    throw new UsageError(rows.length === 0 ? `${file}: has no samples` : `--step ${step}: ${file} ${span}`);
  }
  let chosen = among[0] as (typeof among)[0];
  if (flags.index !== undefined) {
    const at = among[flags.index - 1];
    if (at === undefined)
      throw new UsageError(
        `--index ${flags.index}: there are ${among.length} samples${step === undefined ? '' : ` in step ${step}`}`,
      );
    chosen = at;
  } else if (flags.random === true) {
    const seed = flags.seed ?? Math.floor(Math.random() * 2 ** 32);
    chosen = new Random(`explain/${seed}`).choice(among);
  } else if (flags.best === true || flags.worst === true) {
    const judged = among.filter(({ total }) => !Number.isNaN(total));
    if (judged.length === 0) throw new UsageError(`${file}: no sample has a trace: nothing is best or worst`);
    const sign = flags.best === true ? 1 : -1;
    chosen = judged.reduce((best, row) => (sign * (row.total - best.total) > 0 ? row : best));
  }
  return sampleAt(file, chosen.line, scorer);
}

function looseObject(text: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : null;
  } catch {
    return null;
  }
}

function jsonObject(text: string, place: string): Record<string, unknown> {
  const value = looseObject(text);
  if (value === null) throw new UsageError(`${place}: is no JSON object: ${JSON.stringify(text.slice(0, 60))}`);
  return value;
}

/** Keys that are shown elsewhere, or are of no use to a reader. */
const SHOWN = [
  'id',
  'step',
  'language',
  'prompt',
  'question',
  'answer',
  'golden',
  'response',
  'raw',
  'trace',
  'advantage',
];

function explained(
  place: string,
  value: Record<string, unknown>,
  line: string,
  scorer: Scorer | null,
  group?: GroupContext,
): ExplainedSample {
  const whole =
    value.trace === undefined && typeof value.response === 'string' ? withTrace(place, value, line, scorer) : value;
  const parsed = sampleRow.safeParse(whole);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    // What `dunwu score --out` writes without --full has points and no text to show them on.
    const thin = value.response === undefined && Array.isArray(value.parts);
    throw new UsageError(
      thin
        ? `${place}: has points and no response: write it with \`dunwu score --full\`, or explain a line of the responses' own file`
        : `${place}: key "${issue?.path.map(String).join('.')}": ${issue?.message}; expected a line of samples/: {"prompt", "response", "trace"}`,
    );
  }
  const row = parsed.data;
  const trace = row.trace as Trace;
  const fault = traceFault(trace, row.response);
  if (fault !== null) throw new UsageError(`${place}: the trace is not of this response: ${fault}`);
  const facts = Object.entries(row).flatMap(([name, fact]): [string, string][] => {
    if (SHOWN.includes(name)) return [];
    if (typeof fact === 'number' || typeof fact === 'boolean') return [[name, String(fact)]];
    return typeof fact === 'string' && fact !== '' && fact.length <= 80 ? [[name, fact]] : [];
  });
  return {
    place,
    prompt: row.prompt,
    ...(row.answer === undefined ? {} : { answer: row.answer }),
    response: row.response,
    trace,
    ...(row.language === undefined ? {} : { language: row.language }),
    ...(row.step === undefined ? {} : { step: row.step }),
    facts,
    ...(row.advantage === undefined ? {} : { advantage: row.advantage }),
    ...(row.step_advantages?.length === trace.steps?.length ? { stepAdvantages: row.step_advantages } : {}),
    ...(group === undefined ? {} : { group }),
  };
}

/** A line of `dunwu score`'s input, judged now. */
function withTrace(
  place: string,
  value: Record<string, unknown>,
  line: string,
  scorer: Scorer | null,
): Record<string, unknown> {
  const text = value.question === undefined ? JSON.stringify({ ...value, question: value.prompt }) : line;
  if (scorer === null) {
    throw new UsageError(`${place}: has no trace; name the rules to judge it by with --rules`);
  }
  try {
    const { problem, response } = parseResponseLine(text, 0);
    return {
      ...value,
      prompt: problem.prompt,
      answer: problem.answer,
      language: problem.language,
      response,
      trace: scorer(text),
    };
  } catch (error) {
    throw new UsageError(`${place}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function groupContext(file: string, target: Row, group: readonly Row[]): GroupContext | undefined {
  if (group.length < 2 || typeof target.value.advantage !== 'number') return undefined;
  const totals = group.map(({ value }) => (value.trace as { total?: unknown } | undefined)?.total);
  if (!totals.every((total): total is number => typeof total === 'number' && Number.isFinite(total))) return undefined;
  const at = group.indexOf(target);
  const own = totals[at] as number;
  const config = advantageOf(file);
  const { groups, advantages } = groupAdvantages([totals], config ?? { scale: 'std', std: 'population', epsilon: 0 });
  const { mean, std } = groups[0] as (typeof groups)[0];
  return {
    size: group.length,
    rank: 1 + totals.filter((total) => total > own).length,
    mean,
    std,
    ...(config === null ? {} : { config, recomputed: advantages[0]?.[at] as number }),
  };
}

/** How the stage that wrote this file makes advantages, by the run folder's recipe. Null: not known, or token by token. */
function advantageOf(file: string): AdvantageConfig | null {
  const run = path.dirname(path.dirname(path.resolve(file)));
  try {
    const recipe: unknown = parse(readFileSync(path.join(run, 'recipe.yaml'), 'utf8'));
    const stages = (recipe as { stages?: { name?: unknown; kind?: unknown; advantage?: { kind?: unknown } }[] }).stages;
    const stage = stages?.find(({ name }) => name === path.basename(file, '.jsonl'));
    if (stage?.kind !== 'grpo' || stage.advantage?.kind !== 'outcome') return null;
    const { kind: _, ...advantage } = stage.advantage;
    return advantageSchema.parse(advantage);
  } catch {
    return null; // no run folder, or one of another version: nothing is claimed
  }
}
