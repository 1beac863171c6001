import type { Decodable } from '../model/decodable.js';
import type { DecoderStep, DecoderType } from '../model/decoder.js';
import { PAGE_TOKENS, type PagedCache, pagesFor } from '../model/paged-cache.js';
import { stopWatch } from '../text/stop-strings.js';
import type { Tokenizer } from '../text/tokenizer.js';
import { FusedStepper } from './fused-stepper.js';
import { SequenceRandom } from './sampling.js';
import type { Sampling } from './sampling-config.js';
import type { Draw, DrawnToken, Stepper } from './stepper.js';
import { TensorStepper } from './tensor-stepper.js';

export type { DrawnToken } from './stepper.js';

export interface GenerationRequest {
  readonly tokens: readonly number[];
  /** Responses wanted; the prompt is computed once. Default 1. */
  readonly samples?: number;
  readonly sampling: Sampling;
  /** The i-th response's random numbers come from these and i alone: other requests do not change it. */
  readonly seed: number | string;
  readonly key: string;
  /** Token ids that end a response. */
  readonly stop: readonly number[];
  /** Reads the tokens where `sampling.stop` has texts that end a response. */
  readonly tokenizer?: Pick<Tokenizer, 'stream'>;
  /** Token ids that are never drawn. */
  readonly banned?: readonly number[];
  /** How many of the likeliest tokens `onToken` is told. Default 0. */
  readonly top?: number;
  /** Told every token as it is drawn. */
  readonly onToken?: (drawn: DrawnToken, sample: number) => void;
  /** Told that a response has ended; not of a request that is cancelled before its first token. */
  readonly onEnd?: (sample: number) => void;
  /** Takes the request out: what it has so far is given back with the reason `cancelled`. */
  readonly signal?: AbortSignal;
}

export interface Generated {
  /** All that were drawn: the last is the one that ended the response, or with which one of `sampling.stop` was complete. */
  readonly tokens: readonly number[];
  readonly logprobs: readonly number[];
  readonly reason: 'stop' | 'length' | 'cancelled';
}

export interface ContinuousEngineOptions {
  /** Sequences decoded side by side. */
  readonly maxRows: number;
  /** Tokens that the cache may hold, prompts and longest responses of all sequences together: bounds memory. */
  readonly maxTokens: number;
  /** What weights are read as; default as the model's own are. */
  readonly dtype?: DecoderType;
  /** Told after every step. */
  readonly onStep?: (load: EngineLoad) => void;
}

export interface EngineLoad {
  /** Requests that wait for room. */
  readonly waiting: number;
  /** Sequences that are read or decoded. */
  readonly active: number;
}

/** A sequence that is decoded. */
interface Row {
  readonly job: Job;
  readonly sample: number;
  readonly random: SequenceRandom;
  readonly tokens: number[];
  readonly logprobs: number[];
  /** Where its entries lie in the cache: those of the prompt's whole pages are shared by the samples. */
  readonly pages: number[];
  /** Whether a text of `sampling.stop` is complete with this token; null where there are none. */
  readonly stops: ((token: number) => boolean) | null;
  reason: Generated['reason'] | null;
}

interface Job {
  readonly request: GenerationRequest;
  readonly rows: readonly Row[];
  /** The prompt's pages while it is read. */
  readonly pages: number[];
  /** Tokens of the prompt that have been read. */
  read: number;
  readonly resolve: (generated: Generated[]) => void;
  readonly reject: (error: unknown) => void;
}

/** A token to compute: the last one of a row, or one of a prompt that is read. */
interface Column {
  /** −1 − i: the token of draw i of the step that is not read yet. */
  readonly token: number;
  readonly length: number;
  readonly pages: readonly number[];
  /** Whose next token is drawn from it: the row's own, or those of all samples of a prompt that was read to its end. */
  readonly draws: readonly Row[];
}

/** A step that has begun. */
interface Flight {
  /** Whose tokens it draws, in the order of its draws. */
  readonly rows: readonly Row[];
  readonly read: () => DrawnToken[];
}

/** Prompts go on being read when there are more rows than that, if slowly. */
const LEAST_READ = 32;

/**
 * Continuous batching (Orca, Yu et al. 2022; prompts in pieces between the others' tokens as in Sarathi, Agrawal et al. 2023,
 * arXiv 2308.16369): requests come at any time, join the batch at the next step and leave it as they end, so that none waits for the
 * longest of a batch. The cache's pages bound memory: what a request may come to need is set aside before it begins, and where
 * rows or pages are used up, requests wait in the order they came. Between two steps the event loop runs: sockets are read,
 * requests arrive.
 *
 * A prompt is computed once for all its samples, and its whole pages are kept once. A request's tokens depend on its seed and key,
 * not on its company: on the CPU, {@link Decoder} gives the same bits in any.
 *
 * On a device a step begins before the one before is read: rows that turn out to have ended then are computed once more for
 * nothing, and the device never waits for this program.
 */
