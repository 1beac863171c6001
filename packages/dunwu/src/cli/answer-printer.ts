import { type ResponsePart, ResponseReader } from '../text/response-reader.js';
import { cutAtStop } from '../text/stop-strings.js';
import type { Tokenizer } from '../text/tokenizer.js';
import { visible } from '../util/visible.js';

const LABELS: Readonly<Record<ResponsePart, string>> = { thinking: 'Thinking', answer: 'Answer', other: '' };

export interface AnswerPrinterOptions {
  /** Ids that end an answer; they are not shown. */
  readonly ends: readonly number[];
  /** Texts that end an answer; they are not shown. */
  readonly stop?: readonly string[];
  /** The answer is text that goes on, without parts. */
  readonly raw?: boolean;
  /** The prompt has begun the thought: the answer goes on inside it. */
  readonly thinking?: boolean;
}

/** Prints answers: the thinking dimmed in a terminal, each part under its name. What is said is made visible, never obeyed. */
export class AnswerPrinter {
  readonly #tokenizer: Tokenizer;
  readonly #ends: ReadonlySet<number>;
  readonly #stop: readonly string[];
  readonly #colour: boolean;
  readonly #reader: ResponseReader;
  #part: ResponsePart | null = null;
  #written = false;
  #lineOpen = false;

  constructor(tokenizer: Tokenizer, { ends, stop = [], raw = false, thinking = false }: AnswerPrinterOptions) {
    this.#tokenizer = tokenizer;
    this.#ends = new Set(ends);
    this.#stop = stop;
    this.#colour = process.stdout.isTTY === true && (process.env.NO_COLOR ?? '') === '' && process.env.TERM !== 'dumb';
    this.#reader = new ResponseReader(tokenizer, { raw, thinking, stop });
  }

  token(id: number): void {
    if (this.#ends.has(id)) return;
    for (const { part, text } of this.#reader.push(id)) this.#write(part, text);
  }

  end(reason: 'stop' | 'length'): void {
    for (const { part, text } of this.#reader.end()) this.#write(part, text);
    if (this.#lineOpen) process.stdout.write('\n');
    this.#part = null;
    this.#written = false;
    this.#lineOpen = false;
    if (reason === 'length') process.stderr.write('(cut at --max-tokens)\n');
  }

  whole(ids: readonly number[], index: number, reason: 'stop' | 'length'): void {
    process.stdout.write(`${index === 0 ? '' : '\n'}${this.#bold(`[${index + 1}]`)}\n`);
    for (const id of ids) this.token(id);
    this.end(reason);
  }

  record(ids: readonly number[], index: number, reason: 'stop' | 'length'): unknown {
    const kept = ids.filter((id) => !this.#ends.has(id));
    const texts: Record<ResponsePart, string | null> = { thinking: null, answer: null, other: null };
    for (const { part, text } of [...kept.flatMap((id) => this.#reader.push(id)), ...this.#reader.end()]) {
      texts[part] = (texts[part] ?? '') + text;
    }
    return {
      index,
      response: cutAtStop(this.#tokenizer.decode(kept), this.#stop),
      thinking: texts.thinking?.trim() ?? null,
      answer: texts.answer?.trim() ?? null,
      reason,
      tokens: ids.length,
    };
  }

  #write(part: ResponsePart, text: string): void {
    let shown = visible(text);
    if (part !== this.#part) {
      shown = shown.trimStart();
      if (shown === '') return; // blanks between two parts
      const label = LABELS[part];
      const gap = this.#lineOpen ? '\n\n' : this.#written ? '\n' : '';
      process.stdout.write(`${gap}${label === '' ? '' : `${this.#bold(`${label}:`)}\n`}`);
      this.#part = part;
    }
    if (shown === '') return;
    process.stdout.write(this.#colour && part === 'thinking' ? `\u001b[2m${shown}\u001b[22m` : shown);
    this.#written = true;
    this.#lineOpen = !shown.endsWith('\n');
  }

  #bold(text: string): string {
    return this.#colour ? `\u001b[1m${text}\u001b[22m` : text;
  }
}
