import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { parse } from 'yaml';
import { z } from 'zod';
import { type Estimate, meanWithInterval } from '../eval/statistics.js';
import { errorText, UsageError } from '../util/errors.js';
import { readCurves, type StageCurves } from './curves.js';
import { judgedSamples } from './judged-samples.js';
import { recipeDifferences } from './recipe.js';
import type { StageKind } from './stage.js';

/** Several runs, stage by stage: means over the runs with Student's 95 % intervals. */
export interface Comparison {
  readonly recipes: readonly ComparedRecipe[];
  readonly evaluations: readonly ComparedEvaluation[];
  readonly reach: Reach | null;
}

/** Runs of one recipe: the same but for the seed (and the description). */
export interface ComparedRecipe {
  /** The recipe's name, with #2, #3, … where another recipe of that name came before. */
  readonly label: string;
  readonly runs: readonly { readonly dir: string; readonly seed: number; readonly unfinished: readonly string[] }[];
  /** From the first recipe of that name to this one: `stages.pretrain.steps: 10 → 20`. */
  readonly differences: readonly string[];
}

/** One evaluation stage of one recipe. Shares are between 0 and 1; what no run has is null. */
export interface ComparedEvaluation {
  readonly recipe: string;
  readonly stage: string;
  /** Runs that finished the stage: what the means are over. */
  readonly runs: number;
  readonly accuracy: Estimate;
  readonly format: Estimate;
  readonly language_consistency: Estimate;
  readonly mean_length: Estimate;
  readonly sampled: {
    readonly accuracy: Estimate;
    readonly format: Estimate;
    readonly language_consistency: Estimate;
    readonly pass_at_k: Estimate | null;
    readonly cons_at_k: Estimate | null;
    /** Samples a problem; null where the runs differ. */
    readonly k: number | null;
  } | null;
  readonly cost: Cost | null;
}

/**
 * What the evaluated model cost: its stage and all that it came from, without evaluations and without what was given.
 * The last four are null where no stage of the run tells of them (runs of older versions).
 */
export interface Cost {
  readonly seconds: Estimate;
  readonly tokens: Estimate;
  readonly flops: Estimate;
  readonly solutions: Estimate | null;
  readonly preferences: Estimate | null;
  readonly answers: Estimate | null;
  readonly scored: Estimate | null;
}

/** When a metric first reached a threshold. */
export interface Reach {
  readonly metric: string;
  readonly threshold: number;
  readonly stages: readonly ReachedStage[];
}

export interface ReachedStage {
  readonly recipe: string;
  readonly stage: string;
  readonly runs: readonly ReachedRun[];
  /** Folders of runs whose stage has not logged the metric (yet): nothing is known of them. */
  readonly unmeasured: readonly string[];
  readonly reached: number;
  /**
   * Over all runs; those that did not reach it (censored) count with their last measured step, so that the mean is a
   * lower bound and has no interval: `censored` tells.
   */
  readonly steps: Estimate;
  readonly samples: Estimate | null;
  readonly censored: boolean;
}

export interface ReachedRun {
  readonly dir: string;
  readonly reached: boolean;
  /** The first measured step at or above the threshold, else the last measured one. */
  readonly step: number;
  /** Samples drawn up to that step; null where the stage logged none. */
  readonly samples: number | null;
}

/** A run folder, as far as a comparison uses it. */
export interface RunRead {
  readonly dir: string;
  readonly recipe: string;
  readonly name: string;
  readonly seed: number;
  readonly stages: readonly Readonly<Record<string, unknown> & { name: string; kind: string }>[];
  readonly records: ReadonlyMap<string, Recorded>;
  readonly curves: readonly StageCurves[];
}

const finite = z.number();
const shares = { accuracy: finite, format: finite, language_consistency: finite };
const recordSchema = z.looseObject({
  name: z.string(),
  kind: z.string(),
  seconds: finite,
  tokens: finite,
  flops: finite,
  provided: z
    .looseObject({
      solutions: finite.optional(),
      preferences: finite.optional(),
      answers: finite.optional(),
      scored: finite.optional(),
    })
    .optional(),
  eval: z
    .looseObject({
      ...shares,
      mean_length: finite,
      sampled: z
        .looseObject({
          ...shares,
          k: finite.optional(),
          cons_at_k: finite.optional(),
          pass_at_k: z.union([finite, z.record(z.string(), finite)]).optional(),
        })
        .optional(),
    })
    .optional(),
});
type Recorded = z.output<typeof recordSchema>;
type RecordedEval = NonNullable<Recorded['eval']>;

