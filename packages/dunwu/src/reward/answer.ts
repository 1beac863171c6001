import { boxes, braceEnd } from '../util/braces.js';
import { answerRegion, hashes, heading, isHeading, label, marks, phrase } from './answer-markers.js';
import { type Folded, fold, originSpan } from './fold.js';
import { answerWordAt, type NumberToken, readNumber, sameNumber, scanNumbers } from './number.js';
import { joinSpoken } from './spoken-number.js';
import { answerContents, findTags } from './tags.js';
import type { Span } from './trace.js';

/** What pointed at the answer, from the most to the least explicit: {@link extractAnswer} has the order of precedence. */
export type AnswerForm = 'tag' | 'boxed' | 'hash' | 'phrase' | 'last-number';

export type Extraction =
  | { readonly kind: 'found'; readonly number: NumberToken; readonly form: AnswerForm; readonly span: Span }
  /** More than one answer is offered where one is asked for: choosing among them would reward a guess list. */
  | { readonly kind: 'several'; readonly form: AnswerForm; readonly spans: readonly Span[]; readonly note: string }
  | { readonly kind: 'none'; readonly spans: readonly Span[]; readonly note: string };

export interface ExtractOptions {
  /** Only a well-formed <answer>…</answer> counts (training); otherwise any form does (scoring other models' outputs). */
  readonly requireTags?: boolean;
  /** What to do when nothing marks the answer: the last number of the last sentence that has one, or give up. */
  readonly fallback?: 'last-number' | 'none';
}

/** Only this much of the end of a response is read, in UTF-16 code units: the final answer is at the end. */
export const MAX_ANSWER_TEXT = 100_000;

/**
 * Reads a gold answer strictly. GSM8K's shape is understood ("rationale\n#### 18": what follows the last ####); otherwise
 * the whole text must be one number with at most a unit ("18", "$1,080", "3/4", "40%", "18元"). Null when it is not:
 * the caller reports `bad-gold` and does not blame the response.
 */
export function parseGold(answer: string): NumberToken | null {
  const hash = answer.lastIndexOf('####');
  return readNumber(hash < 0 ? answer : answer.slice(hash + 4));
}

interface View {
  readonly folded: Folded;
  readonly text: string;
  readonly numbers: readonly NumberToken[];
  /** Added to every source index. */
  readonly offset: number;
}

function view(source: string, offset: number): View {
  const folded = fold(source);
  return { folded, text: folded.text, numbers: joinSpoken(folded.text, scanNumbers(folded.text)), offset };
}

function spanOf(v: View, start: number, end: number): Span {
  const [from, to] = originSpan(v.folded, start, end);
  return [from + v.offset, to + v.offset];
}

function found(v: View, number: NumberToken, form: AnswerForm): Extraction {
  return { kind: 'found', number, form, span: spanOf(v, number.start, number.end) };
}

function within(v: View, start: number, end: number): NumberToken[] {
  // Numbers are sorted: find the first by bisection, so that many markers stay cheap.
  let low = 0;
  let high = v.numbers.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((v.numbers[middle]?.start ?? 0) < start) low = middle + 1;
    else high = middle;
  }
  const inside: NumberToken[] = [];
  for (let i = low; i < v.numbers.length; i++) {
    const number = v.numbers[i];
    if (!number || number.end > end) break;
    inside.push(number);
  }
  return inside;
}

