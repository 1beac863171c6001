import path from 'node:path';
import type { Trace } from '../reward/trace.js';
import { readRows } from './curves.js';
import type { SampleRow, StageRecord } from './stage.js';

/** One problem and how it was answered, earliest first. */
export interface Transcript {
  readonly prompt: string;
  readonly answer?: string;
  readonly mode?: 'greedy' | 'sampled';
  readonly responses: readonly {
    readonly stage: string;
    readonly step?: number;
    readonly response: string;
    readonly trace?: Trace;
  }[];
}

type Row = SampleRow & { readonly step: number };

/**
 * The same problems before and after: of the first and the last stage that evaluated and kept samples, for each way
 * of decoding, each language and each source of problems the first one that both answered. Without two such stages: the first samples of
 * the first and of the last step of the last stage that kept any.
 */
export function readTranscripts(dir: string, stages: readonly StageRecord[]): Transcript[] {
  const file = (stage: string) => path.join(dir, 'samples', `${stage}.jsonl`);
  const judged: { stage: string; rows: Row[] }[] = [];
  for (const stage of stages.filter((candidate) => candidate.eval !== undefined)) {
    const rows = readSamples(file(stage.name));
    if (rows.length > 0) judged.push({ stage: stage.name, rows });
  }
  const first = judged[0];
  const last = judged.at(-1);
  if (first !== undefined && last !== undefined && first !== last) return beforeAndAfter(first, last);
  for (const stage of stages.toReversed()) {
    const found = firstAndLastStep(stage.name, readSamples(file(stage.name)));
    if (found.length > 0) return found;
  }
  return [];
}

function beforeAndAfter(before: { stage: string; rows: Row[] }, after: { stage: string; rows: Row[] }): Transcript[] {
  const key = (row: Row) => `${row.mode ?? ''}/${row.id ?? row.prompt}`;
  const then = new Map<string, Row>();
  for (const row of after.rows) if (!then.has(key(row))) then.set(key(row), row);
  const chosen = new Map<string, Transcript>();
  for (const row of before.rows) {
    const group = [row.mode, row.language, row.source, row.harmful].join('/');
    const later = then.get(key(row));
    if (chosen.has(group) || later === undefined) continue;
    chosen.set(group, {
      prompt: row.prompt,
      answer: row.answer,
      mode: row.mode,
      responses: [
        { stage: before.stage, response: row.response, trace: row.trace },
        { stage: after.stage, response: later.response, trace: later.trace },
      ],
    });
  }
  return [...chosen.values()];
}

function firstAndLastStep(stage: string, rows: readonly Row[]): Transcript[] {
  const ends = new Set([rows[0]?.step, rows.at(-1)?.step]);
  const transcripts: Transcript[] = [];
  for (const step of ends) {
    const seen = new Set<string>();
    for (const row of rows) {
      if (row.step !== step || seen.has(row.language ?? '')) continue;
      seen.add(row.language ?? '');
      const { prompt, answer, mode, response, trace } = row;
      transcripts.push({ prompt, answer, mode, responses: [{ stage, step: row.step, response, trace }] });
    }
  }
  return transcripts;
}

function readSamples(file: string): Row[] {
  const rows: Row[] = [];
  for (const row of readRows(file)) {
    if (typeof row.prompt === 'string' && typeof row.response === 'string') rows.push(row as unknown as Row);
  }
  return rows;
}
