import { describe, expect, it } from 'vitest';
import type { Problem } from '../../task/problem.js';
import { readabilityParts } from '../readability.js';
import { foreignRuns, languageConsistency, languageRule } from './language.js';

/** One thought of two sentences, in languages that share their letters with others. */
const THOUGHTS: Readonly<Record<string, string>> = {
  fr: 'Nous avons douze pommes dans le panier.\nNous en donnons trois à notre petite sœur.',
  de: 'Zuerst zählen wir alle Äpfel in dem großen Korb.\nDanach geben wir drei davon unserer kleinen Schwester.',
  es: 'Primero contamos todas las manzanas de la cesta.\nDespués damos tres de ellas a nuestra hermana pequeña.',
  it: 'Prima contiamo tutte le mele che sono nel cesto.\nPoi ne diamo tre alla nostra sorella più piccola.',
  pt: 'Primeiro contamos todas as maçãs que estão no cesto.\nDepois damos três delas à nossa irmã mais nova.',
  nl: 'Eerst tellen we alle appels die in de grote mand liggen.\nDaarna geven we er drie aan ons kleine zusje.',
  pl: 'Najpierw liczymy wszystkie jabłka w dużym koszyku.\nPotem dajemy trzy z nich naszej młodszej siostrze.',
  tr: 'Önce büyük sepetteki bütün elmaları sayıyoruz.\nSonra üç tanesini küçük kız kardeşimize veriyoruz.',
  vi: 'Đầu tiên chúng ta đếm tất cả số táo trong giỏ.\nSau đó chúng ta cho em gái ba quả táo.',
  ru: 'Сначала мы считаем все яблоки в большой корзине.\nПотом мы отдаём три из них нашей младшей сестре.',
  uk: 'Спочатку ми рахуємо всі яблука у великому кошику.\nПотім ми віддаємо три з них нашій молодшій сестрі.',
  bg: 'Първо преброяваме всички ябълки в голямата кошница.\nСлед това даваме три от тях на нашата малка сестра.',
  ar: 'أولا نعد كل التفاح الموجود في السلة الكبيرة.\nثم نعطي ثلاث تفاحات لأختنا الصغيرة.',
  fa: 'ابتدا همه سیب‌هایی را که در سبد بزرگ است می‌شماریم.\nسپس سه تا از آنها را به خواهر کوچکمان می‌دهیم.',
  ur: 'پہلے ہم بڑی ٹوکری میں موجود تمام سیب گنتے ہیں۔\nپھر ہم ان میں سے تین اپنی چھوٹی بہن کو دیتے ہیں۔',
  ja: 'まず大きなかごの中のりんごをすべて数えます。\nそれから三つを小さな妹にあげます。',
};
/** Another language in the same letters. */
const OTHER: Readonly<Record<string, string>> = { ru: 'uk', uk: 'ru', bg: 'ru', ar: 'fa', fa: 'ar', ur: 'fa' };
const ENGLISH = 'First we count all of the apples in the big basket.\nThen we give three of them to our little sister.';
const CHINESE = '首先我们数一数大篮子里的所有苹果。\n然后我们把其中三个给了小妹妹。';

function otherThan(language: string): string {
  if (language === 'ja') return CHINESE;
  const other = OTHER[language];
  return other === undefined ? ENGLISH : (THOUGHTS[other] as string);
}

