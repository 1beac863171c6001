import { expect, it } from 'vitest';
import { visible } from './visible.js';

it('shows control characters instead of sending them; text, lines and tabs stay', () => {
  expect(visible('a\u001b[31mred\u009b0m\u0007\r')).toBe('a\\x1b[31mred\\x9b0m\\x07\\x0d');
  expect(visible('第一行\n\t二 😀')).toBe('第一行\n\t二 😀');
});
