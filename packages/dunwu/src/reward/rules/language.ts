import { z } from 'zod';
import { identifyLanguage, isLanguage, LANGUAGES, MIN_UNSPACED } from '../../text/identify.js';
import { chainOfThought } from '../tags.js';
import type { Rule, RuleResult, Span } from '../trace.js';
import { type Word, wordsOf } from '../words.js';

/** Scripts of the languages that are written in several, by ISO 15924 code. */
const SCRIPTS: Readonly<Record<string, readonly string[]>> = {
  Hans: ['Han'],
  Hant: ['Han'],
  Jpan: ['Han', 'Hira', 'Kana'],
  Kore: ['Hang'],
};

const scriptTests = new Map<string, RegExp>();

/** Whether a word begins with a letter of a script that `language` (ISO 639-1) is written in. */
function scriptTest(language: string): RegExp {
  let test = scriptTests.get(language);
  if (test === undefined) {
    let script = 'Latn';
    try {
      script = new Intl.Locale(language).maximize().script ?? 'Latn';
      const names = SCRIPTS[script] ?? [script];
      test = new RegExp(`^[${names.map((name) => `\\p{Script=${name}}`).join('')}]`, 'u');
    } catch {
      // No code of a language: by Latin letters, as most are.
      test = /^\p{Script=Latin}/u;
    }
    scriptTests.set(language, test);
  }
  return test;
}

const shared = new Map<string, boolean>();

/** Whether the library is asked: for the languages it knows but en and zh, where another one has the same letters. */
function needsLibrary(language: string): boolean {
  if (language === 'en' || language === 'zh' || !isLanguage(language)) return false;
  let needed = shared.get(language);
  if (needed === undefined) {
    const script = (code: string): string | undefined => new Intl.Locale(code).maximize().script;
    needed = language === 'ja' || LANGUAGES.some((other) => other !== language && script(other) === script(language));
    shared.set(language, needed);
  }
  return needed;
}

/** Where a clause ends. Pieces that are too short to be told are put together again. */
const CLAUSE_END = /[.,;:!?…\n。，、；：！？؟؛،۔।]/;
/** A piece has at most so many words, so that one long line cannot hide a change of language. */
const MAX_PIECE = 40;
/** Pieces that stay unclear together are given up at so many characters. */
const MAX_UNCLEAR = 320;

/** Sets `own` to false for the words in the script of `language` that stand in a piece of another language. */
function judgePieces(text: string, words: readonly Word[], own: boolean[], language: string): void {
  let unclear: number[] = [];
  let unclearText = '';
  let judgedLength = 0;
  const forget = (): void => {
    unclear = [];
    unclearText = '';
    judgedLength = 0;
  };
  /** Whether the piece is told; the words of one in another language are marked. */
  const judge = (indices: readonly number[], piece: string): boolean => {
    const told = identifyLanguage(piece);
    if (told !== null && told !== language) for (const i of indices) own[i] = false;
    return told !== null;
  };
  let piece: number[] = [];
  let pieceText = '';
  const close = (): void => {
    if (piece.length === 0) return;
    if (judge(piece, pieceText)) forget();
    else {
      unclear.push(...piece);
      unclearText += ` ${pieceText}`;
      // Only when it has grown by enough to matter: the time stays linear.
      if (unclear.length > piece.length && unclearText.length - judgedLength >= MIN_UNSPACED) {
        judgedLength = unclearText.length;
        if (judge(unclear, unclearText) || unclearText.length > MAX_UNCLEAR) forget();
      }
    }
    piece = [];
    pieceText = '';
  };
  let last = 0;
  for (const [i, word] of words.entries()) {
    const gap = text.slice(last, word.start);
    last = word.end;
    if (piece.length >= MAX_PIECE || CLAUSE_END.test(gap)) close();
    if (!own[i]) continue;
    if (gap !== '' && piece.length > 0) pieceText += ' ';
    pieceText += word.text;
    piece.push(i);
  }
  close();
}

interface Sorted {
  readonly words: readonly Word[];
  readonly own: readonly boolean[];
}

/** The last texts that the library judged: rules, readability and measures ask about the same thought. */
const judged = new Map<string, Sorted>();
const MAX_JUDGED = 16;

/** The words, and which of them are in the language. */
function sorted(text: string, language: string): Sorted {
  const library = needsLibrary(language);
  const key = `${language}:${text}`;
  const before = library ? judged.get(key) : undefined;
  if (before !== undefined) return before;
  const words = wordsOf(text);
  const script = scriptTest(language);
  const own = words.map((word) => script.test(word.text));
  if (library) {
    judgePieces(text, words, own, language);
    if (judged.size >= MAX_JUDGED) judged.delete(judged.keys().next().value as string);
    judged.set(key, { words, own });
  }
  return { words, own };
}

/**
 * Share of the words of `text` that are in `language` (DeepSeek-R1, arXiv 2501.12948, section 2.3.2: words in the target
 * language / all words); null when there are no words.
 *
 * For en and zh by script: a run of Latin letters is one English word, one Han
 * character is one Chinese word. Characters and not segmented words, because a segmenter's dictionary would make the
 * reward depend on its version; an English sentence has about as many words as its Chinese translation has characters
 * (1 : 1.5), so a half-and-half text scores near one half in both languages.
 *
 * For a language that shares its letters with others (fr, es, ru, ar, ja …) a word must have these letters, and stand in
 * a piece of the text (clauses, put together until they can be told) that `eld` does not reliably take for another
 * language; what it cannot tell counts by script, as do languages that it does not know ({@link LANGUAGES}). Numbers, formulas, tags, code, units behind
 * a number and single letters are not counted (words.ts).
 */
export function languageConsistency(text: string, language: string): number | null {
  const { words, own } = sorted(text, language);
  if (words.length === 0) return null;
  return own.filter(Boolean).length / words.length;
}

/** Whether a text mixes Chinese and English: each has at least `share` of the words (default: one in twenty). */
export function mixesLanguages(text: string, share = 0.05): boolean {
  const english = languageConsistency(text, 'en');
  return english !== null && english >= share && 1 - english >= share;
}

/** The runs of words that are not in `language`, at most 64. */
export function foreignRuns(text: string, language: string): Span[] {
  const { words, own } = sorted(text, language);
  const runs: [number, number][] = [];
  words.forEach((word, i) => {
    if (own[i]) return;
    const run = runs.at(-1);
    if (run && i > 0 && !own[i - 1]) run[1] = word.end;
    else runs.push([word.start, word.end]);
  });
  return runs.slice(0, 64);
}

export const languageOptions = z.strictObject({});

/**
 * Language consistency of the chain of thought with the problem's language: points = the share. `ok` when every word is
 * in it, `wrong` otherwise, `unparsable` when there are no words. Evidence: the runs in other languages (at most 64).
 */
export function languageRule(): Rule {
  return (problem, response): RuleResult => {
    const [from, to] = chainOfThought(response);
    const thought = response.slice(from, to);
    const { words, own } = sorted(thought, problem.language);
    const base = { name: 'language', max: 1 } as const;
    if (words.length === 0) return { ...base, points: 0, status: 'unparsable', evidence: [], note: 'no words' };
    const inside = own.filter(Boolean).length;
    return {
      ...base,
      points: inside / words.length,
      status: inside === words.length ? 'ok' : 'wrong',
      evidence: foreignRuns(thought, problem.language).map(([start, end]): Span => [start + from, end + from]),
      note: `${inside} of ${words.length} words in ${problem.language}`,
    };
  };
}
