import { describe, expect, it } from 'vitest';
import type { Problem } from '../../task/problem.js';
import { readabilityParts } from '../readability.js';
import { wordsOf } from '../words.js';
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
  sv: 'Först räknar vi alla äpplen i den stora korgen.\nSedan ger vi tre av dem till vår lillasyster.',
  nb: 'Først teller vi alle eplene i den store kurven.\nDeretter gir vi tre av dem til lillesøsteren vår.',
  id: 'Pertama kita menghitung semua apel di keranjang besar.\nKemudian kita memberikan tiga kepada adik perempuan kita.',
  ro: 'Mai întâi numărăm toate merele din coșul mare.\nApoi îi dăm trei dintre ele surorii noastre mai mici.',
  cs: 'Nejprve spočítáme všechna jablka ve velkém košíku.\nPotom dáme tři z nich naší malé sestře.',
  sw: 'Kwanza tunahesabu maapulo yote katika kikapu kikubwa.\nKisha tunampa dada yetu mdogo matatu kati ya hayo.',
  ja: 'まず大きなかごの中のりんごをすべて数えます。\nそれから三つを小さな妹にあげます。',
};
/** Another language in the same letters, where it is not English. */
const OTHER: Readonly<Record<string, string>> = {
  ...{ fr: 'es', es: 'pt', nl: 'de', cs: 'pl' },
  ...{ ru: 'uk', uk: 'ru', bg: 'ru', ar: 'fa', fa: 'ar', ur: 'fa' },
};
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
    expect(first.points).toBe(wordsOf(right).length / (wordsOf(right).length + wordsOf(wrong).length));
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

  it('short clauses are put together', () => {
    const english = 'so we add 3,\nthen take 4,\nand the rest';
    expect(languageConsistency(english, 'fr')).toBe(0);
    const french = 'donc on ajoute 3,\npuis on enlève 4,\net le reste\nest ce que nous\navons encore';
    expect(languageConsistency(french, 'fr')).toBe(1);
  });

  it.each([
    ['nothing else, by script', 'so nine', 'fr', 1],
    ['nothing else, by script', '所以是九', 'fr', 0],
    ['what stands before it', `${ENGLISH}\nis 9`, 'fr', 0],
    ['what stands behind it', `so: ${ENGLISH}`, 'fr', 0],
    ['what is on both sides', `${ENGLISH}\nso nine\n${ENGLISH}`, 'fr', 0],
    ['what is on both sides', `${THOUGHTS.fr}\nso nine\n${THOUGHTS.fr}`, 'fr', 1],
    // 14 French words, 21 English ones and the two between them.
    ['by script between two languages', `${THOUGHTS.fr}\nso nine\n${ENGLISH}`, 'fr', 16 / 37],
    // Too short to be told, but likelier French than anything else.
    ['its leaning', `Il lui reste 24 - 7 = 17 pommes. ${ENGLISH}`, 'fr', 4 / 25],
    ['the rest of its sentence', `${THOUGHTS.fr}\nnow, ${ENGLISH}`, 'fr', 14 / 36],
    ['the rest of its sentence', `${ENGLISH}\nbon, ${THOUGHTS.fr}`, 'fr', 15 / 36],
  ])('a piece that cannot be told goes with %s: %j', (_, text, language, share) => {
    expect(languageConsistency(text, language)).toBe(share);
  });

  it('a sentence that near relatives share goes with the others', () => {
    // The library alone gives Ukrainian a little more than Russian for the second one.
    const russian =
      'Сначала мы считаем все яблоки. Значит, у неё остаётся яблок. Проверим ещё раз, чтобы не ошибиться.';
    expect(languageConsistency(russian, 'ru')).toBe(1);
    expect(languageConsistency(russian, 'uk')).toBe(0);
  });

  it('nothing hides at the end of a long line', () => {
    // 51 Russian words and 51 Ukrainian ones without a full stop: told in pieces of 110 letters, some 18 words.
    const line = (text: string) => `${text.replace(/[.\n]+/g, ' ')} `.repeat(3);
    const share = languageConsistency(line(THOUGHTS.ru as string) + line(THOUGHTS.uk as string), 'ru') ?? 1;
    expect(Math.abs(share - 1 / 2)).toBeLessThan(18 / 102);
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
    expect(languageConsistency(CHINESE, 'sw')).toBe(0);
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

it('padding in the right language does not buy off a working in another one; a working buys off no padding', () => {
  const of = (thought: string) => {
    const problem: Problem = { id: 'p', prompt: 'q', source: 's', language: 'zh', meta: {} };
    const { points, status, note } = languageRule()(problem, `<think>${thought}</think><answer>1</answer>`);
    return { points, status, note };
  };
  const padding = '想一想'.repeat(20);
  expect(of(`gets: 1+2=3\n${padding}`)).toEqual({
    points: 0,
    status: 'wrong',
    note: '0 of 1 words of the lines that calculate in zh',
  });
  expect(of(`得到 gets：1+2=3\n${padding}\n是 3 ≈ x`)).toMatchObject({ points: 3 / 4 });
  expect(of('得到：1+2=3\nlet me see')).toEqual({ points: 2 / 5, status: 'wrong', note: '2 of 5 words in zh' });
  expect(of('得到：1+2=3\n想')).toEqual({ points: 1, status: 'ok', note: '3 of 3 words in zh' });
  expect(of('1+2=3\n想')).toMatchObject({ points: 1 });
});