describe('languages that share their letters', () => {
  it.each(Object.keys(THOUGHTS))('%s: right, wrong, half and half', (language) => {
    const right = THOUGHTS[language] as string;
    const wrong = otherThan(language);
    expect(languageConsistency(right, language)).toBe(1);
    expect(languageConsistency(wrong, language)).toBe(0);
    // Half and half: as many points as the right half has of the words, whichever comes first.
    const [a, b] = [languageRule(), languageRule()];
    const problem: Problem = { id: 'p', prompt: 'q', source: 's', language, meta: {} };
    const first = a(problem, `<think>${right}\n${wrong}</think>`);
    const last = b(problem, `<think>${wrong}\n${right}</think>`);
    expect(first.points).toBe(last.points);
    expect(first.points).toBeGreaterThan(0.3);
    expect(first.points).toBeLessThan(0.7);
    // The evidence is the wrong half, from its first letter to its last one.
    const start = '<think>'.length + right.length + 1;
    const letters = wrong.replace(/[^\p{L}\p{M}]+$/u, '').length;
    expect(first.evidence).toEqual([[start, start + letters]]);
  });

  it('counts the words: 14 French, 9 English (single letters are none)', () => {
    const french = 'Nous avons douze pommes et nous en donnons trois à notre petite sœur ce matin.';
    const english = 'Then we divide the rest between the two brothers.';
    expect(languageConsistency(`${french} ${english}`, 'fr')).toBe(14 / 23);
    expect(languageConsistency(`${french} ${english}`, 'es')).toBe(0);
  });

  it('short pieces are put together; what stays too short counts by script', () => {
    expect(languageConsistency('so nine', 'fr')).toBe(1);
    expect(languageConsistency('所以是九', 'fr')).toBe(0);
    const english = 'so we add 3,\nthen take 4,\nand the rest';
    expect(languageConsistency(english, 'fr')).toBe(0);
    expect(languageConsistency(`${english}\nis 9`, 'fr')).toBe(1 / 9);
    const french = 'donc on ajoute 3,\npuis on enlève 4,\net le reste\nest ce que nous\navons encore';
    expect(languageConsistency(french, 'fr')).toBe(1);
  });

  it('formulas and code are in no language', () => {
    const text =
      'Nous avons $x + y = \\frac{1}{2}$ pommes dans le panier `first we add the two numbers together`.\n```\nprint("the sum of all of them")\n```\nNous en donnons 3 à notre petite sœur.';
    expect(languageConsistency(text, 'fr')).toBe(1);
    expect(languageConsistency('3 + 4 = 7', 'fr')).toBeNull();
  });

  it('English and Chinese stay by script, as do letters that one language has alone', () => {
    expect(languageConsistency(THOUGHTS.fr as string, 'en')).toBe(1);
    expect(languageConsistency('まず数えます 三个', 'zh')).toBe(3 / 8);
    expect(languageConsistency('먼저 사과를 모두 세어 봅니다', 'ko')).toBe(1);
    expect(languageConsistency('Πρώτα μετράμε όλα τα μήλα', 'el')).toBe(1);
    expect(languageConsistency(ENGLISH, 'el')).toBe(0);
  });

  it('is the same again, and the same for readability', () => {
    const text = `${THOUGHTS.fr}\n${ENGLISH}`;
    const share = languageConsistency(text, 'fr');
    for (let i = 0; i < 20; i++) languageConsistency(`${THOUGHTS.fr} ${'encore '.repeat(i)}`, 'fr');
    expect(languageConsistency(text, 'fr')).toBe(share);
    expect(readabilityParts(text, 'fr')?.language).toBe(share);
    expect(foreignRuns(text, 'fr')).toHaveLength(1);
  });

  it.each([
    ['one word', 'a'.repeat(100_000)],
    ['words', 'zx '.repeat(33_000)],
    ['clauses', 'zx, '.repeat(25_000)],
    ['lines', 'qz\n'.repeat(33_000)],
    ['alternating', `${ENGLISH}\n${THOUGHTS.fr}\n`.repeat(600)],
    ['lone surrogates', '\ud800'.repeat(100_000)],
    ['marks', `e${'\u0301'.repeat(99_999)}`],
    ['nothing but ends', '.,;'.repeat(33_000)],
  ])('hostile: 100k characters of %s', { timeout: 5000 }, (_, text) => {
    const share = languageConsistency(text, 'fr') ?? 0;
    expect(share).toBeGreaterThanOrEqual(0);
    expect(share).toBeLessThanOrEqual(1);
    expect(foreignRuns(text, 'fr').length).toBeLessThanOrEqual(64);
  });
});
