import { z } from 'zod';
import { judgeLanguage, type LanguageVerdict, MIN_UNSPACED, TOLD_LANGUAGES, toldAs } from '../../text/identify.js';
import { isLanguage } from '../../text/language-codes.js';
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

/** Whether the library is asked: for all languages but en and zh, where one that it knows has the same letters. */
function needsLibrary(language: string): boolean {
  if (language === 'en' || language === 'zh' || !isLanguage(language)) return false;
  let needed = shared.get(language);
  if (needed === undefined) {
    const script = (code: string): string | undefined => new Intl.Locale(code).maximize().script;
    const own = toldAs(language);
    // Of a language that the library does not know it can only say that a text is English instead.
    const others = own === null ? ['en'] : TOLD_LANGUAGES.filter((other) => other !== own);
    needed = language === 'ja' || others.some((other) => script(other) === script(language));
    shared.set(language, needed);
  }
  return needed;
}

/** Where a clause ends. Clauses that are too short to be told are put together. */
const CLAUSE_END = /[.,;:!?…\n。，、；：！？؟؛،۔।]/;
const SENTENCE_END = /[.!?…\n。！？؟۔।]/;
/** A piece has at most so many code units: no more than the library reads, so that nothing hides at the end of a line. */
const MAX_PIECE = 110;

const NOT_TOLD: LanguageVerdict = { told: null, leaning: false };

/** A clause, or several short ones, of words in the script of the language. */
interface Piece {
  readonly words: number[];
  text: string;
  /** The sentences that it begins and ends in, counted from 0. */
  readonly from: number;
  to: number;
  verdict: LanguageVerdict;
}

/** The clauses, and what the library says about them. */
function pieces(text: string, words: readonly Word[], own: readonly boolean[], language: string): Piece[] {
  const found: Piece[] = [];
  let asked = 0;
  const close = (clause: Piece): void => {
    if (clause.words.length === 0) return;
    clause.verdict = judgeLanguage(clause.text, language);
    const before = found.at(-1);
    if (
      clause.verdict.told !== null ||
      before === undefined ||
      before.verdict.told !== null ||
      before.text.length > MAX_PIECE
    ) {
      found.push(clause);
      asked = clause.text.length;
      return;
    }
    before.words.push(...clause.words);
    before.to = clause.to;
    before.text += ` ${clause.text}`;
    // Only when it has grown by enough to matter: hostile texts are all short clauses.
    if (before.text.length - asked < MIN_UNSPACED) return;
    asked = before.text.length;
    before.verdict = judgeLanguage(before.text, language);
  };
  let sentence = 0;
  const empty = (): Piece => ({ words: [], text: '', from: sentence, to: sentence, verdict: NOT_TOLD });
  let clause = empty();
  let last = 0;
  for (const [i, word] of words.entries()) {
    const gap = text.slice(last, word.start);
    last = word.end;
    if (clause.text.length >= MAX_PIECE || CLAUSE_END.test(gap)) {
      close(clause);
      if (SENTENCE_END.test(gap)) sentence++;
      clause = empty();
    }
    if (!own[i]) continue;
    clause.text += gap !== '' && clause.text !== '' ? ` ${word.text}` : word.text;
    clause.words.push(i);
  }
  close(clause);
  return found;
}

/**
 * Sets `own` to false for the words in the script of `language` that stand in a piece of another language. A piece that
 * cannot be told, and does not lean to the language either, goes with its neighbours, those of its own sentence before
 * others; where they are in two languages, by script. A thought in English does not become half French by its short
 * clauses. In a language that the library does not know no piece is ever told to be right: neighbours say nothing.
 */
