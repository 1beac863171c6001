import { once } from 'node:events';
import { createReadStream, createWriteStream, rmSync } from 'node:fs';
import { rename, rm, stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { Writable } from 'node:stream';
import type { Command } from 'commander';
import { errorCode } from '../util/errors.js';
import { EXIT, UsageError } from './errors.js';
import { SIGNALS } from './interrupt.js';
import { collect } from './options.js';

export interface ScoreFlags {
  readonly rules: string;
  /** Files of rules beside the built-in ones. */
  readonly import?: readonly string[];
  readonly json?: boolean;
  readonly out?: string;
  readonly full?: boolean;
  readonly requireTags?: boolean;
}

export interface ScoreStreams {
  readonly input: AsyncIterable<Uint8Array>;
  readonly output: Writable;
  readonly errors: Writable;
}

/** Longest line read, in characters: a guard against a file that is not made of lines. */
const MAX_LINE = 64 * 1024 * 1024;

/** `dunwu score FILE.jsonl`: judges any model's responses by rules. */
export function registerScore(program: Command): void {
  program
    .command('score')
    .summary('judge responses by rules: right, in form, step by step')
    .description(
      'Scores responses of any model by rules and says why. Each line of FILE is {"question", "answer", "response"};\n' +
        'the answer may have the shape of GSM8K ("…\\n#### 18"), "golden" (CMATH) is understood in its place, as are\n' +
        '"problem" and a "solution" with a \\boxed{} answer (MATH). An answer that is no number is compared as\n' +
        'mathematics: \\frac{3}{4}, (0,1], x^2+1. "source" and "language" (en, zh) are used where they are. For the rule\n' +
        'code a line has "tests", "entry" and "language" (javascript, python) in place of the answer. A line that cannot be read\n' +
        'is reported with its number, the others are scored, and the exit code is 1.',
    )
    .argument('<file>', 'JSONL file, or - for standard input')
    .option(
      '--rules <list>',
      'rules, each NAME or NAME=WEIGHT: accuracy, format, steps, language, repetition, readability, code',
      'accuracy,format,steps',
    )
    .option('--import <file>', 'a file of rules of your own (.mjs), to name in --rules (repeatable)', collect, [])
    .option('--json', 'print one JSON object a response: index, total, parts')
    .option('--out <file>', 'write these JSON objects to a file (and the summary to standard output)')
    .option(
      '--full',
      'with --json or --out: also question, answer, response, weights, notes, steps, for `dunwu explain`',
    )
    .option('--require-tags', 'accuracy: only <answer>…</answer> counts, as in training')
    .addHelpText(
      'after',
      `
Examples:
  dunwu score outputs.jsonl                         every response on a line, and a table
  dunwu score outputs.jsonl --json > traces.jsonl   for other programs
  dunwu score - --rules accuracy,format=0.5 < outputs.jsonl
  dunwu score outputs.jsonl --import my-rules.mjs --rules accuracy,polite=0.2`,
    )
    .action(async (file: string, flags: ScoreFlags) => {
      if (flags.full === true && flags.json !== true && flags.out === undefined) {
        throw new UsageError('--full: would be ignored; give --json or --out too');
      }
      process.exitCode = await scoreCommand(file, flags, {
        input: file === '-' ? process.stdin : await openInput(file),
        output: process.stdout,
        errors: process.stderr,
      });
    });
}

async function openInput(file: string): Promise<AsyncIterable<Uint8Array>> {
  try {
    if ((await stat(file)).isDirectory()) throw new UsageError(`${file}: expected a JSONL file, this is a folder`);
  } catch (error) {
    if (error instanceof UsageError) throw error;
    const why = errorCode(error) === 'ENOENT' ? 'no such file' : (errorCode(error) ?? String(error));
    throw new UsageError(`${file}: cannot open: ${why}; give a JSONL file, or - for standard input`);
  }
  return createReadStream(file, { highWaterMark: 1 << 18 });
}

/**
 * Runs the command on streams and gives its exit code: 0, or 1 when some lines could not be read.
 * @throws {UsageError} for unknown rules (before anything is read) or an output file that is the input.
 */
export async function scoreCommand(file: string, flags: ScoreFlags, streams: ScoreStreams): Promise<number> {
  const { fullJson, parseRules, ScoreSummary, scoreLines, traceJson, traceText } = await import('./score-responses.js');
  for (const rules of flags.import ?? []) {
    const { importRules } = await import('../reward/user-rules.js');
    await importRules(rules);
  }
  const config = parseRules(flags.rules, flags.requireTags ?? false);
  if (flags.out !== undefined && file !== '-' && resolve(flags.out) === resolve(file)) {
    throw new UsageError(`--out ${flags.out} is the input file; give another name`);
  }
  const name = file === '-' ? 'standard input' : file;
  const sink = flags.out === undefined ? null : await openSink(flags.out);
  const summary = new ScoreSummary();
  let bad = 0;
  try {
    for await (const item of scoreLines(textLines(streams.input, name), name, config)) {
      if ('error' in item) {
        bad++;
        await write(streams.errors, `error: ${item.error}\n`);
        continue;
      }
      summary.add(item.trace);
      const json = flags.json || sink ? `${flags.full ? fullJson(item) : traceJson(item)}\n` : '';
      if (sink) await write(sink.stream, json);
      if (flags.json) await write(streams.output, json);
      else if (!sink) await write(streams.output, `${traceText(item)}\n`);
    }
    await sink?.keep();
  } catch (error) {
    await sink?.drop();
    throw error;
  }
  if (!flags.json) await write(streams.output, `${sink ? '' : '\n'}${summary.table()}\n`);
  if (bad > 0) await write(streams.errors, `${bad} ${bad === 1 ? 'line' : 'lines'} of ${name} could not be read\n`);
  return bad > 0 ? EXIT.failed : EXIT.done;
}

/** Lines of a UTF-8 stream. Only \n ends a line: readline would also cut at U+2028, which JSON strings may hold. */
async function* textLines(input: AsyncIterable<Uint8Array>, name: string): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let parts: string[] = [];
  let held = 0;
  let number = 1;
  for await (const chunk of input) {
    const text = decoder.decode(chunk, { stream: true });
    let start = 0;
    for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n', start)) {
      yield parts.join('') + text.slice(start, end);
      parts = [];
      held = 0;
      number++;
      start = end + 1;
    }
    parts.push(text.slice(start));
    held += text.length - start;
    if (held > MAX_LINE) throw new Error(`${name}:${number}: line longer than ${MAX_LINE} characters; is this JSONL?`);
  }
  const last = parts.join('') + decoder.decode();
  if (last !== '') yield last;
}

