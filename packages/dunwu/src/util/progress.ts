import { fitWidth } from './text-width.js';

/** What is shown while long work runs. Calls are cheap: updating every step is right, however short the steps. */
export interface Progress {
  /** Begins a piece of work of `total` units, `done` of them already behind us (a resumed run). */
  start(label: string, total: number, options?: ProgressOptions): void;
  /**
   * @param done units finished since the work's beginning, resumed ones included
   * @param show the metrics that matter, in the order to show them; numbers are rounded for display
   * @param amount what the rate counts (tokens, say), cumulative; the units themselves when left out
   */
  update(done: number, show?: Readonly<Record<string, number | string>>, amount?: number): void;
  /** Prints a line of its own above the live line. */
  log(line: string): void;
  /** Ends the piece of work: leaves its last state as a line. */
  end(): void;
}

export interface ProgressOptions {
  readonly done?: number;
  /** What `amount` counts, such as `tokens`; `steps` by default. */
  readonly unit?: string;
  /** `amount` at the start, when resumed. */
  readonly amount?: number;
}

/** The part of a writable terminal stream that is needed. */
export interface Output {
  write(text: string): unknown;
  readonly isTTY?: boolean;
  readonly columns?: number;
}

export interface ProgressSettings {
  readonly out: Output;
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Milliseconds, monotonic. */
  readonly now?: () => number;
}

const LIVE_INTERVAL_MS = 100;
const PLAIN_INTERVAL_MS = 5_000;
const PLAIN_SILENCE_MS = 30_000;
const RATE_WINDOW_MS = 30_000;

/**
 * A live line in a terminal; plain lines when piped (or TERM=dumb): at most one each 5 s, one for each tenth of the
 * work, and one after 30 s of silence.
 */
export function createProgress(settings: ProgressSettings): Progress {
  const env = settings.env ?? process.env;
  const live = settings.out.isTTY === true && env.TERM !== 'dumb';
  return live ? new LiveProgress(settings, (env.NO_COLOR ?? '') === '') : new PlainProgress(settings);
}

/** Counting, rate and wording: shared by both. */
abstract class Counting implements Progress {
  protected readonly out: Output;
  protected readonly now: () => number;
  protected label = '';
  protected total = 0;
  protected done = 0;
  protected running = false;
  #unit = 'steps';
  #show: Readonly<Record<string, number | string>> = {};
  #marks: { at: number; done: number; amount: number }[] = [];
  #amount = 0;
  #began = 0;

  constructor(settings: ProgressSettings) {
    this.out = settings.out;
    this.now = settings.now ?? (() => performance.now());
  }

  start(label: string, total: number, options: ProgressOptions = {}): void {
    if (this.running) this.end();
    this.label = label;
    this.total = total;
    this.done = options.done ?? 0;
    this.#unit = options.unit ?? 'steps';
    this.#amount = options.amount ?? (options.unit === undefined ? this.done : 0);
    this.#show = {};
    this.#began = this.now();
    this.#marks = [{ at: this.#began, done: this.done, amount: this.#amount }];
    this.running = true;
    this.started();
  }

