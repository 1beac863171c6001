import { z } from 'zod';
import type { Language } from '../../task/problem.js';
import { chainOfThought } from '../tags.js';
import type { Rule, RuleResult, Span } from '../trace.js';

/**
 * What is in no language: tags, code, LaTeX commands, identifiers, units behind a number and single letters (variables).
 * Removed before words are counted; replaced by spaces, so that spans stay.
 */
const NO_LANGUAGE = [
  /```[^`]*(?:```|$)/g,
  /`[^`\n]*`/g,
  /<\/?[A-Za-z][^<>\n]{0,40}>/g,
  /<\|[^<>\n|]{1,40}\|>|<｜[^<>\n｜]{1,40}｜>/g,
  /<<[^<>\n]{0,200}>>/g,
  /\\(?:begin|end)\{[a-z*]{1,20}\}/g,
  /\\[A-Za-z]+/g,
  // Units and multipliers glued to or right behind digits: 5km, 3 kg, 10x.
  /(?<=\d ?)(?:km|cm|mm|dm|kg|mg|ml|mL|kWh|kW|min|mph|m|g|h|s|l|L|t|x|X)(?![A-Za-z])/g,
];
const WORD = /[A-Za-z]+(?:['’][A-Za-z]+)*|\p{Script=Han}/gu;

interface Word {
  readonly language: Language;
  readonly start: number;
  readonly end: number;
}

/** At most so many UTF-16 code units are looked at. */
const MAX_TEXT = 100_000;

function wordsOf(source: string): Word[] {
  let text = source.length > MAX_TEXT ? source.slice(0, MAX_TEXT) : source;
  for (const pattern of NO_LANGUAGE) text = text.replace(pattern, (whole) => ' '.repeat(whole.length));
  text = text.replace(/[A-Za-z\d_^]+/g, (run) => (/[\d_^]/.test(run) ? ' '.repeat(run.length) : run));
  const words: Word[] = [];
  for (const match of text.matchAll(WORD)) {
    const word = match[0];
    const end = match.index + word.length;
    if (!/[A-Za-z]/.test(word)) words.push({ language: 'zh', start: match.index, end });
    // A single letter is a variable or a label ("A:"); only "a" and "I" are words.
    else if (word.length > 1 || word === 'a' || word === 'I') words.push({ language: 'en', start: match.index, end });
  }
  return words;
}

/**
 * Share of the words of `text` that are in `language` (DeepSeek-R1, arXiv 2501.12948, section 2.3.2: words in the target
 * language / all words); null when there are no words. By script: a run of Latin letters is one English word, one Han
 * character is one Chinese word. Characters and not segmented words, because a segmenter's dictionary would make the
 * reward depend on its version; an English sentence has about as many words as its Chinese translation has characters
 * (1 : 1.5), so a half-and-half text scores near one half in both languages. Numbers, formulas, tags, code, units behind
 * a number and single letters are not counted.
 */
export function languageConsistency(text: string, language: Language): number | null {
  const words = wordsOf(text);
  if (words.length === 0) return null;
  return words.filter((word) => word.language === language).length / words.length;
}

/** Whether a text mixes Chinese and English: each has at least `share` of the words (default: one in twenty). */
export function mixesLanguages(text: string, share = 0.05): boolean {
  const english = languageConsistency(text, 'en');
  return english !== null && english >= share && 1 - english >= share;
}

export const languageOptions = z.strictObject({});

/**
 * Language consistency of the chain of thought with the problem's language: points = the share. `ok` when every word is
 * in it, `wrong` otherwise, `unparsable` when there are no words. Evidence: the runs in the other language (at most 64).
 */
export function languageRule(): Rule {
  return (problem, response): RuleResult => {
    const [from, to] = chainOfThought(response);
    const thought = response.slice(from, to);
    const words = wordsOf(thought);
    const base = { name: 'language', max: 1 } as const;
    if (words.length === 0) return { ...base, points: 0, status: 'unparsable', evidence: [], note: 'no words' };
    const runs: Span[] = [];
    let run: [number, number] | null = null;
    let other = 0;
    for (const word of words) {
      if (word.language === problem.language) {
        run = null;
        continue;
      }
      other++;
      if (run) run[1] = word.end + from;
      else if (runs.length < 64) {
        run = [word.start + from, word.end + from];
        runs.push(run);
      }
    }
    const points = (words.length - other) / words.length;
    const note = `${words.length - other} of ${words.length} words in ${problem.language}`;
    return { ...base, points, status: other === 0 ? 'ok' : 'wrong', evidence: runs, note };
  };
}
