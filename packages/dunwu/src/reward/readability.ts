import { repetition } from './repetition.js';
import { foreignRuns, rewardedShare } from './rules/language.js';
import type { Span } from './trace.js';

/** Longest comfortable paragraph in columns: 400 Han characters, or some 130 English words. */
export const MAX_PARAGRAPH = 800;
/** Everybody says some things twice: repetition up to this share costs nothing. */
export const FREE_REPETITION = 0.2;

/** How easy a text is to read, in four parts between 0 and 1, and the product of them. */
export interface Readability {
  readonly total: number;
  /** Share of the words in the language asked for, as the rule of language rewards it; 1 when there are no words. */
  readonly language: number;
  /** 1 while at most a fifth of the 4-grams occurred before, falling to 0 where all did. */
  readonly repetition: number;
  /** Share of the text that stands within the first {@link MAX_PARAGRAPH} columns of its paragraph. */
  readonly paragraphs: number;
  /** Share of the text that is no code. */
  readonly prose: number;
  /** What costs points, at most 64 each: foreign words, repeated passages, ends of long paragraphs, code. */
  readonly evidence: readonly Span[];
}

/** At most so many UTF-16 code units are read. */
const MAX_TEXT = 100_000;
const TAGS = /<\/?(?:think|answer)>/g;
const FENCES = /```[^`]*(?:```|$)/g;
/** A line that only a program has: it ends in ; { or }, or begins with a keyword of the usual languages. */
const CODE_LINE =
  /^[ \t]*(?:(?:def|class|function|public|private|static|const|let|var|import|from|#include|elif|else if|return)\b[^\n]{0,200}[;:{})]|[^\n]{0,200}[;{]|\}[;,)]{0,3}|print\(.{0,200}\)|[A-Za-z_]\w*\(.{0,200}\);?)[ \t]*$/;

function columns(text: string): number {
  return text.length + (text.match(/[\u2e80-\u9fff\uac00-\ud7a3\uf900-\ufaff\uff01-\uff60]/g)?.length ?? 0);
}

/** Ranges of code: fenced, or at least three lines in a row that look like code. */
function codeSpans(text: string): Span[] {
  const spans: Span[] = [...text.matchAll(FENCES)].map((match) => [match.index, match.index + match[0].length]);
  const outside = text.replace(FENCES, (fenced) => fenced.replace(/[^\n]/g, ' '));
  let start = -1;
  let lines = 0;
  let at = 0;
  const close = (end: number): void => {
    if (lines >= 3) spans.push([start, end]);
    lines = 0;
  };
  for (const line of outside.split('\n')) {
    if (line.length < 500 && CODE_LINE.test(line)) {
      if (lines === 0) start = at;
      lines++;
    } else if (line.trim() !== '') close(at);
    at += line.length + 1;
  }
  close(outside.length);
  return spans;
}

/**
 * What DeepSeek-R1 filtered out as hard to read (arXiv 2501.12948, section 2.3.3: mixed languages, long paragraphs, code
 * blocks), with endless repetition, as numbers. Null for a text that is blank. Tags are not read. Linear; never throws.
 */
export function readabilityParts(source: string, language: string): Readability | null {
  const text = source.slice(0, MAX_TEXT).replace(TAGS, (tag) => ' '.repeat(tag.length));
  const length = text.replace(/\s/g, '').length;
  if (length === 0) return null;

  const rewarded = rewardedShare(text, language);
  const share = rewarded === null ? 1 : rewarded.inside / rewarded.of;
  const evidence: Span[] = share < 1 ? foreignRuns(text, language) : [];

  const repeats = repetition(text);
  const excess = Math.max(0, repeats.share - FREE_REPETITION) / (1 - FREE_REPETITION);
  if (excess > 0) evidence.push(...repeats.spans);

  let total = 0;
  let within = 0;
  const long: Span[] = [];
  for (const { 0: paragraph, index } of text.matchAll(/[^\n]+/g)) {
    if (paragraph.trim() === '') continue;
    const width = columns(paragraph);
    total += width;
    within += Math.min(width, MAX_PARAGRAPH);
    if (width <= MAX_PARAGRAPH) continue;
    let used = 0;
    let cut = 0;
    while (used < MAX_PARAGRAPH) used += columns(paragraph.charAt(cut++));
    if (long.length < 64) long.push([index + cut, index + paragraph.length]);
  }
  evidence.push(...long);

  const code = codeSpans(text);
  const inCode = code.reduce((sum, [start, end]) => sum + text.slice(start, end).replace(/\s/g, '').length, 0);
  evidence.push(...code.slice(0, 64));

  const parts = {
    language: share,
    repetition: 1 - excess,
    paragraphs: total === 0 ? 1 : within / total,
    prose: 1 - inCode / length,
  };
  return {
    ...parts,
    total: parts.language * parts.repetition * parts.paragraphs * parts.prose,
    evidence: evidence.map(([start, end]): Span => [start, end]).sort((a, b) => a[0] - b[0] || a[1] - b[1]),
  };
}

/** {@link readabilityParts} as one number between 0 (blank, or nobody can read it) and 1. */
export function readability(text: string, language: string): number {
  return readabilityParts(text, language)?.total ?? 0;
}
