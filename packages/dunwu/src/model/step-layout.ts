import type { DecoderStep } from './decoder.js';
import { PAGE_TOKENS } from './paged-cache.js';

/** Neighbouring columns of `count` sequences, `time` of each: a batch that can be computed as one. */
export interface Run {
  readonly count: number;
  readonly time: number;
}

/**
 * A step as a device wants it: every shape known beforehand, all numbers in one array. Steps of equal shapes can be computed by
 * one recorded graph.
 */
export interface StepShape {
  readonly columns: number;
  readonly runs: readonly Run[];
  readonly pagesEach: number;
  /** Columns whose logits are wanted; null: all, in order. */
  readonly wanted: number | null;
}

export interface StepLayout {
  readonly shape: StepShape;
  /**
   * For each column its token (as {@link DecoderStep} has them), its position and its place in the cache (page · PAGE_TOKENS + place in the page);
   * for each sequence of each run its pages; the wanted columns.
   */
  readonly numbers: Int32Array;
}

/** What tokens, lengths and pages may be. */
export interface StepLimits {
  readonly vocabulary: number;
  /** Positions that there are rotary angles for. */
  readonly positions: number;
  /** Of the cache. */
  readonly pages: number;
  /** Draws of the step before that a token may be of: −1 − i is the i-th's. Default none. */
  readonly drawn?: number;
}

/** @throws Error when a token, a length or a page is beyond the limits: a device would read beyond its memory */
export function layOut(step: DecoderStep, limits: StepLimits): StepLayout {
  const { tokens, lengths, sequences, pages, pagesEach, wanted } = step;
  const columns = tokens.length;
  const positions = lengths.map((length) => length - 1);
  const slots = new Int32Array(columns);
  const tables: Int32Array[] = [];
  const runs: { count: number; time: number }[] = [];
  for (let first = 0; first < columns; ) {
    let next = first;
    const sequence = sequences[first] as number;
    const table = pages.subarray(sequence * pagesEach, (sequence + 1) * pagesEach);
    for (; next < columns && sequences[next] === sequence; next++) {
      check(step, next, table, limits);
      const at = positions[next] as number;
      slots[next] = (table[Math.floor(at / PAGE_TOKENS)] as number) * PAGE_TOKENS + (at % PAGE_TOKENS);
    }
    tables.push(table);
    const before = runs.at(-1);
    if (before?.time === next - first) before.count++;
    else runs.push({ count: 1, time: next - first });
    first = next;
  }
  const outside = wanted.find((column) => column < 0 || column >= columns);
  if (outside !== undefined) throw new Error(`decoder: wanted column ${outside} of ${columns}`);
  const all = wanted.length === columns && wanted.every((column, i) => column === i);
  const numbers = joined([tokens, positions, slots, ...tables, ...(all ? [] : [wanted])]);
  return { shape: { columns, runs, pagesEach, wanted: all ? null : wanted.length }, numbers };
}

/** One array after another. */
export function joined(parts: readonly ArrayLike<number>[]): Int32Array {
  const whole = new Int32Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function check({ tokens, lengths, sequences }: DecoderStep, column: number, table: Int32Array, limits: StepLimits) {
  const [token, length] = [tokens[column] as number, lengths[column] as number];
  if (token >= limits.vocabulary || token < -(limits.drawn ?? 0))
    throw new Error(`decoder: token ${token} of ${limits.vocabulary}`);
  const used = Math.ceil(length / PAGE_TOKENS);
  if (!(length >= 1 && length <= limits.positions && used <= table.length)) {
    throw new Error(
      `decoder: column ${column} has ${length} tokens; there are ${limits.positions} positions and ${table.length} pages`,
    );
  }
  const page = table.subarray(0, used).find((one) => one < 0 || one >= limits.pages);
  if (page !== undefined) {
    throw new Error(`decoder: sequence ${sequences[column]} names page ${page} of ${limits.pages}`);
  }
}