async function write(stream: Writable, text: string): Promise<void> {
  if (!stream.write(text) && !stream.destroyed) await Promise.race([once(stream, 'drain'), once(stream, 'close')]);
}

/** A file that appears under its name only when it is whole. */
async function openSink(path: string): Promise<{ stream: Writable; keep(): Promise<void>; drop(): Promise<void> }> {
  const temporary = `${path}.${process.pid}.tmp`;
  // Ctrl-C on a pipe ends this process too, and not by `drop`: the system's own handling follows.
  const abandon = (signal: NodeJS.Signals): void => {
    rmSync(temporary, { force: true });
    process.kill(process.pid, signal);
  };
  for (const signal of SIGNALS) process.once(signal, abandon);
  const done = (): void => {
    for (const signal of SIGNALS) process.removeListener(signal, abandon);
  };
  const stream = createWriteStream(temporary);
  try {
    await once(stream, 'open');
  } catch (error) {
    done();
    throw new UsageError(`--out ${path}: cannot write: ${errorCode(error) ?? String(error)}`);
  }
  return {
    stream,
    async keep() {
      stream.end();
      await once(stream, 'close');
      await rename(temporary, path);
      done();
    },
    async drop() {
      stream.destroy();
      await rm(temporary, { force: true });
      done();
    },
  };
}
