/**
 * Runs in the sandbox before the program, as a function of standard input and of the longest output. It gives the program
 * what programs of competitions use of Node (standard input and output), and gives the host functions to call it with.
 * It guards nothing: a program that breaks it only breaks itself. Plain JavaScript: the sandbox knows nothing else.
 */
export const JAVASCRIPT_PRELUDE = `((input, most) => {
'use strict';
// Kept from before the program: it may have a JSON of its own, and rightly so.
const { parse, stringify } = JSON, { apply } = Reflect, { isInteger, isSafeInteger, isFinite } = Number;
const { toString } = Object.prototype, text = String, { isArray } = Array, Fault = TypeError;
let out = '', over = false, exited = false, at = 0;

const print = (line) => { if (out.length + line.length > most) over = true; else out += line; };
const shown = (value) => {
  if (typeof value !== 'object' || value === null) return text(value);
  try { return stringify(value) ?? text(value); } catch { return text(value); }
};
const log = (...values) => {
  let line = '';
  for (let i = 0; i < values.length; i++) line += (i > 0 ? ' ' : '') + shown(values[i]);
  print(line + '\\n');
};
const readline = () => {
  if (at >= input.length) return null;
  const end = input.indexOf('\\n', at);
  const line = end < 0 ? input.slice(at) : input.slice(at, end);
  at = end < 0 ? input.length : end + 1;
  return line.endsWith('\\r') ? line.slice(0, -1) : line;
};
const rest = () => { const all = input.slice(at); at = input.length; return all; };

// Events of standard input come when the program has run to its end.
const events = [];
const emitter = (more) => {
  const listeners = {};
  const it = {
    on(name, f) { (listeners[name] ??= []).push(f); return it; },
    emit(name, value) { for (const f of listeners[name] ?? []) f(value); },
    heard: (name) => listeners[name] !== undefined,
    ...more,
  };
  it.once = it.addListener = it.on;
  return it;
};
const stdin = emitter({ fd: 0, setEncoding() { return stdin; }, resume() { return stdin; }, pause() { return stdin; } });
events.push(() => { const all = rest(); if (all !== '') stdin.emit('data', all); stdin.emit('end'); stdin.emit('close'); });
const createInterface = () => {
  const lines = emitter({ close() {}, setPrompt() {}, prompt() {} });
  lines[Symbol.asyncIterator] = async function* () { for (let l = readline(); l !== null; l = readline()) yield l; };
  lines.question = (_text, f) => { const line = readline(); if (line !== null) f(line); };
  events.unshift(() => {
    // Without a listener the lines are left to what reads them one by one.
    if (!lines.heard('line') && !lines.heard('close')) return;
    for (let l = readline(); l !== null; l = readline()) lines.emit('line', l);
    lines.emit('close');
  });
  return lines;
};
const modules = {
  fs: {
    readFileSync(file) {
      if (file === 0 || file === '/dev/stdin') return rest();
      throw new Error('there are no files here: standard input is 0 or /dev/stdin');
    },
    writeSync(_file, line) { print(text(line)); },
    writeFileSync(_file, line) { print(text(line)); },
  },
  readline: { createInterface },
};
const give = (name, value) =>
  Object.defineProperty(globalThis, name, { value, writable: true, configurable: true, enumerable: false });
give('console', { log, info: log, debug: log, error() {}, warn() {}, table() {}, assert() {}, time() {}, timeEnd() {} });
give('print', log);
give('readline', readline);
give('process', {
  stdin,
  stdout: { write(line) { print(text(line)); return true; } },
  stderr: { write() { return true; } },
  argv: ['node', 'program.js'],
  env: {},
  exit() { exited = true; throw new Error('the program exits'); },
});
give('require', (name) => {
  const found = modules[text(name).replace(/^node:/, '')];
  if (found === undefined) throw new Error('there is no module ' + text(name) + ' here: fs for standard input, readline');
  return found;
});
give('exports', {});
give('module', { exports: globalThis.exports });

const exact = (key, value) => {
  if (typeof value === 'bigint') return isSafeInteger(Number(value)) ? Number(value) : text(value);
  if (typeof value === 'number' && !isFinite(value)) throw new Fault('the result holds ' + value + ', which JSON has no form for');
  if (typeof value === 'number' && isInteger(value) && !isSafeInteger(value)) return text(BigInt(value));
  if (typeof value === 'function' || typeof value === 'symbol') throw new Fault('the result holds a ' + typeof value);
  if (typeof value === 'object' && value !== null && !isArray(value)) {
    const tag = apply(toString, value, []);
    if (tag !== '[object Object]') throw new Fault('the result holds an ' + tag + ', expected a value of JSON');
  }
  return value;
};
return {
  call: (f, args) => apply(f, undefined, parse(args)),
  encode: (value) => {
    if (value === undefined) throw new Fault('the function returned nothing (undefined)');
    return stringify(value, exact);
  },
  heed: () => { while (events.length > 0) events.shift()(); },
  printed: () => out,
  over: () => over,
  exited: () => exited,
  describe: (error) => {
    // What is thrown when there is no memory left for an error.
    if (error === null) return 'threw null: out of memory, or its own';
    if (typeof error !== 'object') return 'threw ' + text(error);
    const line = /program\\.js:(\\d+)/.exec(text(error.stack))?.[1];
    return text(error.name) + ': ' + text(error.message) + (line === undefined ? '' : ' (line ' + line + ')');
  },
};
})`;
