import { expect, test } from 'vitest';
import { Random } from '../util/random.js';
import { clearOfStops, cutAtStop, stopWatch } from './stop-strings.js';
import { makeTokenizer } from './testing/make-tokenizer.js';

function through(stops: string[], ...pieces: string[]): string {
  let shown = '';
  let held = '';
  for (const piece of pieces) {
    held += piece;
    const { length, stopped } = clearOfStops(held, stops);
    shown += held.slice(0, length);
    if (stopped) return `${shown}|`;
    held = held.slice(length);
  }
  return shown + held;
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
    const cut = cutAtStop(text, stops);
    const expected = cut === text ? text : `${cut}|`;
    // In pieces, a longer stop string that begins earlier may end later than a shorter one: the earlier end is found first.
    const shown = through(stops, ...pieces);
    if (shown.endsWith('|')) expect(text.startsWith(shown.slice(0, -1))).toBe(true);
    else expect(shown).toBe(expected);
    for (const stop of stops) expect(shown).not.toContain(stop);
  }
});

test('cutAtStop: before the string that begins first', () => {
  expect(cutAtStop('one two three', ['three', 'two'])).toBe('one ');
  expect(cutAtStop('one', ['two'])).toBe('one');
  expect(cutAtStop('', ['two'])).toBe('');
});

test('stopWatch: true with the token that completes a string, however tokens and characters lie', async () => {
  // Merges of the corpus alone: " END", and bytes for all else.
  const tokenizer = await makeTokenizer([' END END END END'], { vocab_size: 267 });
  const bytes = (text: string): number[] =>
    [...new TextEncoder().encode(text)].map((byte) => tokenizer.encode(String.fromCharCode(byte))[0] as number);
  const ascii = bytes('abN');
  const [end] = tokenizer.encode(' END');
  expect(tokenizer.encode(' END')).toHaveLength(1);
  const first = (stops: string[], ids: readonly number[]): number => {
    const watch = stopWatch(tokenizer, stops);
    return ids.findIndex((id) => watch?.(id));
  };
  expect(first(['N'], [ascii[0] as number, end as number])).toBe(1); // inside a token
  expect(first(['aN', 'bE'], [...ascii])).toBe(-1);
  expect(first(['ab'], ascii)).toBe(1); // over two
  expect(first(['b END'], [...ascii.slice(0, 2), end as number])).toBe(2);
  const apple = tokenizer.encode('苹果'); // three bytes each, each a token of its own
  expect(apple).toHaveLength(6);
  expect(first(['果'], apple)).toBe(5);
  expect(first(['苹'], apple)).toBe(2); // complete with the third byte, not before
  expect(first(['苹'], apple.slice(0, 2))).toBe(-1);
  expect(stopWatch(tokenizer, [])).toBeNull();
  expect(stopWatch(undefined)).toBeNull();
  expect(() => stopWatch(undefined, ['a'])).toThrow('sampling.stop needs the tokenizer');
});