export class ContinuousEngine {
  readonly #model: Decodable;
  readonly #options: ContinuousEngineOptions;
  readonly #maxPages: number;
  readonly #waiting: Job[] = [];
  /** Jobs whose prompts are being read. */
  #reading: Job[] = [];
  #active: Row[] = [];
  #reserved = 0;
  #stepper: Stepper | null = null;
  /** Begun and not read, between two steps: where a step can begin ahead. */
  #flight: Flight | null = null;
  #cache: PagedCache | null = null;
  #running = false;
  #disposed = false;

  constructor(model: Decodable, options: ContinuousEngineOptions) {
    this.#model = model;
    this.#options = options;
    this.#maxPages = pagesFor(options.maxTokens);
  }

  /** Requests that wait for room, and sequences that are read or decoded. */
  get load(): EngineLoad {
    const reading = this.#reading.reduce((sum, { rows }) => sum + rows.length, 0);
    return { waiting: this.#waiting.length, active: this.#active.length + reading };
  }

  /**
   * @returns one for each sample, in order
   * @throws Error (as a rejection) when the request can never be served (`problem`), or the engine fails
   */
  generate(request: GenerationRequest): Promise<Generated[]> {
    return new Promise((resolve, reject) => {
      const problem = this.#disposed ? 'the engine is closed' : this.problem(request);
      if (problem !== null) {
        reject(new Error(problem));
        return;
      }
      const rows: Row[] = [];
      const job: Job = { request, rows, pages: [], read: 0, resolve, reject };
      for (let sample = 0; sample < (request.samples ?? 1); sample++) {
        const random = new SequenceRandom(request.seed, `${request.key}/${sample}`);
        const stops = stopWatch(request.tokenizer, request.sampling.stop);
        rows.push({ job, sample, random, tokens: [], logprobs: [], pages: [], stops, reason: null });
      }
      this.#waiting.push(job);
      void this.#run();
    });
  }

  /** Frees the cache. Requests that are not answered yet are rejected. */
  dispose(): void {
    this.#disposed = true;
    this.#abandon(new Error('the engine is closed'));
    this.#stepper?.dispose();
    this.#stepper = null;
  }

  /**
   * Why a request can never be served: an empty prompt, a token that the model does not have, more positions than the model's, more
   * rows or tokens than the engine has at all; null when it can.
   */
  problem({ tokens, samples = 1, sampling, banned = [], top = 0 }: GenerationRequest): string | null {
    const { max_position_embeddings: limit, vocab_size } = this.#model.config;
    const longest = tokens.length + sampling.max_tokens;
    if (tokens.length === 0) return 'the prompt is empty';
    const unknown = tokens.find((token) => !(Number.isInteger(token) && token >= 0 && token < vocab_size));
    if (unknown !== undefined) return `the prompt has the token ${unknown}; the model's are 0 to ${vocab_size - 1}`;
    const never = banned.find((token) => !(Number.isInteger(token) && token >= 0 && token < vocab_size));
    if (never !== undefined) return `the token ${never} is banned; the model's are 0 to ${vocab_size - 1}`;
    if (top > vocab_size) return `the ${top} likeliest tokens are asked for; the model has ${vocab_size}`;
    if (samples < 1) return `samples must be at least 1, got ${samples}`;
    if (longest > limit) {
      return `a prompt of ${tokens.length} tokens and ${sampling.max_tokens} new ones exceed the model's ${limit} positions`;
    }
    const { maxRows, maxTokens } = this.#options;
    if (samples > maxRows)
      return `${samples} samples at once are more than the ${maxRows} that are decoded side by side`;
    if (pagesNeeded(tokens.length, samples, sampling.max_tokens) > this.#maxPages) {
      return `${samples} × ${longest} tokens are more than the ${maxTokens} that the cache may hold`;
    }
    return null;
  }

  /** Steps until nothing is left; one run at a time. */
  async #run(): Promise<void> {
    if (this.#running) return;
    this.#running = true;
    try {
      // Requests that come together begin together.
      await new Promise((resolve) => setImmediate(resolve));
      while (this.load.waiting > 0 || this.load.active > 0 || this.#flight !== null) {
        this.#dropCancelled();
        this.#admit();
        if (this.load.active === 0 && this.#flight === null) continue; // all of them were cancelled
        const begun = this.#begin();
        const { ahead } = this.#ready();
        const due = ahead ? this.#flight : begun;
        this.#flight = ahead ? begun : null;
        if (due !== null) this.#accept(due);
        this.#leave();
        this.#options.onStep?.(this.load);
        await new Promise((resolve) => setImmediate(resolve));
      }
    } catch (error) {
      // Of the engine itself (out of memory, say): whoever waits is told, and the next request begins anew.
      this.#abandon(error);
    } finally {
      this.#running = false;
    }
  }

  #abandon(error: unknown): void {
    const jobs = new Set([...this.#waiting, ...this.#reading, ...this.#active.map(({ job }) => job)]);
    this.#waiting.length = 0;
    this.#reading = [];
    this.#active = [];
    this.#reserved = 0;
    this.#drop();
    this.#cache?.dispose();
    this.#cache = null;
    for (const job of jobs) job.reject(error);
  }

  /** Waits for a step that nobody wants any more: it holds memory until it is read, and writes to the cache. */
  #drop(): void {
    const dropped = this.#flight;
    this.#flight = null;
    try {
      dropped?.read();
    } catch {} // those whose step it was are told of what came first
  }

  #dropCancelled(): void {
    const gone = ({ request }: Job): boolean => request.signal?.aborted === true;
    for (const row of this.#active) if (gone(row.job)) row.reason ??= 'cancelled';
    const cancelled = [...this.#waiting, ...this.#reading].filter(gone);
    for (const job of cancelled) {
      if (job.pages.length > 0) this.#release(job.pages);
      if (this.#reading.includes(job)) this.#reserved -= this.#need(job);
      job.resolve(job.rows.map(() => ({ tokens: [], logprobs: [], reason: 'cancelled' as const })));
    }
    if (cancelled.length > 0) {
      this.#waiting.splice(0, Infinity, ...this.#waiting.filter((job) => !gone(job)));
      this.#reading = this.#reading.filter((job) => !gone(job));
    }
    this.#leave();
  }

  #need({ request, rows }: Job): number {
    return pagesNeeded(request.tokens.length, rows.length, request.sampling.max_tokens);
  }

  /** Takes the requests that have waited longest, as long as there is room for what they may come to need. */
  #admit(): void {
    for (let [job] = this.#waiting; job !== undefined; [job] = this.#waiting) {
      const need = this.#need(job);
      if (this.load.active + job.rows.length > this.#options.maxRows) return;
      if (this.#reserved + need > this.#maxPages) return;
      this.#waiting.shift();
      this.#reserved += need;
      this.#reading.push(job);
      this.#model.reserve(job.request.tokens.length + job.request.sampling.max_tokens);
    }
  }

  /** Begins a step of the model: the last token of every row, and pieces of the prompts that are read. */
  #begin(): Flight | null {
    const places = new Map(this.#flight?.rows.map((row, i) => [row, i]));
    const columns: Column[] = [];
    for (const row of this.#active) {
      const place = places.get(row);
      const known = row.tokens.length + (place === undefined ? 0 : 1);
      if (known === row.job.request.sampling.max_tokens) continue; // its last token is on the way
      columns.push({
        token: place === undefined ? (row.tokens.at(-1) as number) : -1 - place,
        length: this.#entryFor(row.pages, row.job.request.tokens.length + known),
        pages: row.pages,
        draws: [row],
      });
    }
    let room = Math.max(this.#ready().columns - columns.length, LEAST_READ);
    for (const job of this.#reading) {
      const { tokens } = job.request;
      for (; room > 0 && job.read < tokens.length; room--) {
        const length = this.#entryFor(job.pages, ++job.read);
        columns.push({
          token: tokens[length - 1] as number,
          length,
          pages: job.pages,
          draws: length === tokens.length ? job.rows : [],
        });
      }
    }
    if (columns.length === 0) return null;
    const flight = this.#start(columns);
    for (const job of this.#reading.filter(({ request, read }) => read === request.tokens.length)) {
      // In this order: a job whose beginning fails is still among those that are told.
      this.#share(job);
      this.#reading = this.#reading.filter((one) => one !== job);
    }
    return flight;
  }

  /** Takes a page when the token of this place is the first of one. @returns the place */
  #entryFor(pages: number[], length: number): number {
    this.#cache ??= this.#ready().cache(this.#maxPages);
    if (pagesFor(length) > pages.length) pages.push(this.#cache.take());
    return length;
  }

  #ready(): Stepper {
    const { dtype, maxRows } = this.#options;
    this.#stepper ??=
      this.#model.device === 'cpu'
        ? new FusedStepper(this.#model, dtype)
        : new TensorStepper(this.#model, maxRows, dtype);
    return this.#stepper;
  }

  #start(columns: readonly Column[]): Flight {
    // Plain loops: this runs between every two steps, while the processor's other cores wait.
    const rows: Row[] = [];
    const draws: Draw[] = [];
    let from = 0;
    for (const column of columns) {
      if (column.draws.length === 0) continue;
      for (const row of column.draws) {
        const { sampling, banned = NONE, top = 0 } = row.job.request;
        const uniform = sampling.temperature === 0 ? 0 : row.random.next();
        rows.push(row);
        draws.push({ from, uniform, sampling, banned, top });
      }
      from++;
    }
    return { rows, read: this.#ready().start(stepOf(columns), draws, this.#cache as PagedCache) };
  }

  /** A prompt has been read: its samples share its whole pages, and each has a copy of the last one where that is not full. */
  #share({ request, rows, pages }: Job): void {
    const cache = this.#cache as PagedCache;
    const whole = Math.floor(request.tokens.length / PAGE_TOKENS);
    const from: number[] = [];
    const to: number[] = [];
    rows.forEach((row, i) => {
      row.pages.push(...pages.slice(0, whole));
      if (i === 0) {
        row.pages.push(...pages.slice(whole));
        return;
      }
      for (const page of pages.slice(0, whole)) cache.share(page);
      for (const page of pages.slice(whole)) {
        const own = cache.take();
        row.pages.push(own);
        from.push(page);
        to.push(own);
      }
    });
    cache.copy(from, to);
    pages.length = 0;
    this.#active.push(...rows);
  }

  /** Waits for a step, and tells who asked. */
  #accept({ rows, read }: Flight): void {
    const drawn = read();
    rows.forEach((row, i) => {
      this.#tell(row, drawn[i] as DrawnToken);
    });
  }

  #tell(row: Row, drawn: DrawnToken): void {
    if (row.reason !== null) return;
    const { request } = row.job;
    row.tokens.push(drawn.token);
    row.logprobs.push(drawn.logprob);
    try {
      request.onToken?.(drawn, row.sample);
    } catch (error) {
      // A listener's fault is its own request's: the others go on.
      for (const one of row.job.rows) one.reason = 'cancelled';
      row.job.reject(error);
      return;
    }
    if (request.stop.includes(drawn.token) || row.stops?.(drawn.token) === true) row.reason = 'stop';
    else if (row.tokens.length >= request.sampling.max_tokens) row.reason = 'length';
  }

  #release(pages: number[]): void {
    for (const page of pages.splice(0)) this.#cache?.release(page);
  }

  /** Takes rows that have ended out of the batch, and answers requests whose rows all have. */
  #leave(): void {
    const ended = this.#active.filter((row) => row.reason !== null);
    if (ended.length === 0) return;
    this.#active = this.#active.filter((row) => row.reason === null);
    for (const row of ended) {
      this.#release(row.pages);
      try {
        row.job.request.onEnd?.(row.sample);
      } catch (error) {
        row.job.reject(error);
      }
    }
    for (const job of new Set(ended.map((row) => row.job))) {
      if (job.rows.some((row) => row.reason === null)) continue;
      this.#reserved -= this.#need(job);
      job.resolve(job.rows.map(({ tokens, logprobs, reason }) => ({ tokens, logprobs, reason: reason ?? 'stop' })));
    }
  }
}

/** Pages that a request may come to need: those of its prompt that are full, once, and the rest for each sample. */
function pagesNeeded(prompt: number, samples: number, maxTokens: number): number {
  const shared = Math.floor(prompt / PAGE_TOKENS);
  return shared + samples * (pagesFor(prompt + maxTokens) - shared);
}

/** The columns as a step takes them. */
function stepOf(columns: readonly Column[]): DecoderStep {
  const tables: (readonly number[])[] = [];
  const places = new Map<readonly number[], number>();
  const tokens = new Int32Array(columns.length);
  const lengths = new Int32Array(columns.length);
  const sequences = new Int32Array(columns.length);
  const wanted: number[] = [];
  let pagesEach = 0;
  columns.forEach((column, i) => {
    let place = places.get(column.pages);
    if (place === undefined) {
      place = tables.push(column.pages) - 1;
      places.set(column.pages, place);
      pagesEach = Math.max(pagesEach, column.pages.length);
    }
    tokens[i] = column.token;
    lengths[i] = column.length;
    sequences[i] = place;
    if (column.draws.length > 0) wanted.push(i);
  });
  const pages = new Int32Array(tables.length * pagesEach);
  tables.forEach((table, i) => {
    pages.set(table, i * pagesEach);
  });
  return { tokens, lengths, sequences, pages, pagesEach, wanted: Int32Array.from(wanted) };
}

const NONE: readonly number[] = [];
