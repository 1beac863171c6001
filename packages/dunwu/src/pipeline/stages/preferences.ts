import path from 'node:path';
import { createGeneral } from '../../task/general.js';
import { writeFileAtomic } from '../../util/fs.js';
import { readJsonl } from '../../util/jsonl.js';
import { Random } from '../../util/random.js';
import {
  bestAgainstWorst,
  flawedPairs,
  flipLabels,
  type PreferenceRow,
  type SafetyRow,
  type ScoredRow,
  safetyRows,
  sampledSafety,
} from '../preference-rows.js';
import { Interrupted, type Note, type StageContext, type StageResult } from '../stage.js';
import type { PreferenceSource, PreferencesStage } from './preferences.schema.js';

/**
 * Makes what reward models learn from, by rules instead of raters: pairs of a better and a worse response, or responses
 * marked safe and unsafe. Quick: an interrupted one begins anew.
 */
export async function run(ctx: StageContext, config: PreferencesStage): Promise<StageResult> {
  const rows: (PreferenceRow | SafetyRow)[] = [];
  const notes: Note[] = [];
  for (const [i, from] of config.from.entries()) {
    if (await ctx.interrupted()) throw new Interrupted();
    rows.push(...rowsOf(ctx, config, from, new Random(`${ctx.seed}/from/${i}`), notes));
  }
  if (rows.length === 0) {
    throw new Error('there are no rows: no problem has responses that differ in points. Draw more samples, or hotter');
  }
  const labelled = flipLabels(rows, config.flip_rate, new Random(`${ctx.seed}/flip`));
  await writeFileAtomic(ctx.datasetFile, labelled.map((row) => `${JSON.stringify(row)}\n`).join(''));
  const counts = countRows(labelled);
  ctx.metrics(1, counts);
  return {
    dataset: ctx.datasetFile,
    tokens: 0,
    flops: 0,
    provided: { preferences: labelled.length },
    notes: [describe(counts), ...notes],
    extra: counts,
  };
}

function rowsOf(
  ctx: StageContext,
  { rows, differ = 'final' }: PreferencesStage,
  from: PreferenceSource,
  rng: Random,
  notes: Note[],
): readonly (PreferenceRow | SafetyRow)[] {
  if ('task' in from) {
    const task = createGeneral(from.task);
    return rows === 'safety' ? safetyRows(task, from.n, rng) : flawedPairs(task, from.n, rng, differ, from.flaws);
  }
  const scored = readScored(ctx, from.stage);
  if (rows === 'safety') return sampledSafety(scored);
  const { pairs, ties } = bestAgainstWorst(scored, from.min_gap, differ);
  notes.push({
    en: `${from.stage}: ${pairs.length} pairs; ${ties} problems gave none, because their responses tie`,
    zh: `${from.stage}：${pairs.length} 对；${ties} 道题的回答不分高下，没有成对`,
  });
  return pairs;
}

/** Every response that a `sample` stage drew, with its points. @throws Error naming file and line of another shape */
function readScored(ctx: StageContext, stage: string): ScoredRow[] {
  const record = ctx.artefact(stage);
  if (record.kind !== 'sample') {
    throw new Error(
      `from: stage '${stage}' is of kind ${record.kind}: pairs are made of the responses of a sample stage`,
    );
  }
  const file = path.join(ctx.dir, 'samples', `${stage}.jsonl`);
  return [...readJsonl(file)].map(({ value, number }) => {
    const row = (value ?? {}) as Record<string, unknown>;
    const total = (row.trace as { total?: unknown } | undefined)?.total;
    const { id, prompt, response, source, language } = row;
    if (
      typeof id !== 'string' ||
      typeof prompt !== 'string' ||
      typeof response !== 'string' ||
      typeof source !== 'string' ||
      typeof language !== 'string' ||
      typeof total !== 'number'
    ) {
      throw new Error(`${file}:${number}: is no scored response of a sample stage: the file was changed`);
    }
    return { id, prompt, response, source, language, total, harmful: row.harmful === true };
  });
}

function countRows(rows: readonly (PreferenceRow | SafetyRow)[]): Readonly<Record<string, number>> {
  const pairs = rows.flatMap((row) => ('chosen' in row ? [row] : []));
  const marked = rows.flatMap((row) => ('safe' in row ? [row] : []));
  const mean = (texts: readonly string[]): number => texts.reduce((sum, text) => sum + text.length, 0) / texts.length;
  return {
    rows: rows.length,
    chinese: rows.filter(({ language }) => language === 'zh').length,
    flipped: rows.filter(({ flipped }) => flipped === true).length,
    ...(pairs.length === 0
      ? { safe: marked.filter(({ safe }) => safe).length }
      : {
          chosen_characters: mean(pairs.map(({ chosen }) => chosen)),
          rejected_characters: mean(pairs.map(({ rejected }) => rejected)),
        }),
  };
}

/** Lengths belong here: a reward model learns them before anything else where they differ. */
function describe(counts: Readonly<Record<string, number>>): Note {
  const { rows, chinese, flipped, safe } = counts;
  const [chosen, rejected] = [counts.chosen_characters?.toFixed(1), counts.rejected_characters?.toFixed(1)];
  return safe === undefined
    ? {
        en: `${rows} pairs, ${chinese} of them Chinese, ${flipped} turned round; chosen ${chosen}, rejected ${rejected} characters on average`,
        zh: `${rows} 对，其中中文 ${chinese} 对，颠倒 ${flipped} 对；平均字符数：较好的 ${chosen}，较差的 ${rejected}`,
      }
    : {
        en: `${rows} responses, ${chinese} of them Chinese, ${safe} marked safe, ${flipped} turned round`,
        zh: `${rows} 条回答，其中中文 ${chinese} 条，标为安全 ${safe} 条，颠倒 ${flipped} 条`,
      };
}