const recipeSchema = z.looseObject({
  name: z.string(),
  seed: finite,
  stages: z.array(z.looseObject({ name: z.string(), kind: z.string() })),
});

/** @throws UsageError naming the folder or file, and what is wrong with it. */
export function readRun(dir: string): RunRead {
  const file = path.join(dir, 'recipe.yaml');
  if (!existsSync(file) || !existsSync(path.join(dir, 'stages'))) {
    throw new UsageError(`${dir}: is no run folder (it needs recipe.yaml and stages/, as \`dunwu run\` writes them)`);
  }
  const text = readFileSync(file, 'utf8');
  const recipe = checked(recipeSchema, () => parse(text) as unknown, file);
  const records = new Map<string, Recorded>();
  for (const { name } of recipe.stages) {
    const record = path.join(dir, 'stages', `${name}.json`);
    if (!existsSync(record)) continue;
    records.set(
      name,
      checked(recordSchema, () => JSON.parse(readFileSync(record, 'utf8')) as unknown, record),
    );
  }
  const { name, seed, stages } = recipe;
  return { dir, recipe: text, name, seed, stages, records, curves: readCurves(path.join(dir, 'metrics.jsonl')) };
}

function checked<T>(schema: z.ZodType<T>, read: () => unknown, file: string): T {
  let value: unknown;
  try {
    value = read();
  } catch (error) {
    throw new UsageError(`${file}: cannot be read: ${errorText(error)}`);
  }
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  throw new UsageError(`${file}: ${issue?.path.join('.') || '(top)'}: ${issue?.message ?? 'not as expected'}`);
}

export interface CompareOptions {
  /** The kinds of stages, which know what a stage was made from; without them no cost is given. */
  readonly kinds?: readonly StageKind[];
  /**
   * Stages whose price, with that of all they came from, is left out of the models that were made from them: a base that
   * all ways begin with, a teacher. Their own rows have it.
   */
  readonly given?: readonly string[];
  /** Steps to a threshold of a metric; `stages` by default: all of reinforcement learning that logged the metric. */
  readonly reach?: { readonly metric: string; readonly threshold: number; readonly stages?: readonly string[] };
}

/**
 * Compares finished stages of runs. Runs are gathered by recipe, and the means are over the runs of a recipe.
 * @throws UsageError when a run is given twice, or when there is nothing to compare.
 */
export async function compareRuns(runs: readonly RunRead[], options: CompareOptions = {}): Promise<Comparison> {
  const groups = gather(runs);
  const evaluations: ComparedEvaluation[] = [];
  requireStages(groups, options.given ?? []);
  for (const { label, members } of groups) {
    for (const stage of stageNames(members)) {
      const evaluation = await compareEvaluation(label, stage, members, options);
      if (evaluation !== null) evaluations.push(evaluation);
    }
  }
  const reach = options.reach === undefined ? null : reachOf(groups, options.reach);
  return {
    recipes: groups.map(({ label, members, differences }) => ({
      label,
      runs: members.map(({ dir, seed, stages, records }) => ({
        dir,
        seed,
        unfinished: stages.flatMap(({ name }) => (records.has(name) ? [] : [name])),
      })),
      differences,
    })),
    evaluations,
    reach,
  };
}

export interface RunGroup {
  readonly label: string;
  readonly members: readonly RunRead[];
  readonly differences: readonly string[];
}

/** Runs of the same recipe together, in the order given. */
export function gather(runs: readonly RunRead[]): RunGroup[] {
  const groups: { label: string; members: RunRead[]; differences: string[] }[] = [];
  const seen = new Set<string>();
  for (const run of runs) {
    const place = path.resolve(run.dir);
    if (seen.has(place)) throw new UsageError(`${run.dir}: is given twice`);
    seen.add(place);
    const own = groups.find(({ members }) => differences(members[0] as RunRead, run).length === 0);
    if (own === undefined) {
      const named = groups.filter(({ members }) => members[0]?.name === run.name);
      groups.push({
        label: named.length === 0 ? run.name : `${run.name} #${named.length + 1}`,
        members: [run],
        differences: named[0] === undefined ? [] : differences(named[0].members[0] as RunRead, run),
      });
      continue;
    }
    const twin = own.members.find(({ seed }) => seed === run.seed);
    if (twin !== undefined) {
      throw new UsageError(
        `${twin.dir} and ${run.dir}: have the same recipe and the same seed (${run.seed}): not two runs but one, done twice. Leave one out`,
      );
    }
    own.members.push(run);
  }
  return groups;
}

