import { PassThrough } from 'node:stream';
import { expect, test } from 'vitest';
import { TerminalInput } from './terminal-input.js';

/** A stream that says it is a terminal, and keeps what mode it was put in. */
function terminal() {
  const modes: boolean[] = [];
  const stream = Object.assign(new PassThrough(), { isTTY: true, setRawMode: (raw: boolean) => modes.push(raw) });
  return { stream, modes };
}

test('a pipe: lines, and keys that are the first letters of lines, whatever the chunks', async () => {
  const stream = new PassThrough();
  const input = new TerminalInput(stream);
  const bytes = Buffer.from('Accept\r\n太长了\r\n\n  r\nlast');
  for (const byte of bytes) stream.write(Buffer.from([byte]));
  expect(await input.key()).toBe('a');
  expect(await input.line()).toBe('太长了');
  expect(await input.key()).toBe('');
  expect(await input.key()).toBe('r');
  setImmediate(() => stream.end());
  expect(await input.line()).toBe('last');
  expect(await input.line()).toBe(null);
  expect(await input.key()).toBe(null);
});

test('a terminal: single keys in raw mode, lines not', async () => {
  const { stream, modes } = terminal();
  const input = new TerminalInput(stream);
  const key = input.key();
  stream.write('R');
  expect(await key).toBe('r');
  expect(modes).toEqual([true, false]);
  stream.write('too long\rq'); // typed ahead
  expect(await input.line()).toBe('too long');
  expect(await input.key()).toBe('q');
  for (const [typed, meant] of [
    ['\x1b[A', ''], // an arrow
    ['\r', ''],
    ['\x03', null],
    ['\x04', null],
  ] as const) {
    const next = input.key();
    stream.write(typed);
    expect(await next).toBe(meant);
  }
  const ended = input.key();
  stream.end();
  expect(await ended).toBe(null);
  expect(modes.at(-1)).toBe(false);
});
