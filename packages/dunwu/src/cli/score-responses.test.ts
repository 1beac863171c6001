import { describe, expect, it } from 'vitest';
import { parseResponseLine } from './score-responses.js';

describe('the language of a line', () => {
  const row = { question: 'Combien reste-t-il de pommes ?', answer: '9', response: '<think>Neuf</think>' };
  const parse = (more: object) => parseResponseLine(JSON.stringify({ ...row, ...more }), 0).problem.language;

  it('is the one given, else by script', () => {
    expect(parse({ language: 'fr' })).toBe('fr');
    expect(parse({})).toBe('en');
    expect(parse({ question: '还剩多少个？' })).toBe('zh');
  });

  it('is refused when it is no code', () => {
    expect(() => parse({ language: 'French' })).toThrow(
      /key "language": is no ISO 639-1 code of a language; known are aa, ab,/,
    );
  });
});
