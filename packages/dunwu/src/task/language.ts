import { identifyLanguage } from '../text/identify.js';
import type { Language } from './problem.js';

/**
 * The language a text is mainly in, by its script: Han characters against words in Latin letters. Single Latin letters
 * are left out: they are variables ("已知a×b=120，求x") more often than words.
 */
export function languageOf(text: string): Language {
  const han = text.match(/\p{Script=Han}/gu)?.length ?? 0;
  const words = text.match(/\p{Script=Latin}{2,}/gu)?.length ?? 0;
  return han > words ? 'zh' : 'en';
}

/** Which of the two languages of generated text serves a language: Chinese for Chinese of any kind, else English. */
export function writtenIn(language: string): Language {
  return /^zh\b/i.test(language) ? 'zh' : 'en';
}

const ENGLISH = new Set(
  'a an the of and or to in on at is are was were has have had he she his her they their it how many much what if for each from with find than more'.split(
    ' ',
  ),
);

/** Letters of formulas and names of TeX's commands are in no language. */
const withoutFormulas = (text: string): string =>
  text.replace(/\$[^$]{0,2000}\$|\\\([^\n]{0,500}?\\\)|\\[A-Za-z]+/g, ' ');

/** Whether at least one word in five is one that English cannot do without. */
function looksEnglish(text: string): boolean {
  const words = text.toLowerCase().match(/\p{L}+/gu) ?? [];
  const english = words.filter((word) => ENGLISH.has(word)).length;
  return english > 0 && english * 5 >= words.length;
}

/** Japanese is written with kana: where at least one character in five is kana, however many are Han. */
function isJapanese(text: string): boolean {
  const han = text.match(/\p{Script=Han}/gu)?.length ?? 0;
  const kana = text.match(/[\p{Script=Hiragana}\p{Script=Katakana}]/gu)?.length ?? 0;
  return kana >= 3 && kana * 4 >= han && kana + han > (text.match(/\p{Script=Latin}{2,}/gu)?.length ?? 0);
}

/**
 * The languages of the texts of one file, in their order, as ISO 639-1 codes. By script where a text is Chinese or the
 * file is in Chinese and English; else by `eld`. A language counts when one in ten of the texts that are neither Chinese
 * nor Japanese is in it: a single odd sentence in an English file stays English, and what cannot be told is in the
 * file's most frequent language. The library is loaded only when one in ten does not look English.
 */
export function languagesOf(texts: readonly string[]): string[] {
  const found: (string | undefined)[] = texts.map((text) =>
    isJapanese(text) ? 'ja' : languageOf(text) === 'zh' ? 'zh' : undefined,
  );
  const open = texts.flatMap((source, i) => {
    if (found[i] !== undefined) return [];
    const text = withoutFormulas(source);
    return [{ text, i, english: looksEnglish(text) }];
  });
  const odd = open.filter(({ english }) => !english);
  const told = new Map<number, string>();
  if (odd.length * 10 >= open.length) {
    for (const { text, i } of odd) told.set(i, identifyLanguage(text) ?? '');
  }
  const counts = new Map<string, number>([['en', open.length - odd.length]]);
  for (const language of told.values()) {
    if (language !== '') counts.set(language, (counts.get(language) ?? 0) + 1);
  }
  const most = [...counts].reduce((best, next) => (next[1] > best[1] ? next : best))[0];
  for (const { i, english } of open) {
    const language = english ? 'en' : (told.get(i) ?? 'en');
    found[i] = (counts.get(language) ?? 0) * 10 >= open.length && counts.has(language) ? language : most;
  }
  return found as string[];
}