function judgePieces(text: string, words: readonly Word[], own: boolean[], language: string): void {
  const all = pieces(text, words, own, language);
  const known = toldAs(language) !== null;
  const next: (Piece | undefined)[] = [];
  let told: Piece | undefined;
  for (const [i, piece] of [...all.entries()].reverse()) {
    next[i] = told;
    if (piece.verdict.told !== null) told = piece;
  }
  told = undefined;
  const foreign = (piece: Piece): boolean => piece.verdict.told === false;
  for (const [i, piece] of all.entries()) {
    let others = foreign(piece);
    if (piece.verdict.told !== null) told = piece;
    else if (known && !piece.verdict.leaning) {
      const beside = [told, next[i]].filter((each) => each !== undefined);
      const within = beside.filter(({ from, to }) => to >= piece.from && from <= piece.to);
      const deciding = within.length > 0 ? within : beside;
      others = deciding.length > 0 && deciding.every(foreign);
    }
    if (others) for (const word of piece.words) own[word] = false;
  }
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
 * For en and zh by script: a run of Latin letters is one English word, one Han character is one Chinese word. Characters
 * and not segmented words, because a segmenter's dictionary would make the reward depend on its version; an English
 * sentence has about as many words as its Chinese translation has characters (1 : 1.5), so a half-and-half text scores
 * near one half in both languages.
 *
 * For a language that shares its letters with others (fr, es, ru, ar, ja …) a word must have these letters, and stand in
 * a piece of the text (clauses, put together until they can be told) that `eld` does not reliably take for another
 * language; a piece that cannot be told goes with its neighbours, or by script. Of languages that it does not know
 * only English is told ({@link judgeLanguage}). Numbers, formulas, tags, code, units behind a number and single letters are
 * not counted (words.ts).
 *
 * @throws Error where the library cannot be loaded (identify.ts); never for en and zh.
 */
export function languageConsistency(text: string, language: string): number | null {
  const { words, own } = sorted(text, language);
  if (words.length === 0) return null;
  return own.filter(Boolean).length / words.length;
}

/** A line that calculates has a digit and an equals sign. */
const CALCULATES = /\d.*[=＝≈]|[=＝≈].*\d/;

/**
 * The share by which a thought is rewarded: {@link languageConsistency}, or that of the lines that calculate where it is
 * lower, so that lines of padding in the right language do not buy off a working in another one. With the counts of the
 * lower one; null when there are no words.
 */
export function rewardedShare(text: string, language: string): { inside: number; of: number; working: boolean } | null {
  const { words, own } = sorted(text, language);
  if (words.length === 0) return null;
  const all = { inside: own.filter(Boolean).length, of: words.length, working: false };
  const lines = { inside: 0, of: 0, working: true };
  let word = 0;
  let start = 0;
  for (const line of text.split('\n')) {
    const end = start + line.length;
    const calculates = CALCULATES.test(line);
    for (; word < words.length && (words[word] as Word).start < end; word++) {
      if (!calculates) continue;
      lines.of++;
      if (own[word]) lines.inside++;
    }
    start = end + 1;
  }
  return lines.of > 0 && lines.inside * all.of < all.inside * lines.of ? lines : all;
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
 * Language consistency of the chain of thought with the problem's language: points = {@link rewardedShare}. `ok` when every
 * word is in it, `wrong` otherwise, `unparsable` when there are no words. Evidence: the runs in other languages (at most 64).
 */
export function languageRule(): Rule {
  return (problem, response): RuleResult => {
    const [from, to] = chainOfThought(response);
    const thought = response.slice(from, to);
    const share = rewardedShare(thought, problem.language);
    const base = { name: 'language', max: 1 } as const;
    if (share === null) return { ...base, points: 0, status: 'unparsable', evidence: [], note: 'no words' };
    const { inside, of, working } = share;
    return {
      ...base,
      points: inside / of,
      status: inside === of ? 'ok' : 'wrong',
      evidence: foreignRuns(thought, problem.language).map(([start, end]): Span => [start + from, end + from]),
      note: `${inside} of ${of} words${working ? ' of the lines that calculate' : ''} in ${problem.language}`,
    };
  };
}