function differences(a: RunRead, b: RunRead): string[] {
  return recipeDifferences(a.recipe, b.recipe).filter((line) => !line.startsWith('seed: '));
}

/** @throws UsageError naming the stages that no run has, and those there are */
function requireStages(groups: readonly RunGroup[], wanted: readonly string[]): void {
  const names = new Set(groups.flatMap(({ members }) => stageNames(members)));
  const unknown = [...new Set(wanted)].filter((name) => !names.has(name));
  if (unknown.length === 0) return;
  throw new UsageError(`no run has a stage ${unknown.join(', ')}; there are ${[...names].join(', ')}`);
}

function stageNames(members: readonly RunRead[]): string[] {
  return members[0]?.stages.map(({ name }) => name) ?? [];
}

async function compareEvaluation(
  recipe: string,
  stage: string,
  members: readonly RunRead[],
  options: CompareOptions,
): Promise<ComparedEvaluation | null> {
  const done = members.filter(({ records }) => records.get(stage)?.eval !== undefined);
  if (done.length === 0) return null;
  const results = done.map(({ records }) => records.get(stage)?.eval as RecordedEval);
  const over = (read: (result: RecordedEval) => number): Estimate => meanWithInterval(results.map(read));
  const sampled = results.flatMap((result) => (result.sampled === undefined ? [] : [result.sampled]));
  const all = sampled.length === results.length;
  const each = (read: (result: (typeof sampled)[number]) => number | undefined): Estimate | null => {
    const values = sampled.map(read);
    return values.every((value) => value !== undefined) ? meanWithInterval(values) : null;
  };
  const [k] = sampled.map((result) => result.k);
  return {
    recipe,
    stage,
    runs: done.length,
    accuracy: over((result) => result.accuracy),
    format: over((result) => result.format),
    language_consistency: over((result) => result.language_consistency),
    mean_length: over((result) => result.mean_length),
    sampled: all
      ? {
          accuracy: meanWithInterval(sampled.map((result) => result.accuracy)),
          format: meanWithInterval(sampled.map((result) => result.format)),
          language_consistency: meanWithInterval(sampled.map((result) => result.language_consistency)),
          pass_at_k: each(({ pass_at_k }) => (typeof pass_at_k === 'object' ? undefined : pass_at_k)),
          cons_at_k: each(({ cons_at_k }) => cons_at_k),
          k: k !== undefined && sampled.every((result) => result.k === k) ? k : null,
        }
      : null,
    cost: await costOf(stage, done, options),
  };
}

/** Keys of {@link Cost} that tell what was provided. */
export const PROVIDED = ['solutions', 'preferences', 'answers', 'scored'] as const;

async function costOf(
  stage: string,
  members: readonly RunRead[],
  { kinds = [], given = [] }: CompareOptions,
): Promise<Cost | null> {
  const run = members[0] as RunRead;
  const found = await lineage(stage, run, kinds);
  if (found === null) return null;
  const model = [...found][0];
  const free = new Set<string>();
  for (const name of given) {
    if (name === model || !found.has(name)) continue;
    for (const one of [name, ...((await lineage(name, run, kinds)) ?? [])]) free.add(one);
  }
  const names = [...found].filter((name) => !free.has(name) && run.records.get(name)?.eval === undefined);
  const made = members.map(({ records }) => names.map((name) => records.get(name)));
  if (made.some((list) => list.includes(undefined))) return null;
  // What preference rows were made from is theirs: the raters who are stood in for look at no gold answer.
  const judged = await lineage(stage, run, kinds, (kind) => kind === 'preferences');
  const told = members.some(({ records }) => [...records.values()].some(({ provided }) => provided !== undefined));
  const sum = (read: (record: Recorded) => number): Estimate =>
    meanWithInterval(made.map((list) => list.reduce((total, record) => total + (record ? read(record) : 0), 0)));
  const provided = (key: 'solutions' | 'preferences' | 'scored'): Estimate | null =>
    told ? sum((record) => record.provided?.[key] ?? 0) : null;
  const looked = (run: RunRead): number => {
    const stages = names.filter((name) => judged?.has(name) && (run.records.get(name)?.provided?.answers ?? 0) > 0);
    return differentProblems(run, stages);
  };
  return {
    seconds: sum(({ seconds }) => seconds),
    tokens: sum(({ tokens }) => tokens),
    flops: sum(({ flops }) => flops),
    solutions: provided('solutions'),
    preferences: provided('preferences'),
    answers: told ? meanWithInterval(members.map(looked)) : null,
    scored: provided('scored'),
  };
}

