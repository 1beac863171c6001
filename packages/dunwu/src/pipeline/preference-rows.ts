import { finalPart } from '../reward/tags.js';
import type { GeneralFlaw, GeneralTask } from '../task/general.js';
import { refuses } from '../task/instruction.js';
import type { Random } from '../util/random.js';

export interface PreferenceRow {
  readonly id: string;
  readonly prompt: string;
  readonly chosen: string;
  readonly rejected: string;
  readonly source: string;
  readonly language: string;
  /** What was put wrong with the rejected one. */
  readonly flaw?: GeneralFlaw;
  /** Points of both, as the rules gave them. */
  readonly points?: { readonly chosen: number; readonly rejected: number };
  /** The label was turned round: what stands under `chosen` is the worse one. */
  readonly flipped?: true;
}

export interface SafetyRow {
  readonly id: string;
  readonly prompt: string;
  readonly response: string;
  readonly safe: boolean;
  readonly source: string;
  readonly language: string;
  readonly flipped?: true;
}

/** A scored response to a problem, as `samples/STAGE.jsonl` of a `sample` stage has it. */
export interface ScoredRow {
  /** The problem's id. */
  readonly id: string;
  readonly prompt: string;
  readonly response: string;
  readonly source: string;
  readonly language: string;
  readonly total: number;
  readonly harmful: boolean;
}

/** So many draws in a row without a new row: the task has (nearly) no more. */
const MAX_MISSES = 500;

/** Draws until there are n rows of different texts. */
function drawDistinct<R extends { readonly prompt: string }>(
  n: number,
  draw: () => R | null,
  text: (row: R) => string,
): R[] {
  const rows: R[] = [];
  const seen = new Set<string>();
  for (let misses = 0; rows.length < n; ) {
    const row = draw();
    const key = row === null ? '' : `${row.prompt}\0${text(row)}`;
    if (row !== null && !seen.has(key)) {
      seen.add(key);
      rows.push(row);
      misses = 0;
    } else if (++misses > MAX_MISSES) {
      throw new Error(`from: found ${rows.length} different rows, ${n} asked for: ask for fewer, or widen the task`);
    }
  }
  return rows;
}

/** Whether two responses differ in what is to be compared. */
function differIn(what: 'final' | 'whole', a: string, b: string): boolean {
  return what === 'whole' ? a !== b : finalPart(a).trim() !== finalPart(b).trim();
}

/** n pairs of a good and a flawed response to training problems, all different. */
export function flawedPairs(
  task: GeneralTask,
  n: number,
  rng: Random,
  differ: 'final' | 'whole',
  flaws?: readonly GeneralFlaw[],
): PreferenceRow[] {
  const draw = (): PreferenceRow | null => {
    const problem = task.sample(rng, 'train');
    const chosen = task.solve(problem);
    const { response, flaw } = task.flawed(problem, rng, flaws);
    if (!differIn(differ, chosen, response)) return null;
    const { id, prompt, source, language } = problem;
    return { id, prompt, chosen, rejected: response, source, language, flaw };
  };
  return numbered(drawDistinct(n, draw, ({ rejected }) => rejected));
}

/**
 * n responses to training problems, all different. To half of the prompts that ask for harm one that complies; to the
 * others a refusal; to prompts that ask for none a good or a flawed one.
 */
export function safetyRows(task: GeneralTask, n: number, rng: Random): SafetyRow[] {
  const draw = (): SafetyRow => {
    const problem = task.sample(rng, 'train');
    const harmful = problem.meta.harmful === true;
    const response = rng.chance(0.5)
      ? task.solve(problem)
      : task.flawed(problem, rng, harmful ? ['complied'] : ['wrong', 'extra', 'other-language']).response;
    const { id, prompt, source, language } = problem;
    return { id, prompt, response, safe: isSafe(harmful, response), source, language };
  };
  return numbered(drawDistinct(n, draw, ({ response }) => response));
}

/** Where harm is asked for, only a refusal is safe. */
function isSafe(harmful: boolean, response: string): boolean {
  return !harmful || refuses(finalPart(response));
}

/**
 * Of each problem the response with the most points against the one with the fewest; among equals the first of each.
 * @returns the pairs, and of how many problems there is none: all points equal or too near, or nothing that differs
 */
export function bestAgainstWorst(
  rows: readonly ScoredRow[],
  minGap: number,
  differ: 'final' | 'whole',
): { readonly pairs: PreferenceRow[]; readonly ties: number } {
  const problems = new Map<string, ScoredRow[]>();
  for (const row of rows) {
    const group = problems.get(row.id);
    if (group === undefined) problems.set(row.id, [row]);
    else group.push(row);
  }
  const pairs: PreferenceRow[] = [];
  for (const [id, group] of problems) {
    const best = group.reduce((a, b) => (b.total > a.total ? b : a));
    const worst = group.reduce((a, b) => (b.total < a.total ? b : a));
    const gap = best.total - worst.total;
    if (!(gap > 0) || gap < minGap || !differIn(differ, best.response, worst.response)) continue;
    const { prompt, source, language } = best;
    const points = { chosen: best.total, rejected: worst.total };
    pairs.push({ id, prompt, chosen: best.response, rejected: worst.response, source, language, points });
  }
  return { pairs: numbered(pairs), ties: problems.size - pairs.length };
}

/** Every different response, with the label that the rule gives it. */
export function sampledSafety(rows: readonly ScoredRow[]): SafetyRow[] {
  const seen = new Set<string>();
  return numbered(
    rows.flatMap(({ id, prompt, response, source, language, harmful }) => {
      const key = `${prompt}\0${response}`;
      if (seen.has(key)) return [];
      seen.add(key);
      return [{ id, prompt, response, safe: isSafe(harmful, response), source, language }];
    }),
  );
}

/** Ids that differ, though a problem may come again. */
function numbered<R extends { readonly id: string }>(rows: readonly R[]): R[] {
  return rows.map((row, i) => ({ ...row, id: `${row.id}#${i}` }));
}

/** Turns round the labels of a share of the rows, to the nearest whole row, chosen by `rng`. */
export function flipLabels<R extends PreferenceRow | SafetyRow>(rows: readonly R[], rate: number, rng: Random): R[] {
  const order = rng.shuffle(rows.map((_, i) => i));
  const turned = new Set(order.slice(0, Math.round(rate * rows.length)));
  return rows.map((row, i) => (turned.has(i) ? flip(row) : row));
}

function flip<R extends PreferenceRow | SafetyRow>(row: R): R {
  if ('safe' in row) return { ...row, safe: !row.safe, flipped: true };
  const { chosen, rejected } = row as PreferenceRow;
  return { ...row, chosen: rejected, rejected: chosen, flipped: true };
}
