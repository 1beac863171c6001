import { expect, it } from 'vitest';
import { plainVisible, visible } from './visible.js';

it('shows control characters instead of sending them; text, lines and tabs stay', () => {
  expect(visible('a\u001b[31mred\u009b0m\u0007\r')).toBe('a\\x1b[31mred\\x9b0m\\x07\\x0d');
  expect(visible('第一行\n\t二 😀')).toBe('第一行\n\t二 😀');
});

it('shows what nobody sees', () => {
  expect(plainVisible('a\u200bb\u202e\ufeffc\u3164\u2028\ud800\t.\n')).toBe(
    'a\\u{200b}b\\u{202e}\\u{feff}c\\u{3164}\\u{2028}\\u{d800}    .\n',
  );
  expect(plainVisible('答案是４２，é e\u0301 😀')).toBe('答案是４２，é e\u0301 😀');
});