/** Of how many problems the stages looked at the gold answer: a problem that several of them had counts once. */
function differentProblems(run: RunRead, stages: readonly string[]): number {
  const counts = stages.map((name) => run.records.get(name)?.provided?.answers ?? 0);
  if (stages.length < 2) return counts[0] ?? 0;
  const read = problemsOf.get(run) ?? new Map<string, ReadonlySet<string>>();
  problemsOf.set(run, read);
  const known = stages.map((name) => {
    const problems = read.get(name) ?? judgedSamples(run.dir, name).problems;
    read.set(name, problems);
    return problems;
  });
  // Samples may have been removed from the folder to save space: then the stages' own counts are all there is.
  if (known.some((problems, i) => problems.size !== counts[i])) return counts.reduce((total, one) => total + one, 0);
  return new Set(known.flatMap((problems) => [...problems])).size;
}

/** Samples' files are large, and several models may come from one stage. */
const problemsOf = new WeakMap<RunRead, Map<string, ReadonlySet<string>>>();

/**
 * All stages that a stage was made from, nearest first, itself left out; null when a kind cannot say.
 * @param ends kinds that are not looked behind
 */
async function lineage(
  stage: string,
  run: RunRead,
  kinds: readonly StageKind[],
  ends: (kind: string) => boolean = () => false,
): Promise<Set<string> | null> {
  const found = new Set<string>();
  const open = [stage];
  for (const name of open) {
    const entry = run.stages.find((one) => one.name === name);
    const kind = kinds.find((one) => one.kind === entry?.kind);
    if (entry === undefined || kind === undefined) return null;
    if (ends(kind.kind)) continue;
    const { name: _, kind: __, ...config } = entry;
    const spec = await kind.spec();
    const parsed = spec.schema.safeParse(config);
    if (!parsed.success) return null;
    for (const reference of spec.references?.(parsed.data) ?? []) {
      if (found.has(reference)) continue;
      found.add(reference);
      open.push(reference);
    }
  }
  return found;
}

/** Kinds whose steps are rollouts. */
const REINFORCED = ['grpo', 'ppo'];

function reachOf(
  groups: readonly RunGroup[],
  { metric, threshold, stages: wanted }: NonNullable<CompareOptions['reach']>,
): Reach {
  const stages: ReachedStage[] = [];
  const logged = new Set<string>();
  requireStages(groups, wanted ?? []);
  for (const { label, members } of groups) {
    for (const { name: stage, kind } of members[0]?.stages ?? []) {
      if (wanted === undefined ? !REINFORCED.includes(kind) : !wanted.includes(stage)) continue;
      const unmeasured: string[] = [];
      const runs = members.flatMap((run) => {
        const series = run.curves.find((curves) => curves.stage === stage)?.series;
        for (const name of series?.keys() ?? []) logged.add(name);
        if (series?.has(metric)) return [reachedRun(run.dir, series, metric, threshold)];
        unmeasured.push(run.dir);
        return [];
      });
      if (runs.length > 0) stages.push({ ...reachedStage(label, stage, runs), unmeasured });
    }
  }
  if (stages.length === 0) {
    const names = [...logged].filter((name) => !name.startsWith('time/')).sort();
    throw new UsageError(
      `no ${wanted === undefined ? 'grpo or ppo stage' : 'such stage'} logged \`${metric}\`` +
        (names.length === 0 ? '' : `; there are ${names.join(', ')}`),
    );
  }
  return { metric, threshold, stages };
}

function reachedRun(
  dir: string,
  series: ReadonlyMap<string, readonly (readonly [number, number])[]>,
  metric: string,
  threshold: number,
): ReachedRun {
  const points = series.get(metric) ?? [];
  const hit = points.find(([, value]) => value >= threshold);
  const [step] = hit ?? (points.at(-1) as readonly [number, number]);
  const samples = series.get('samples')?.find(([at]) => at === step)?.[1] ?? null;
  return { dir, reached: hit !== undefined, step, samples };
}

function reachedStage(recipe: string, stage: string, runs: readonly ReachedRun[]): Omit<ReachedStage, 'unmeasured'> {
  const reached = runs.filter((run) => run.reached).length;
  const censored = reached < runs.length;
  const over = (values: readonly number[]): Estimate => {
    const estimate = meanWithInterval(values);
    return censored ? { mean: estimate.mean, standard_error: null, ci95: null } : estimate;
  };
  const samples = runs.flatMap((run) => (run.samples === null ? [] : [run.samples]));
  return {
    recipe,
    stage,
    runs,
    reached,
    steps: over(runs.map(({ step }) => step)),
    samples: samples.length === runs.length ? over(samples) : null,
    censored,
  };
}
