import { boxes, braceEnd } from '../util/braces.js';
import { type AnswerForm, type ExtractOptions, extractAnswer, MAX_ANSWER_TEXT } from './answer.js';
import { answerRegion, hashes, isHeading, label, marks, phrase } from './answer-markers.js';
import { answerContents, findTags } from './tags.js';
import type { Span } from './trace.js';

export type AnswerText =
  | { readonly kind: 'found'; readonly text: string; readonly form: AnswerForm; readonly span: Span }
  | { readonly kind: 'several'; readonly spans: readonly Span[]; readonly note: string }
  | { readonly kind: 'none'; readonly spans: readonly Span[]; readonly note: string };

/** More than this of a phrase's sentence is no answer but an explanation, in UTF-16 code units. */
const MAX_PHRASE = 300;

/**
 * The text of a response's final answer, whatever it says: what {@link extractAnswer} does for numbers, with the same
 * order of precedence. A tag's content counts as a whole, or the last `\boxed{…}` in it; after a phrase, the formula that
 * follows it, or the rest of its sentence; without any mark, the last formula (`$…$`, `\(…\)`, `\[…\]`), else the last
 * number. Several answer tags must say the same.
 *
 * Spans are ranges of the response. Never throws; linear; only the last {@link MAX_ANSWER_TEXT} code units are read.
 */
export function extractAnswerText(response: string, options: ExtractOptions = {}): AnswerText {
  const { requireTags = false, fallback = 'last-number' } = options;
  const cut = Math.max(0, response.length - MAX_ANSWER_TEXT);
  const tail = cut > 0 ? response.slice(cut) : response;
  const tagged = fromTags(tail, cut, requireTags);
  if (tagged) return tagged;
  if (requireTags) return { kind: 'none', spans: [], note: 'no <answer>…</answer>' };

  const { text, offset } = answerRegion(tail);
  const found = boxedOrHash(text) ?? phrased(text) ?? (fallback === 'none' ? null : lastFormula(text));
  if (found) return placed(text, found, cut + offset);
  if (fallback === 'none') return { kind: 'none', spans: [], note: 'nothing marks the answer' };
  const number = extractAnswer(response, options);
  if (number.kind !== 'found') return number;
  return { kind: 'found', text: response.slice(...number.span), form: number.form, span: number.span };
}

interface Place {
  readonly start: number;
  readonly end: number;
  readonly form: AnswerForm;
}

/** Without white space at the ends. */
function placed(text: string, { start, end, form }: Place, offset: number): AnswerText {
  const whole = text.slice(start, end);
  const from = start + (/^\s*/.exec(whole)?.[0].length ?? 0);
  const trimmed = whole.trim();
  const span: Span = [from + offset, from + trimmed.length + offset];
  if (trimmed === '') return { kind: 'none', spans: [[start + offset, end + offset]], note: 'the answer is empty' };
  return { kind: 'found', text: trimmed, form, span };
}

function fromTags(response: string, offset: number, strict: boolean): AnswerText | null {
  const tags = findTags(response);
  const { contents, unbalanced } = answerContents(tags);
  const lastOpen = tags.findLast((tag) => tag.name === '<answer>');
  if (!lastOpen) return null;
  const tagSpans = tags
    .filter((tag) => tag.name.includes('answer'))
    .slice(0, 16)
    .map((tag): Span => [tag.start + offset, tag.end + offset]);
  if (unbalanced && strict) {
    return { kind: 'none', spans: tagSpans, note: 'the answer tags are not one <answer>…</answer> pair' };
  }
  const lastClose = tags.findLast((tag) => tag.name === '</answer>');
  const regions: Span[] = [...contents];
  if (!lastClose || lastClose.start < lastOpen.start) regions.push([lastOpen.end, response.length]);
  if (regions.length > 64) return { kind: 'none', spans: tagSpans, note: 'too many answer tags' };
  const read = regions.map(([start, end]): AnswerText => {
    const part = response.slice(start, end);
    const inner = lastBox(part) ?? (strict ? oneSentence(part) : phrased(part)) ?? { start: 0, end: part.length };
    return placed(part, { start: inner.start, end: inner.end, form: 'tag' }, start + offset);
  });
  const last = read.at(-1) ?? null;
  for (const one of read) {
    if (one.kind !== 'found') return one;
    if (last?.kind === 'found' && one.text.replace(/\s/g, '') !== last.text.replace(/\s/g, '')) {
      return {
        kind: 'several',
        spans: read.flatMap((each) => (each.kind === 'found' ? [each.span] : [])).slice(0, 16),
        note: 'the answer tags hold different answers',
      };
    }
  }
  return last;
}

