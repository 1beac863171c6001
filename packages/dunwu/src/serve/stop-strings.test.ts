import { expect, test } from 'vitest';
import { Random } from '../util/random.js';
import { StopStrings } from './stop-strings.js';

function through(stops: string[], ...pieces: string[]): string {
  const finder = new StopStrings(stops);
  let shown = '';
  for (const piece of pieces) {
    const { text, stopped } = finder.push(piece);
    shown += text;
    if (stopped) return `${shown}|`;
  }
  return shown + finder.end();
}

test.each([
  [['END'], ['a END b'], 'a |'],
  [['END'], ['a E', 'N', 'D b'], 'a |'],
  [['END'], ['a E', 'N', 'X'], 'a ENX'],
  [['END'], ['a EN'], 'a EN'],
  [['b', 'ab'], ['xab'], 'x|'],
  [['aab'], ['aa', 'ab'], 'a|'],
  [[], ['anything'], 'anything'],
  [['\n\n'], ['one\n', '\ntwo'], 'one|'],
])('%j in %j: %j', (stops, pieces, shown) => {
  expect(through(stops as string[], ...(pieces as string[]))).toBe(shown);
});

test('how a text is cut into pieces does not matter, and nothing of a stop string is ever shown', () => {
  const random = new Random('stops');
  for (let i = 0; i < 300; i++) {
    const text = Array.from({ length: 12 }, () => random.choice(['a', 'b', 'c'])).join('');
    const stops = Array.from({ length: 2 }, () =>
      Array.from({ length: 1 + Math.floor(random.next() * 3) }, () => random.choice(['a', 'b', 'c'])).join(''),
    );
    const pieces: string[] = [];
    for (let at = 0; at < text.length; ) {
      const length = 1 + Math.floor(random.next() * 4);
      pieces.push(text.slice(at, at + length));
      at += length;
    }
    const first = Math.min(
      ...stops.map((stop) => (text.includes(stop) ? text.indexOf(stop) : Number.POSITIVE_INFINITY)),
    );
    const expected = Number.isFinite(first) ? `${text.slice(0, first)}|` : text;
    // In pieces, a longer stop string that begins earlier may end later than a shorter one: the earlier end is found first.
    const shown = through(stops, ...pieces);
    if (shown.endsWith('|')) expect(text.startsWith(shown.slice(0, -1))).toBe(true);
    else expect(shown).toBe(expected);
    for (const stop of stops) expect(shown).not.toContain(stop);
  }
});
