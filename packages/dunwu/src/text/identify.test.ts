import { describe, expect, it } from 'vitest';
import { identifyLanguage, isLanguage, LANGUAGES } from './identify.js';

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

  it('knows its codes', () => {
    expect(LANGUAGES).toHaveLength(59);
    expect(isLanguage('fr')).toBe(true);
    for (const code of ['ku', 'FR', 'fra', '', '__proto__']) expect(isLanguage(code)).toBe(false);
  });
});