/** Decoration that may stand between a marker and its number: space, markdown, LaTeX fences, "about", "x =". */
const decoration =
  /(?:[\s*_$`([{~≈=:：>]|\\[([\]$,;! ]|\\(?:boxed|text|mathbf|textbf|mathrm|quad|approx|bf)\b|(?:approximately|about|around|roughly|exactly|simply|just|only|a total of|equal to|therefore|约为|大约|约|共|是|为)(?=[^A-Za-z])|[A-Za-z] ?(?==)){0,24}/iy;

function skipDecoration(text: string, at: number): number {
  decoration.lastIndex = at;
  return at + (decoration.exec(text)?.[0].length ?? 0);
}

const anotherFollows =
  /^\s*(?:[A-Za-z\u4e00-\u9fff°]{1,15}\s+){0,2}(?:[A-Za-z\u4e00-\u9fff]{1,4})?\s?(?:[-~～]|to\b|or\b|或者?|至|到)\s*\$?$/;
const operatorFollows = /^\s*(?:[A-Za-z\u4e00-\u9fff]{1,15}\s*){0,3}(?:[-+*/×÷xX·]|\\times|\\div|\\cdot)\s*[$(\\¥]*$/;

/** End of the sentence that holds `at`: line end or a full stop that ends no abbreviation of a decimal. */
function sentenceEnd(text: string, at: number): number {
  const stop = /\n|[。！？；!?]|\.(?=\s|$)/g;
  stop.lastIndex = at;
  return stop.exec(text)?.index ?? text.length;
}

/** The number that stands right at `at`; then the rest of an equation ("9 * 2 = 18"), a range or an alternative. */
function readDirect(v: View, at: number, form: AnswerForm): Extraction | null {
  const start = skipDecoration(v.text, at);
  // A sign or a currency may have been skipped as decoration: any number that begins between counts as direct.
  const [first] = within(v, at, Math.min(v.text.length, start + 400));
  if (!first || first.start > start) {
    const words = answerWordAt(v.text, start);
    // "一共…", "三角形": a lone Chinese numeral glued to a word is no answer.
    if (
      !words ||
      !/^(?:$|[\s.,。，!！)）*$}\\]|[\u4e00-\u9fff]{1,3}(?:$|[\s.,。，!！)）]))/.test(
        v.text.slice(words.end, words.end + 6),
      )
    ) {
      return null;
    }
    return found(v, words, form);
  }
  if (isListLabel(v.text, first)) return null;
  const end = sentenceEnd(v.text, first.end);
  const rest = within(v, first.end, end);
  const next = rest[0];
  if (next) {
    const between = v.text.slice(first.end, next.start);
    const joined = next.start > 0 && /^-/.test(v.text.slice(next.start, next.end)) ? `${between}-` : between;
    const equals = Math.max(v.text.lastIndexOf('=', end - 1), v.text.lastIndexOf('≈', end - 1));
    const calculates = operatorFollows.test(joined);
    const result = calculates && equals > first.end ? rest.find((number) => number.start > equals) : undefined;
    if (result) return found(v, result, form);
    if (anotherFollows.test(between) && !sameNumber(first, next) && !restated(v.text, first, next)) {
      return {
        kind: 'several',
        form,
        spans: [spanOf(v, first.start, first.end), spanOf(v, next.start, next.end)],
        note: 'offers several different answers',
      };
    }
    if (calculates) {
      return {
        kind: 'none',
        spans: [spanOf(v, first.start, next.end)],
        note: 'the answer is a calculation without its result',
      };
    }
  }
  return found(v, first, form);
}

/** "160 minutes or 2.67 hours": the same answer in another unit, where "18 or 20 apples" are two answers. */
function restated(text: string, first: NumberToken, next: NumberToken): boolean {
  const unit = /^\s?([A-Za-z]+|[\u4e00-\u9fff]{1,2})/;
  const one = unit.exec(text.slice(first.end, first.end + 24))?.[1];
  const other = unit.exec(text.slice(next.end, next.end + 24))?.[1];
  if (one === undefined || other === undefined || /^(?:or|to|或|到|至)/.test(one)) return false;
  return one !== other && /\bor\b|或/.test(text.slice(first.end, next.start));
}

/** "1. First, …" or "2) …" at the start of a line: a list, not an answer. */
function isListLabel(text: string, number: NumberToken): boolean {
  if (number.form !== 'decimal' || number.decimals !== 0 || number.end - number.start > 2) return false;
  if (!/^(?:[.)、:：]\s*|\.\s*\*\*\s*)[\p{L}*$\\([]/u.test(text.slice(number.end, number.end + 8))) return false;
  return /(?:^|\n)[\s#>*_-]*$/.test(text.slice(Math.max(0, number.start - 12), number.start));
}

/** What a sentence concludes: its only bold number, what its last '=' gives, what was last computed, or its last number. */
function conclude(v: View, start: number, sentenceEnd: number): NumberToken | null {
  const [first] = within(v, start, sentenceEnd);
  // "She gets $18 because she sells more than 5": the conclusion stands before its reason.
  const reason = first ? REASON.exec(v.text.slice(first.end, sentenceEnd)) : null;
  const end = first && reason ? first.end + reason.index : sentenceEnd;
  const chosen = concludeClause(v, start, end);
  // "= 0.60, or 60%": the same number again, in the form that can be compared both ways.
  const again = chosen ? within(v, chosen.end, end)[0] : undefined;
  return chosen && again?.percent && sameNumber(chosen, again) ? again : chosen;
}

const REASON = /\b(?:because|since)\b|因为/i;

function concludeClause(v: View, start: number, end: number): NumberToken | null {
  const numbers = within(v, start, end).slice(-64);
  const last = numbers.at(-1);
  if (!last || numbers.length === 1) return last ?? null;
  const bold = numbers.filter(
    (number) =>
      /\*\*[^*\n]{0,40}$/.test(v.text.slice(Math.max(start, number.start - 42), number.start)) &&
      isBold(v.text, start, number),
  );
  if (bold.length === 1 && bold[0]) return bold[0];
  const afterEquals = lastResult(v, start, end);
  if (afterEquals) return afterEquals;
  const computed = lastResult(v, 0, start);
  const repeated = computed ? numbers.findLast((number) => sameNumber(computed, number)) : undefined;
  return repeated ?? last;
}

function isBold(text: string, start: number, number: NumberToken): boolean {
  let marks = 0;
  for (let at = text.indexOf('**', start); at >= 0 && at < number.start; at = text.indexOf('**', at + 2)) marks++;
  return marks % 2 === 1;
}

/** The number right after the last '=' (or '≈', or an annotation's '>>') of a range. */
function lastResult(v: View, start: number, end: number): NumberToken | null {
  const numbers = within(v, start, end).slice(-1000);
  for (let i = numbers.length - 1; i >= 0; i--) {
    const number = numbers[i];
    if (
      number &&
      /[=≈][\s$*\\([{¥]*(?:<<.{0,80}>>)?[\s$¥]*$/.test(v.text.slice(Math.max(start, number.start - 100), number.start))
    ) {
      return number;
    }
  }
  return null;
}

/** The sentence that holds the last number of a range. */
function lastSentence(v: View, end: number): Span | null {
  const last = within(v, 0, end).at(-1);
  if (!last) return null;
  const before = v.text.slice(0, last.start);
  let start = 0;
  const window = before.slice(-600);
  const stop = /\n|[。！？；!?]|[^\d\s]\.(?=\s)|\d\.(?=\s+[A-Z])/g;
  for (let match = stop.exec(window); match; match = stop.exec(window)) {
    start = before.length - window.length + match.index + match[0].length;
  }
  return [start, Math.max(last.end, sentenceEnd(v.text, last.end))];
}

/** Reads text that should hold one answer: one number, or the same one several times, or one equation with its result. */
function readOnly(v: View, start: number, end: number, form: AnswerForm): Extraction {
  const numbers = within(v, start, end);
  const [first] = numbers;
  const whole = spanOf(v, start, end);
  if (!first) {
    const words = answerWordAt(v.text, skipDecoration(v.text, start));
    if (words && words.end <= end && !/[\p{L}]{5}/u.test(v.text.slice(words.end, end))) return found(v, words, form);
    return { kind: 'none', spans: [whole], note: `${form === 'tag' ? 'the answer tag' : 'the box'} holds no number` };
  }
  // Digits that could not be read (too long, part of a name) next to a readable number: refuse to choose.
  if (numbers.every((number) => sameNumber(first, number) || sameNumber(number, first))) return found(v, first, form);
  const equals = v.text.slice(start, end).split(/[=≈]/);
  if (equals.length >= 2) {
    const last = numbers.at(-1);
    const resultAt = start + v.text.slice(start, end).search(/[=≈][^=≈]*$/);
    const after = numbers.filter((number) => number.start > resultAt);
    const left = v.text.slice(start, resultAt);
    // One calculation and its result: only operators, brackets and units to the left of '='.
    if (
      last &&
      after.length === 1 &&
      /[-+*/×÷x·^%]|\\(?:times|div|cdot|d?frac)/.test(left) &&
      !/[,，、;；\n]\s|或|\bor\b/.test(left)
    ) {
      return found(v, last, form);
    }
  }
  return {
    kind: 'several',
    form,
    spans: numbers.slice(0, 16).map((number) => spanOf(v, number.start, number.end)),
    note: `${form === 'tag' ? 'the answer tag' : 'the box'} holds several different numbers`,
  };
}

function fromTags(response: string, offset: number, strict: boolean): Extraction | null {
  const tags = findTags(response);
  const { contents, unbalanced } = answerContents(tags);
  const opens = tags.filter((tag) => tag.name === '<answer>');
  const lastOpen = opens.at(-1);
  if (!lastOpen) return null;
  const tagSpans = tags
    .filter((tag) => tag.name.includes('answer'))
    .map((tag): Span => [tag.start + offset, tag.end + offset]);
  if (unbalanced && strict) {
    return { kind: 'none', spans: tagSpans.slice(0, 16), note: 'the answer tags are not one <answer>…</answer> pair' };
  }
  const lastClose = tags.findLast((tag) => tag.name === '</answer>');
  const regions: Span[] = [...contents];
  if (!lastClose || lastClose.start < lastOpen.start) regions.push([lastOpen.end, response.length]);
  const read = regions.slice(0, 64).map(([start, end]) => {
    const part = view(response.slice(start, end).slice(0, 10_000), start + offset);
    return readTag(part, strict);
  });
  const last = read.at(-1);
  if (!last || regions.length > 64) {
    return { kind: 'none', spans: tagSpans.slice(0, 16), note: 'too many answer tags' };
  }
  for (const extraction of read) {
    if (extraction.kind !== 'found') return extraction;
    if (last.kind === 'found' && !sameNumber(last.number, extraction.number)) {
      return {
        kind: 'several',
        form: 'tag',
        spans: read.flatMap((one) => (one.kind === 'found' ? [one.span] : [])).slice(0, 16),
        note: 'the answer tags hold different numbers',
      };
    }
  }
  return last;
}

function readTag(v: View, strict: boolean): Extraction {
  const only = readOnly(v, 0, v.text.length, 'tag');
  if (strict) return only.kind === 'found' ? (disguised(v, only.number) ?? only) : only;
  if (only.kind !== 'several') return only;
  // Other models put a whole sentence into the tag; a marker inside it says which number is meant.
  const inner = strongest(v) ?? weakest(v, 'phrase-only');
  return inner?.kind === 'found' ? { ...inner, form: 'tag' } : only;
}

const LONE_HAN = /^[零一二两三四五六七八九十]$/;
const OTHER_WRITING = /[A-Za-z]+|[零一二两三四五六七八九十百千万亿]+|(?![0-9])\p{Nd}+|[①-⒛]/gu;

/**
 * A second answer beside a number, written so that no digit shows it: "63 or sixty-four", "63，六十四", "63 ٦٤". "One" and
 * a numeral that is part of a word (一共) are none.
 */
function disguised(v: View, first: NumberToken): Extraction | null {
  let read = 0;
  for (const { 0: run, index } of v.text.matchAll(OTHER_WRITING)) {
    if (index < read || (index >= first.start && index < first.end)) continue;
    let end = index + run.length;
    if (/^[A-Za-z\p{Script=Han}]/u.test(run)) {
      const glued = /\p{Script=Han}/u.test(`${v.text.charAt(index - 1)}${v.text.charAt(end)}`.replace(/[或和]/g, ''));
      const number = LONE_HAN.test(run) && glued ? null : answerWordAt(v.text, index);
      read = number?.end ?? 0;
      if (number === null || sameNumber(first, number) || sameNumber(number, first) || /^one$/i.test(run)) continue;
      end = number.end;
    }
    return {
      kind: 'several',
      form: 'tag',
      spans: [spanOf(v, first.start, first.end), spanOf(v, index, end)],
      note: 'the answer tag holds another number in other writing',
    };
  }
  return null;
}

/** The last readable \boxed{…} or #### of a text, whichever comes later. */
function strongest(v: View): Extraction | null {
  const box = marks(v.text, boxes).at(-1);
  const hash = marks(v.text, hashes)
    .slice(-32)
    .findLast((mark) => {
      const direct = readDirect(v, mark.end, 'hash');
      return direct !== null && !isHeading(v.text, mark.end);
    });
  if (box && (!hash || box.at > hash.at)) {
    const end = braceEnd(v.text, box.end);
    return readOnly(v, box.end, end < 0 ? Math.min(v.text.length, box.end + 200) : end, 'boxed');
  }
  return hash ? readDirect(v, hash.end, 'hash') : null;
}

function weakest(v: View, mode: 'all' | 'phrase-only'): Extraction | null {
  const phrases = marks(v.text, phrase).map((mark) => ({ ...mark, kind: 'phrase' as const }));
  const labels = mode === 'all' ? marks(v.text, label).map((mark) => ({ ...mark, kind: 'label' as const })) : [];
  const headings = mode === 'all' ? marks(v.text, heading).map((mark) => ({ ...mark, kind: 'label' as const })) : [];
  const all = [...phrases, ...labels, ...headings].sort((a, b) => a.end - b.end).slice(-64);
  for (const mark of all.reverse()) {
    const direct = readDirect(v, mark.end, 'phrase');
    if (direct) return direct;
    // "Answer: She sells 9 eggs for $18." Its sentence holds the answer, unless the label only opens the whole solution.
    const begin = mark.end + (/^\s*/.exec(v.text.slice(mark.end, mark.end + 40))?.[0].length ?? 0);
    const lineEnd = v.text.indexOf('\n', begin);
    const stop = lineEnd < 0 ? v.text.length : lineEnd;
    const opensSolution = within(v, stop, v.text.length).length > 0;
    const isLabel = mark.kind === 'label' || /[:：][*_\s]*$/.test(v.text.slice(mark.at, mark.end));
    if (isLabel && opensSolution) continue;
    // "Each correct answer is worth 5 points" in the middle of a solution says nothing of its result.
    const sentenceStop = sentenceEnd(v.text, begin);
    if (!isLabel && within(v, sentenceStop, v.text.length).length > 0) continue;
    if (isLabel) {
      const sentence = lastSentence(v, stop);
      const number = sentence && sentence[1] > begin ? conclude(v, Math.max(begin, sentence[0]), sentence[1]) : null;
      if (number) return found(v, number, 'phrase');
      continue;
    }
    const number = conclude(v, begin, sentenceStop);
    if (number) return found(v, number, 'phrase');
  }
  return null;
}

/**
 * The final answer of a response. Order of precedence, pinned:
 *
 * 1. `<answer>…</answer>`, anywhere. All of them must agree and each must hold one answer, otherwise `several`.
 *    With `requireTags` nothing else counts, the tags must be balanced and not nested, and a second number in words or in
 *    the digits of another script counts as another answer.
 *
 * The other forms are looked for after the last `</think>` when something is written there, and not in a further question
 * that the model invents after its answer ("Question: …", "问题：…"):
 *
 * 2. the last `\boxed{…}` or `#### 18`, whichever comes later; a box must hold one answer; `#### 1. Title` is a heading;
 * 3. the last phrase or label: "The answer is 18", "Answer: 18", "A: 18", "答案是18", "答案：18", "答：一共18个". A number right
 *    after it counts (also the result of an equation there); else what its sentence concludes;
 * 4. unless `fallback` is 'none': what the last sentence with a number concludes: its only bold number, what follows its
 *    last '=', the number in it that the last equation computed, or its last number.
 *
 * Spans are ranges of the response. Never throws; linear; only the last {@link MAX_ANSWER_TEXT} code units are read.
 */
export function extractAnswer(response: string, options: ExtractOptions = {}): Extraction {
  const { requireTags = false, fallback = 'last-number' } = options;
  const cut = Math.max(0, response.length - MAX_ANSWER_TEXT);
  const tail = cut > 0 ? response.slice(cut) : response;
  const tagged = fromTags(tail, cut, requireTags);
  if (tagged) return tagged;
  if (requireTags) return { kind: 'none', spans: [], note: 'no <answer>…</answer>' };

  const { text, offset } = answerRegion(tail);
  const v = view(text, cut + offset);
  const explicit = strongest(v) ?? weakest(v, 'all');
  if (explicit) return explicit;
  if (fallback === 'none') return { kind: 'none', spans: [], note: 'nothing marks the answer' };
  const sentence = lastSentence(v, v.text.length);
  const number = sentence ? conclude(v, sentence[0], sentence[1]) : null;
  return number ? found(v, number, 'last-number') : { kind: 'none', spans: [], note: 'no number' };
}
