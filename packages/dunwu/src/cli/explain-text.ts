import { textTable } from '../util/text-table.js';
import { textWidth } from '../util/text-width.js';
import { plainVisible } from '../util/visible.js';
import { explanationOf, placeLine } from './explain-lines.js';
import { type Layer, layersOf, type Mark } from './explain-marks.js';
import type { ExplainedSample } from './explain-sample.js';
import { EXPLAIN_WORDS, type ExplainLanguage } from './explain-words.js';

export interface TextOptions {
  /** Columns of the terminal. */
  readonly width: number;
  readonly colour: boolean;
  readonly language: ExplainLanguage;
  readonly fresh?: boolean;
}

/** Of the 16 colours every terminal has, those that are read on light and on dark: green, blue, magenta, cyan, yellow, red. */
const COLOURS = [32, 34, 35, 36, 33, 31, 92, 94, 95, 96];

/** A sample as text: prompt, response with a line of marks for each rule that read something in it, tables, the sum. */
export function explainText(sample: ExplainedSample, options: TextOptions): string {
  const words = EXPLAIN_WORDS[options.language];
  const layers = layersOf(sample.trace);
  const { rules, steps, sum, context } = explanationOf(sample, layers, options.language, options.fresh);
  const paint = (text: string, index: number): string =>
    options.colour ? `\u001b[${COLOURS[index % COLOURS.length]}m${text}\u001b[0m` : text;
  const bold = (text: string): string => (options.colour ? `\u001b[1m${text}\u001b[0m` : text);
  const colon = options.language === 'zh' ? '：' : ': ';

  const blocks = [placeLine(sample, options.language), `${bold(words.prompt)}\n${indented(sample.prompt)}`];
  if (sample.answer !== undefined) blocks.push(`${words.gold}${colon}${indented(sample.answer).trim()}`);
  blocks.push(`${bold(words.response)}\n${markedResponse(sample.response, layers, options.width, paint, words.empty)}`);
  const first = layers.find(({ marks }) => marks.length > 0);
  if (first !== undefined) blocks.push(words.legend(first.letter.repeat(3), first.letter.toLowerCase().repeat(3)));
  const table = rules.length === 0 ? [words.noParts] : aligned([words.head, ...rules], [2, 3, 4]);
  blocks.push(
    `${bold(words.points)}\n${paintRows(
      table,
      rules.map((_, i) => i),
      paint,
    )}`,
  );
  if (steps.length > 0) {
    const index = new Map(layers.map((layer) => [layer.rule, layer.index]));
    const rows = steps.map(([letter = '', rule = '', points = '', advantage = '', text = '']) =>
      steps.some((row) => row[3] !== '') ? [letter, rule, points, advantage, text] : [letter, rule, points, text],
    );
    const head = rows[0]?.length === 5 ? words.stepHead : words.stepHead.filter((_, i) => i !== 3);
    const lines = aligned([head, ...rows], head.length === 5 ? [2, 3] : [2]);
    blocks.push(
      `${bold(words.steps)}\n${paintRows(
        lines,
        steps.map((row) => index.get(row[1] ?? '') ?? 0),
        paint,
      )}`,
    );
  }
  blocks.push(sum);
  if (context.length > 0) blocks.push(context.map(([name, text]) => plainVisible(`${name}${colon}${text}`)).join('\n'));
  return blocks.join('\n\n');
}

function indented(text: string): string {
  return plainVisible(text)
    .split('\n')
    .map((line) => `  ${line}`)
    .join('\n');
}

/** Colours the first cell of each row but the first one, which is the head. */
function paintRows(
  lines: readonly string[],
  indices: readonly number[],
  paint: (text: string, i: number) => string,
): string {
  return lines
    .map((line, row) => {
      const cell = row === 0 ? undefined : /^\S+/.exec(line)?.[0];
      return `  ${cell === undefined ? line : paint(cell, indices[row - 1] ?? 0) + line.slice(cell.length)}`;
    })
    .join('\n');
}

/** Rows with their cells under each other; the columns in `right` end together. */
function aligned(rows: readonly (readonly string[])[], right: readonly number[]): string[] {
  const cells = rows.map((row) => row.map((cell) => plainVisible(cell.replace(/\s+/g, ' '))));
  return textTable(cells, (column) => !right.includes(column));
}

