import { describe, expect, it } from 'vitest';
import { identifyLanguage, judgeLanguage, TOLD_LANGUAGES, toldAs } from './identify.js';
import { isLanguage } from './language-codes.js';

describe('identifyLanguage', () => {
  it.each([
    ['fr', 'Il y a douze pommes dans le panier et nous en enlevons trois'],
    ['de', 'Zuerst addieren wir die beiden Zahlen und teilen dann durch vier'],
    ['vi', 'Đầu tiên chúng ta cộng hai số rồi chia cho bốn'],
    ['uk', 'Спочатку додаємо два числа, а потім ділимо на чотири'],
    ['ur', 'پہلے ہم دونوں اعداد کو جمع کرتے ہیں پھر چار سے تقسیم کرتے ہیں'],
    ['ja', 'まず二つの数を足して、それから四で割ります'],
    ['zh', '首先把两个数相加，然后除以四'],
    ['en', 'First we add the two numbers and then divide by four'],
  ])('%s', (language, text) => {
    expect(identifyLanguage(text)).toBe(language);
    expect(identifyLanguage(text)).toBe(language);
  });

  it('does not guess: too short, no words, letters of nothing', () => {
    for (const text of ['', 'donc neuf', '3 + 4 = 7', '因此是九', 'zxqj '.repeat(20)]) {
      expect(identifyLanguage(text)).toBeNull();
    }
  });

  it('knows the codes of the library, and the nearest one for some others', () => {
    expect(TOLD_LANGUAGES).toHaveLength(59);
    expect(TOLD_LANGUAGES.every(isLanguage)).toBe(true);
    expect(['fr', 'nb', 'nn', 'id', 'bs'].map(toldAs)).toEqual(['fr', 'no', 'no', 'ms', 'hr']);
    for (const code of ['ku', 'sw', 'FR', 'fra', '', '__proto__', 'constructor']) expect(toldAs(code)).toBeNull();
  });
});

describe('judgeLanguage', () => {
  const english = 'First we add the two numbers and then divide by four';
  it.each([
    ['fr', 'Il y a douze pommes dans le panier et nous en enlevons trois', true],
    ['es', 'Il y a douze pommes dans le panier et nous en enlevons trois', false],
    ['id', 'Kemudian dia membeli tiga kantong berisi lima apel', true],
    ['id', english, false],
    ['nb', 'Først legger vi sammen de to tallene og så deler vi på fire', true],
    ['nb', english, false],
    // The library gives Ukrainian a little more than Russian here: 0.7856 and 0.7830.
    ['ru', 'Значит, у неё остаётся яблок', null],
    ['uk', 'Значит, у неё остаётся яблок', null],
    ['ru', 'Отже, спочатку додаємо два числа, а потім ділимо на чотири', false],
    // Not known to the library, which takes Swahili for nothing and Kazakh for Russian.
    ['sw', 'Kisha ananunua mifuko mitatu yenye maapulo matano kila mmoja', null],
    ['sw', english, false],
    ['kk', 'Аннада жиырма төрт алма бар және ол жетеуін ағасына береді', null],
    ['fr', 'so nine', null],
  ])('%s: %j → %s', (language, text, expected) => {
    expect(judgeLanguage(text, language).told).toBe(expected);
  });

  it('leans to a language where it cannot tell', () => {
    expect(judgeLanguage('Il lui reste pommes', 'fr')).toEqual({ told: null, leaning: true });
    expect(judgeLanguage('Il lui reste pommes', 'es').leaning).toBe(false);
    expect(judgeLanguage('Значит, у неё остаётся яблок', 'ru')).toEqual({ told: null, leaning: false });
    expect(judgeLanguage('oui', 'fr')).toEqual({ told: null, leaning: false });
  });
});
