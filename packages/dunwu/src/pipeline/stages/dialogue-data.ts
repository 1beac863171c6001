import path from 'node:path';
import { type DialogueRow, readDialogues } from '../../data/dialogues.js';
import type { TokenDocument } from '../../data/packing.js';
import { workedDialogues } from '../../data/worked-dialogues.js';
import { readConfig } from '../../model/config.js';
import { chatDialogueTokens, type DialogueTokens, dialogueTokens, type LossMask } from '../../text/dialogue-tokens.js';
import type { Tokenizer } from '../../text/tokenizer.js';
import { errorText } from '../../util/errors.js';
import type { Note, Provided, StageContext } from '../stage.js';
import { datasetOf, taskOf } from './common.js';
import type { DialogueData } from './dialogue-data.schema.js';
import { drawProblems } from './draw-problems.js';

export interface PreparedRows {
  readonly rows: TokenDocument[];
  readonly notes: Note[];
  /** Rows that are no other stage's. */
  readonly provided: Provided;
  /** For report.json. */
  readonly extra: Readonly<Record<string, unknown>>;
}

/** What was left out, and where it stands. */
type LeftOut = Readonly<Record<'empty' | 'oversized', string[]>>;

/**
 * The rows of all data as tokens with loss masks. Rows that say nothing and rows longer than `longest` tokens are left
 * out: said in the log and counted in the notes.
 * @throws Error when nothing is left, or a row is malformed.
 */
export function prepareRows(
  ctx: StageContext,
  data: readonly DialogueData[],
  tokenizer: Tokenizer,
  options: { readonly mask: LossMask; readonly template: 'dunwu' | 'chat'; readonly longest: number },
): PreparedRows {
  const leftOut: LeftOut = { empty: [], oversized: [] };
  const rows: TokenDocument[] = [];
  const sources: Record<string, unknown>[] = [];
  let solutions = 0;
  const write = options.template === 'chat' ? chatDialogueTokens : dialogueTokens;
  for (const one of data) {
    const found = readRows(ctx, one, leftOut);
    const before = rows.length;
    for (const { where, messages } of found.rows) {
      const document = encode(where, () => write(tokenizer, messages, options.mask));
      if (document.tokens.length > options.longest)
        leftOut.oversized.push(`${where} (${document.tokens.length} tokens)`);
      else rows.push(document);
    }
    sources.push({ ...found.facts, rows: rows.length - before });
    if (one.stage === undefined) solutions += rows.length - before;
  }
  for (const [why, places] of Object.entries(leftOut)) {
    if (places.length > 0)
      ctx.log(
        `${ctx.name}: ${places.length} rows left out, ${words[why as keyof LeftOut].en(options.longest)}: ${some(places)}`,
      );
  }
  const counts = { empty: leftOut.empty.length, oversized: leftOut.oversized.length };
  if (rows.length === 0) {
    const from = sources.map(({ file, stage, task }) => String(file ?? stage ?? task)).join(', ');
    if (counts.empty + counts.oversized === 0) throw new Error(`data: there are no rows in ${from}`);
    throw new Error(
      `data: no rows to train on (${counts.empty} empty, ${counts.oversized} longer than ${options.longest} tokens): ` +
        'look at the data, or raise packing.time',
    );
  }
  const tokens = rows.reduce((sum, row) => sum + row.tokens.length, 0);
  const targets = rows.reduce(
    (sum, row) => sum + (row.mask ?? row.tokens).filter((weight, i) => i > 0 && weight !== 0).length,
    0,
  );
  const share = `${((100 * targets) / tokens).toFixed(1)} %`;
  return {
    rows,
    notes: [
      {
        en: `${rows.length} rows, ${tokens} tokens, of which ${targets} (${share}) are trained on`,
        zh: `${rows.length} 行，${tokens} 个 token，其中参与训练的有 ${targets} 个（${share}）`,
      },
      ...(Object.keys(leftOut) as (keyof LeftOut)[]).flatMap((why): Note[] =>
        counts[why] === 0
          ? []
          : [
              {
                en: `${counts[why]} rows left out: ${words[why].en(options.longest)}`,
                zh: `略去 ${counts[why]} 行：${words[why].zh(options.longest)}`,
              },
            ],
      ),
    ],
    provided: { solutions },
    extra: { rows: rows.length, tokens, trained_on: targets, left_out: counts, data: sources },
  };
}

function encode(where: string, write: () => DialogueTokens): DialogueTokens {
  try {
    return write();
  } catch (cause) {
    throw new Error(`${where}: ${errorText(cause)}`, { cause });
  }
}

/** @throws Error when rows of so many positions are longer than the model of a folder can take. */
export function checkRowLength(ctx: StageContext, time: number, folder: string): void {
  const { max_position_embeddings: most } = readConfig(folder);
  if (time > most) {
    throw new Error(
      `stage '${ctx.name}', key packing.time: ${time} exceeds the model's max_position_embeddings, ${most}`,
    );
  }
}

const words = {
  empty: { en: () => 'an empty question or response', zh: () => '问题或回答为空' },
  oversized: {
    en: (longest: number) => `longer than ${longest} tokens (packing.time + 1)`,
    zh: (longest: number) => `超过 ${longest} 个 token（packing.time + 1）`,
  },
};

const some = (places: readonly string[]): string =>
  `${places.slice(0, 5).join(', ')}${places.length > 5 ? `, … (${places.length - 5} more)` : ''}`;

function readRows(
  ctx: StageContext,
  data: DialogueData,
  leftOut: LeftOut,
): { rows: readonly DialogueRow[]; facts: Record<string, unknown> } {
  if (data.task !== undefined) {
    const task = data.task === 'recipe' ? taskOf(ctx, {}) : taskOf(ctx, { task: data.task });
    const seed = data.seed ?? ctx.seed;
    const rows = workedDialogues(task, drawProblems(task, data.n as number, seed), { wrong: data.wrong ?? 0, seed });
    return { rows, facts: { task: task.id, wrong: rows.filter(({ mistake }) => mistake !== undefined).length } };
  }
  const file =
    data.stage === undefined ? path.resolve(ctx.recipe.base, data.file as string) : datasetOf(ctx, data.stage);
  const { rows, empty } = readDialogues(file, data.limit);
  leftOut.empty.push(...empty);
  return { rows, facts: data.stage === undefined ? { file: data.file } : { stage: data.stage } };
}
