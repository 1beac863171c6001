import type { Span, Trace } from '../reward/trace.js';

/** A range of the response that a rule read, and what came of it. */
export interface Mark {
  readonly span: Span;
  /** A step that earned points; evidence of a rule whose status is `ok`. */
  readonly good: boolean;
  /** Points of a step. */
  readonly points?: number;
}

/** One rule's marks: a layer over the response. */
export interface Layer {
  readonly rule: string;
  /** One capital letter, another one for each rule. */
  readonly letter: string;
  readonly index: number;
  readonly marks: readonly Mark[];
}

/**
 * What each rule of a trace read, in the order of the parts. A rule that judges steps is shown by them, since they say more
 * than its evidence. Marks are in order of position; empty ranges are left out.
 */
export function layersOf(trace: Trace): Layer[] {
  const letters = lettersFor(trace.parts.map(({ name }) => name));
  return trace.parts.map((part, index) => {
    const steps = (trace.steps ?? []).filter(({ rule }) => rule === part.name);
    const marks: Mark[] =
      steps.length > 0
        ? steps.map(({ span, points }) => ({ span, good: points > 0, points }))
        : part.evidence.map((span) => ({ span, good: part.status === 'ok' }));
    return {
      rule: part.name,
      letter: letters[index] ?? '?',
      index,
      marks: marks.filter(({ span: [start, end] }) => end > start).sort((a, b) => a.span[0] - b.span[0]),
    };
  });
}

const ALPHABET = [...'ABCDEFGHIJKLMNOPQRSTUVWXYZ'];

/** The first letter of each name that no earlier one has, else any that is free; beyond 26 rules `?`. */
function lettersFor(names: readonly string[]): string[] {
  const taken = new Set<string>();
  return names.map((name) => {
    const own = [...name.toUpperCase()].filter((char) => ALPHABET.includes(char));
    const letter = [...own, ...ALPHABET].find((char) => !taken.has(char)) ?? '?';
    taken.add(letter);
    return letter;
  });
}

/** A stretch of text over which no mark begins or ends, with the layers that cover it. */
export interface Segment {
  readonly start: number;
  readonly end: number;
  readonly covering: readonly { readonly layer: Layer; readonly mark: Mark }[];
}

/** The response in stretches, from its beginning to its end. Of several marks of one layer the first one counts. */
export function segmentsOf(length: number, layers: readonly Layer[]): Segment[] {
  const bounds = new Set([0, length]);
  for (const { marks } of layers) for (const { span } of marks) for (const at of span) bounds.add(at);
  const sorted = [...bounds].filter((at) => at <= length).sort((a, b) => a - b);
  const next = layers.map(() => 0);
  return sorted.slice(0, -1).map((start, i) => {
    const end = sorted[i + 1] as number;
    const covering = layers.flatMap((layer, l) => {
      // Marks are sorted by their beginning: those that ended before this stretch are done with.
      while ((layer.marks[next[l] as number]?.span[1] ?? Number.POSITIVE_INFINITY) <= start)
        next[l] = (next[l] ?? 0) + 1;
      const mark = layer.marks[next[l] as number];
      return mark !== undefined && mark.span[0] <= start ? [{ layer, mark }] : [];
    });
    return { start, end, covering };
  });
}
