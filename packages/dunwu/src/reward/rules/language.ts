import { z } from 'zod';
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

/** The words, and which of them are in the language. */
function sorted(text: string, language: string): { words: Word[]; own: boolean[] } {
  const words = wordsOf(text);
  const script = scriptTest(language);
  return { words, own: words.map((word) => script.test(word.text)) };
}

/**
 * Share of the words of `text` that are in `language` (DeepSeek-R1, arXiv 2501.12948, section 2.3.2: words in the target
 * language / all words); null when there are no words. By script: a run of Latin letters is one English word, one Han
 * character is one Chinese word. Characters and not segmented words, because a segmenter's dictionary would make the
 * reward depend on its version; an English sentence has about as many words as its Chinese translation has characters
 * (1 : 1.5), so a half-and-half text scores near one half in both languages. Numbers, formulas, tags, code, units behind
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
