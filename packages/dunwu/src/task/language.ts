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
