import { z } from 'zod';
import type { Message } from '../text/template.js';
import { type JsonLine, readJsonl } from '../util/jsonl.js';
import { readParquet } from '../util/parquet.js';

/** A conversation to be learnt from, and where it stands: `file:line`, `file:row 3` in Parquet, or a problem's id. */
export interface DialogueRow {
  readonly where: string;
  readonly messages: readonly Message[];
}

export interface DialogueFile {
  readonly rows: DialogueRow[];
  /** Rows that say nothing: an empty question or response. Where they stand. */
  readonly empty: string[];
}

const messagesSchema = z.array(z.object({ role: z.enum(['system', 'user', 'assistant']), content: z.string() })).min(1);

const EXPECTED =
  'expected {"messages": [{"role", "content"}, …]}, {"prompt", "response"}, {"question", "response"} or {"question", "answer"}';

const KEYS = ['messages', 'prompt', 'question', 'response', 'answer'] as const;

/**
 * Conversations from a JSON-lines or (by its ending) Parquet file. All are held in memory: fine-tuning goes through its rows in another order each
 * time. Keys other than those named are passed over.
 *
 * @param limit read so many rows (empty ones not counted)
 * @throws Error naming file:line, what is there and what was expected.
 */
export function readDialogues(path: string, limit = Number.POSITIVE_INFINITY): DialogueFile {
  const rows: DialogueRow[] = [];
  const empty: string[] = [];
  const parquet = path.endsWith('.parquet');
  const lines: Iterable<JsonLine> = parquet ? readParquet(path, KEYS) : readJsonl(path);
  for (const { value, number } of lines) {
    const where = `${path}:${parquet ? 'row ' : ''}${number}`;
    const messages = toMessages(where, value);
    if (isEmpty(messages)) empty.push(where);
    else rows.push({ where, messages });
    if (rows.length >= limit) break;
  }
  return { rows, empty };
}

function isEmpty(messages: readonly Message[]): boolean {
  return messages.some(({ role, content }) => role !== 'system' && content.trim() === '');
}

function toMessages(where: string, value: unknown): Message[] {
  const fail = (what: string): never => {
    throw new Error(`${where}: ${what}; ${EXPECTED}`);
  };
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return fail('not an object of keys');
  const row = value as Record<string, unknown>;
  if ('messages' in row) {
    const messages = messagesSchema.safeParse(row.messages);
    if (!messages.success)
      return fail('"messages" must be a list of {"role": system, user or assistant, "content": text}');
    // Nothing would be learnt from a question that nobody answers.
    if (messages.data.at(-1)?.role !== 'assistant') return fail('"messages" must end with an assistant turn');
    return messages.data;
  }
  const ask = ['prompt', 'question'].find((key) => key in row);
  const say = ['response', 'answer'].find((key) => key in row && !(ask === 'prompt' && key === 'answer'));
  if (ask === undefined || say === undefined) return fail(`found the keys ${Object.keys(row).join(', ') || '(none)'}`);
  const text = (key: string): string => {
    const found = row[key];
    return typeof found === 'string' ? found : fail(`"${key}" must be a text, not ${JSON.stringify(found)}`);
  };
  return [
    { role: 'user', content: text(ask) },
    { role: 'assistant', content: text(say) },
  ];
}