/** One character as it is shown, with its place in the response. */
interface Cell {
  readonly text: string;
  readonly width: number;
  readonly start: number;
  readonly end: number;
}

const segmenter = new Intl.Segmenter(undefined, { granularity: 'grapheme' });

/** Clusters of a text. In short pieces: the segmenter's time grows with the square of what it is given at once. */
function* clusters(text: string): Generator<{ segment: string; index: number }> {
  for (const { 0: piece, index } of text.matchAll(/\r?\n|[\x20-\x7e]|[^\x20-\x7e\n]{1,64}/gu)) {
    if (piece.length === 1 || piece === '\r\n') yield { segment: piece, index };
    else for (const part of segmenter.segment(piece)) yield { segment: part.segment, index: index + part.index };
  }
}

/** Lines of cells: broken where the text is, and where the width ends. */
function cellLines(response: string, width: number): Cell[][] {
  const lines: Cell[][] = [[]];
  let used = 0;
  const put = (text: string, start: number, end: number): void => {
    const shown = plainVisible(text);
    const columns = textWidth(shown);
    if (used + columns > width && used > 0) {
      lines.push([]);
      used = 0;
    }
    lines.at(-1)?.push({ text: shown, width: columns, start, end });
    used += columns;
  };
  for (const { segment, index } of clusters(response)) {
    if (segment === '\n' || segment === '\r\n') {
      if (segment.length === 2) put('\r', index, index + 1);
      lines.push([]);
      used = 0;
      continue;
    }
    // What is written out is longer than a cluster, and several of them may hang on one letter.
    if (plainVisible(segment) === segment) put(segment, index, index + segment.length);
    else {
      let at = index;
      for (const char of segment) {
        put(char, at, at + char.length);
        at += char.length;
      }
    }
  }
  return lines;
}

/** Under each line of the response a line of letters for each rule that read something there. */
function markedResponse(
  response: string,
  layers: readonly Layer[],
  width: number,
  paint: (text: string, index: number) => string,
  empty: string,
): string {
  if (response === '') return `  ${empty}`;
  const next = layers.map(() => 0);
  const lines: string[] = [];
  for (const cells of cellLines(response, Math.max(20, width - 2))) {
    const covered = cells.map((cell) => layers.map((layer, l) => markAt(layer, cell, next, l)));
    lines.push(
      `  ${cells.map((cell, i) => painted(cell.text, layers, covered[i] ?? [], paint)).join('')}`.replace(/ +$/, ''),
    );
    for (const [l, layer] of layers.entries()) {
      const marks = cells.map((cell, i) => {
        const mark = covered[i]?.[l];
        if (mark === undefined) return ' '.repeat(cell.width);
        return (mark.good ? layer.letter : layer.letter.toLowerCase()).repeat(cell.width);
      });
      const text = marks.join('').trimEnd();
      if (text !== '') lines.push(`  ${paint(text, layer.index)}`);
    }
  }
  return lines.join('\n');
}

/** The mark of a layer over a cell. Cells come in order, so each layer is gone through once. */
function markAt(layer: Layer, cell: Cell, next: number[], l: number): Mark | undefined {
  while ((layer.marks[next[l] as number]?.span[1] ?? Number.POSITIVE_INFINITY) <= cell.start)
    next[l] = (next[l] ?? 0) + 1;
  const mark = layer.marks[next[l] as number];
  return mark !== undefined && mark.span[0] < cell.end ? mark : undefined;
}

/** In the colour of the rule that read the least around it: what a rule says of a word goes before what one says of all. */
function painted(
  text: string,
  layers: readonly Layer[],
  marks: readonly (Mark | undefined)[],
  paint: (text: string, index: number) => string,
): string {
  let best: { index: number; size: number } | undefined;
  for (const [l, mark] of marks.entries()) {
    const size = mark === undefined ? Number.POSITIVE_INFINITY : mark.span[1] - mark.span[0];
    if (mark !== undefined && (best === undefined || size < best.size)) best = { index: layers[l]?.index ?? 0, size };
  }
  return best === undefined ? text : paint(text, best.index);
}