  update(done: number, show: Readonly<Record<string, number | string>> = {}, amount = done): void {
    if (!this.running) return;
    this.done = done;
    this.#show = show;
    this.#amount = amount;
    const at = this.now();
    this.#marks.push({ at, done, amount });
    // A sliding window: the rate is that of now, not of the slow first steps.
    while (this.#marks.length > 2 && at - (this.#marks[1]?.at ?? at) > RATE_WINDOW_MS) this.#marks.shift();
    this.updated(at);
  }

  abstract log(line: string): void;

  end(): void {
    if (!this.running) return;
    this.running = false;
    this.ended();
  }

  protected abstract started(): void;
  protected abstract updated(at: number): void;
  protected abstract ended(): void;

  /** `pretrain 120/600 · loss 2.31 · 18.2k tokens/s · 1m 20s left` */
  protected line(final: boolean): string {
    const parts = [`${this.label} ${this.done}/${this.total}`];
    for (const [name, value] of Object.entries(this.#show)) {
      parts.push(`${name} ${typeof value === 'number' ? formatNumber(value) : value}`);
    }
    const first = this.#marks[0];
    const last = this.#marks.at(-1);
    if (first !== undefined && last !== undefined && last.at > first.at) {
      const seconds = (last.at - first.at) / 1000;
      parts.push(`${formatCount((this.#amount - first.amount) / seconds)} ${this.#unit}/s`);
      const rate = (last.done - first.done) / seconds;
      if (!final && rate > 0 && this.total > this.done)
        parts.push(`${formatSeconds((this.total - this.done) / rate)} left`);
    }
    if (final) parts.push(formatSeconds((this.now() - this.#began) / 1000));
    return parts.join(' · ');
  }
}

class LiveProgress extends Counting {
  readonly #colour: boolean;
  #drawn = Number.NEGATIVE_INFINITY;

  constructor(settings: ProgressSettings, colour: boolean) {
    super(settings);
    this.#colour = colour;
  }

  log(line: string): void {
    this.out.write(`${CLEAR}${line}\n`);
    if (this.running) this.#draw();
  }

  protected started(): void {
    this.#draw();
  }

  protected updated(at: number): void {
    if (at - this.#drawn >= LIVE_INTERVAL_MS || this.done >= this.total) this.#draw();
  }

  protected ended(): void {
    this.out.write(`${CLEAR}${this.line(true)}\n`);
  }

  #draw(): void {
    this.#drawn = this.now();
    // One column stays free: writing into the last one makes some terminals wrap.
    const columns = (this.out.columns ?? 80) - 1;
    const filled = this.total > 0 ? Math.round((BAR * Math.min(this.done, this.total)) / this.total) : 0;
    const roomForBar = columns >= 60;
    const text = fitWidth(this.line(false), roomForBar ? columns - BAR - 1 : columns);
    const full = '━'.repeat(filled);
    const rest = '─'.repeat(BAR - filled);
    const bar = this.#colour ? `\u001b[36m${full}\u001b[90m${rest}\u001b[0m` : full + rest;
    this.out.write(`${CLEAR}${roomForBar ? `${bar} ${text}` : text}`);
  }
}

class PlainProgress extends Counting {
  #printed = 0;
  #tenth = 0;

  log(line: string): void {
    this.out.write(`${line}\n`);
  }

  protected started(): void {
    this.#printed = this.now();
    this.#tenth = Math.floor((10 * this.done) / this.total);
  }

  protected updated(at: number): void {
    const silence = at - this.#printed;
    const tenth = Math.floor((10 * this.done) / this.total);
    if (this.done >= this.total || silence < PLAIN_INTERVAL_MS) return; // the end prints the last line
    if (tenth <= this.#tenth && silence < PLAIN_SILENCE_MS) return;
    this.#printed = at;
    this.#tenth = tenth;
    this.out.write(`${this.line(false)}\n`);
  }

  protected ended(): void {
    this.out.write(`${this.line(true)}\n`);
  }
}

const BAR = 20;
const CLEAR = '\r\u001b[2K';

/** Four digits that tell something: `0.0312`, `2.314`, `18.2k`, `1.20e-5`. */
export function formatNumber(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  if (Number.isInteger(value) && Math.abs(value) < 10_000) return String(value);
  const size = Math.abs(value);
  if (size >= 10_000) return formatCount(value);
  if (size < 1e-3) return value.toExponential(2);
  return value.toPrecision(size < 0.1 ? 3 : 4);
}

/** `950`, `18.2k`, `3.40M`, `54.0G`, `1.20P`. */
export function formatCount(value: number): string {
  const units = ['', 'k', 'M', 'G', 'T', 'P', 'E'];
  let scaled = value;
  let unit = 0;
  while (Math.abs(scaled) >= 999.5 && unit < units.length - 1) {
    scaled /= 1000;
    unit++;
  }
  if (unit === 0) return Number.isInteger(scaled) ? String(scaled) : scaled.toPrecision(3);
  return `${scaled.toPrecision(3)}${units[unit]}`;
}

/** `4.2s`, `42s`, `3m 05s`, `2h 10m`. */
export function formatSeconds(seconds: number): string {
  if (seconds < 9.95) return `${seconds.toFixed(1)}s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole}s`;
  if (whole < 3600) return `${Math.floor(whole / 60)}m ${String(whole % 60).padStart(2, '0')}s`;
  return `${Math.floor(whole / 3600)}h ${String(Math.floor((whole % 3600) / 60)).padStart(2, '0')}m`;
}
