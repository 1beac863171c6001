import { describe, expect, it } from 'vitest';
import { isLanguage, LANGUAGES } from './language-codes.js';

describe('codes of languages', () => {
  it('are those of ISO 639-1, which the platform has names for', () => {
    expect(LANGUAGES).toHaveLength(183);
    expect(LANGUAGES).toEqual([...new Set(LANGUAGES)].sort());
    const names = new Intl.DisplayNames('en', { type: 'language', fallback: 'none' });
    expect(LANGUAGES.filter((code) => names.of(code) === undefined)).toEqual([]);
    expect(names.of('sw')).toBe('Swahili');
  });

  it('and nothing else: names, regions, three letters, withdrawn ones', () => {
    for (const code of ['en', 'zh', 'sw', 'zu']) expect(isLanguage(code)).toBe(true);
    for (const code of ['French', 'FR', 'fra', 'zh-CN', 'iw', 'xx', '', '__proto__'])
      expect(isLanguage(code)).toBe(false);
  });
});