/** "So the answer is 3/4.", and nothing else that could be an answer. */
function oneSentence(text: string): Place | null {
  const found = phrased(text);
  if (!found || /[\d\\]/.test(text.slice(0, found.start))) return null;
  return /^[\s.。$)\]\\*]*$/.test(text.slice(found.end)) ? found : null;
}

function lastBox(text: string): Place | null {
  const box = marks(text, boxes).at(-1);
  if (!box) return null;
  const end = braceEnd(text, box.end);
  return { start: box.end, end: end < 0 ? Math.min(text.length, box.end + 200) : end, form: 'boxed' };
}

function boxedOrHash(text: string): Place | null {
  const box = lastBox(text);
  const hash = marks(text, hashes).findLast((mark) => !isHeading(text, mark.end));
  if (!hash || (box && box.start > hash.at)) return box;
  const line = text.indexOf('\n', hash.end);
  return { start: hash.end, end: line < 0 ? text.length : line, form: 'hash' };
}

const opening = /[\s*_:：]{0,8}(\$\$?|\\\(|\\\[)/y;
const FENCES: Readonly<Record<string, string>> = { $: '$', $$: '$$', '\\(': '\\)', '\\[': '\\]' };

/** The formula whose fence opens at `at`, white space and markdown before it passed over. */
function formulaAt(text: string, at: number): { start: number; end: number } | null {
  opening.lastIndex = at;
  const match = opening.exec(text);
  const fence = FENCES[match?.[1] ?? ''];
  if (!match || fence === undefined) return null;
  const start = at + match[0].length;
  const end = text.indexOf(fence, start);
  // "$18 and then $5": money, not a formula.
  if (end < 0 || end - start > 1000 || (fence === '$' && /^\d[\d,.]*(?:\s[A-Za-z]{2}|$)/.test(text.slice(start, end))))
    return null;
  return { start, end };
}

/** After "the answer is", "答案是", "A:": a formula, or the rest of the sentence. */
function phrased(text: string): Place | null {
  const all = [...marks(text, phrase), ...marks(text, label)].sort((a, b) => a.end - b.end).slice(-64);
  for (const mark of all.reverse()) {
    const formula = formulaAt(text, mark.end);
    if (formula) return { ...formula, form: 'phrase' };
    const begin = mark.end + (/^[\s*_]*/.exec(text.slice(mark.end, mark.end + 40))?.[0].length ?? 0);
    const rest = /^[^\n。！？?]*?(?=\.?(?:\s*$|\s*\n)|\.\s|[。！？?]|$)/.exec(
      text.slice(begin, begin + MAX_PHRASE + 1),
    );
    const length = rest?.[0].length ?? 0;
    if (length > 0 && length <= MAX_PHRASE) return { start: begin, end: begin + length, form: 'phrase' };
  }
  return null;
}

const formulas = /\$\$([^$]{1,1000})\$\$|\$([^$\n]{1,500})\$|\\\(([\s\S]{1,500}?)\\\)|\\\[([\s\S]{1,1000}?)\\\]/g;

function lastFormula(text: string): Place | null {
  // The end of a response is enough: further back stands the calculation.
  const from = Math.max(0, text.length - 4000);
  const last = [...text.slice(from).matchAll(formulas)].at(-1);
  const inner = last?.slice(1).find((group) => group !== undefined);
  if (last === undefined || inner === undefined) return null;
  const start = from + last.index + last[0].indexOf(inner);
  return { start, end: start + inner.length, form: 'last-number' };
}
