import { noGrad, scope, type Tensor, tensor } from '@dunwu/torch';
import type { CausalModel } from '../model/causal-model.js';
import { TokenCache } from '../model/token-cache.js';
import { decodeStep } from './decode-step.js';
import { pick, SequenceRandom, sampleTokens } from './sampling.js';
import type { Sampling } from './sampling-config.js';

/** A token as it is drawn. */
export interface DrawnToken {
  readonly token: number;
  /** Under the tempered distribution before top_k and top_p cut it (sampleTokens). */
  readonly logprob: number;
  /** Under the model's own distribution, whatever the temperature: comparable with `top`. */
  readonly own: number;
  /** The likeliest tokens of the model's own distribution with their log-probabilities, best first, where asked for. */
  readonly top: readonly (readonly [token: number, logprob: number])[];
}

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
  /** How many of the likeliest tokens `onToken` is told. Default 0. */
  readonly top?: number;
  /** Told every token as it is drawn; true ends that response as `stop` does. */
  readonly onToken?: (drawn: DrawnToken, sample: number) => boolean | undefined;
  /** Takes the request out: what it has so far is given back with the reason `cancelled`. */
  readonly signal?: AbortSignal;
}

export interface Generated {
  readonly tokens: readonly number[];
  readonly logprobs: readonly number[];
  readonly reason: 'stop' | 'length' | 'cancelled';
}

export interface ContinuousEngineOptions {
  /** Sequences decoded side by side. */
  readonly maxRows: number;
  /** Tokens that the cache may be asked to hold, prompts and longest responses of all sequences together: bounds memory. */
  readonly maxTokens: number;
}

/** A row of the batch. */
interface Row {
  readonly job: Job;
  readonly sample: number;
  readonly random: SequenceRandom;
  readonly tokens: number[];
  readonly logprobs: number[];
  reason: Generated['reason'] | null;
}

interface Job {
  readonly request: GenerationRequest;
  readonly rows: readonly Row[];
  readonly resolve: (generated: Generated[]) => void;
  readonly reject: (error: unknown) => void;
}

/** Cache capacities are multiples of this, so that a batch seldom grows. */
const CAPACITY_STEP = 64;

/**
 * Continuous batching (Orca, Yu et al. 2022): requests come at any time, join the batch at the next step and leave it as they
 * end, so that none waits for the longest of a batch. Where rows or the cache's tokens are used up, requests wait in the
 * order they came. Between two steps the event loop runs: sockets are read, requests arrive.
 *
 * A request's tokens depend on its seed and key, not on its company, but for what rounding does to a draw that hangs on
 * the last bit: matrix products of other sizes may round differently.
 */
export class ContinuousEngine {
  readonly #model: CausalModel;
  readonly #options: ContinuousEngineOptions;
  readonly #waiting: Job[] = [];
  #active: Row[] = [];
  #cache: TokenCache | null = null;
  #running = false;

  constructor(model: CausalModel, options: ContinuousEngineOptions) {
    this.#model = model;
    this.#options = options;
  }

  /** Requests that wait for room, and sequences that are decoded. */
  get load(): { readonly waiting: number; readonly active: number } {
    return { waiting: this.#waiting.length, active: this.#active.length };
  }

  /**
   * @returns one for each sample, in order
   * @throws Error (as a rejection) when the request can never be served (`problem`), or the engine fails
   */
  generate(request: GenerationRequest): Promise<Generated[]> {
    return new Promise((resolve, reject) => {
      const problem = this.problem(request);
      if (problem !== null) {
        reject(new Error(problem));
        return;
      }
      const rows: Row[] = [];
      const job: Job = { request, rows, resolve, reject };
      for (let sample = 0; sample < (request.samples ?? 1); sample++) {
        const random = new SequenceRandom(request.seed, `${request.key}/${sample}`);
        rows.push({ job, sample, random, tokens: [], logprobs: [], reason: null });
      }
      this.#waiting.push(job);
      void this.#run();
    });
  }

  /**
   * Why a request can never be served: an empty prompt, one beyond the model's positions, more rows or tokens than the engine
   * has at all; null when it can.
   */
  problem({ tokens, samples = 1, sampling }: GenerationRequest): string | null {
    const limit = this.#model.config.max_position_embeddings;
    const longest = tokens.length + sampling.max_tokens;
    if (tokens.length === 0) return 'the prompt is empty';
    if (samples < 1) return `samples must be at least 1, got ${samples}`;
    if (longest > limit) {
      return `a prompt of ${tokens.length} tokens and ${sampling.max_tokens} new ones exceed the model's ${limit} positions`;
    }
    const { maxRows, maxTokens } = this.#options;
    if (samples > maxRows)
      return `${samples} samples at once are more than the ${maxRows} that are decoded side by side`;
    if (samples * longest > maxTokens) {
      return `${samples} × ${longest} tokens are more than the ${maxTokens} that the cache may hold`;
    }
    return null;
  }

  /** Steps until nothing is left; one run at a time. */
  async #run(): Promise<void> {
    if (this.#running) return;
    this.#running = true;
    try {
      while (this.#waiting.length > 0 || this.#active.length > 0) {
        this.#dropCancelled();
        this.#admit();
        this.#leave();
        if (this.#active.length > 0) this.#accept(this.#active, this.#step());
        this.#leave();
        await new Promise((resolve) => setImmediate(resolve));
      }
    } catch (error) {
      // Of the engine itself (out of memory, say): whoever waits is told, and the next request begins anew.
      const jobs = new Set([...this.#waiting, ...this.#active.map(({ job }) => job)]);
      this.#waiting.length = 0;
      this.#active = [];
      this.#cache?.dispose();
      this.#cache = null;
      for (const job of jobs) job.reject(error);
    } finally {
      this.#running = false;
    }
  }

  #dropCancelled(): void {
    for (const row of this.#active) if (row.job.request.signal?.aborted === true) row.reason ??= 'cancelled';
    for (let i = this.#waiting.length - 1; i >= 0; i--) {
      const job = this.#waiting[i] as Job;
      if (job.request.signal?.aborted !== true) continue;
      this.#waiting.splice(i, 1);
      job.resolve(job.rows.map(() => ({ tokens: [], logprobs: [], reason: 'cancelled' as const })));
    }
    this.#leave();
  }

  /** Takes the first request that waits, if there is room, computes its prompt and draws its first tokens. */
  #admit(): void {
    const [job] = this.#waiting;
    if (job === undefined) return;
    const { maxRows, maxTokens } = this.#options;
    if (this.#active.length + job.rows.length > maxRows) return;
    const reserved = [...this.#active, ...job.rows].reduce((sum, row) => sum + longestOf(row), 0);
    if (reserved > maxTokens) return;
    this.#waiting.shift();
    let logits: Tensor;
    try {
      logits = this.#prefill(job);
    } catch (error) {
      job.reject(error); // its own fault: a token that the model does not have, say
      return;
    }
    this.#active = [...this.#active, ...job.rows];
    this.#accept(job.rows, logits);
  }

  #prefill({ request, rows }: Job): Tensor {
    const model = this.#model;
    const { tokens } = request;
    model.reserve(tokens.length + request.sampling.max_tokens);
    const prompt = model.cache(1, tokens.length);
    // Which row of the prompt's cache each response begins with: the only one.
    const copies = tensor(new BigInt64Array(rows.length));
    try {
      const logits = scope(() =>
        noGrad(() => {
          const ids = tensor(BigInt64Array.from(tokens, BigInt), { shape: [1, tokens.length] });
          const { hidden } = model.forward({ tokens: ids }, { cache: prompt });
          return model.logits(hidden.narrow(0, tokens.length - 1, 1)).indexSelect(0, copies);
        }),
      );
      const own = noGrad(() => prompt.gather(copies, tokens.length));
      const before = this.#cache;
      const used = Math.max(0, ...this.#active.map(lengthOf));
      const longest = Math.max(...[...this.#active, ...rows].map(longestOf));
      const capacity = Math.ceil(longest / CAPACITY_STEP) * CAPACITY_STEP;
      const parts = [...(before === null ? [] : [{ cache: before, used }]), { cache: own, used: tokens.length }];
      this.#cache = noGrad(() => TokenCache.join(parts, capacity));
      before?.dispose();
      own.dispose();
      return logits;
    } finally {
      prompt.dispose();
      copies.dispose();
    }
  }

  /** Logits of the next token of every active row. */
  #step(): Tensor {
    const rows = this.#active.map((row) => ({ length: lengthOf(row), last: row.tokens.at(-1) as number }));
    return decodeStep(this.#model, this.#cache as TokenCache, rows);
  }

  /** Draws a token for each row from its logits (disposed) and tells who asked. */
  #accept(rows: readonly Row[], logits: Tensor): void {
    const drawn: DrawnToken[] = [];
    try {
      // Rows with the same way to draw are drawn together.
      for (const places of grouped(rows)) {
        const group = places.map((place) => rows[place] as Row);
        const { sampling } = (group[0] as Row).job.request;
        const found = scope(() =>
          noGrad(() => {
            const own =
              group.length === rows.length ? logits : logits.indexSelect(0, tensor(BigInt64Array.from(places, BigInt)));
            const uniforms = sampling.temperature === 0 ? [] : group.map((row) => row.random.next());
            const { tokens, logprobs } = sampleTokens(own, uniforms, sampling);
            const plain = sampling.temperature === 0 || sampling.temperature === 1 ? logprobs : pick(own, tokens);
            const most = Math.max(...group.map(({ job }) => job.request.top ?? 0));
            const top = most === 0 ? null : own.sub(own.logsumexp(-1, true)).topk(most, -1);
            return {
              tokens: tokens.numbers(),
              logprobs: logprobs.numbers(),
              plain: plain.numbers(),
              most,
              top: top === null ? null : { values: top[0].numbers(), ids: top[1].numbers() },
            };
          }),
        );
        group.forEach((row, i) => {
          const wanted = row.job.request.top ?? 0;
          drawn[places[i] as number] = {
            token: found.tokens[i] as number,
            logprob: found.logprobs[i] as number,
            own: found.plain[i] as number,
            top: Array.from({ length: wanted }, (_, rank) => {
              const at = i * found.most + rank;
              return [found.top?.ids[at] as number, found.top?.values[at] as number] as const;
            }),
          };
        });
      }
    } finally {
      logits.dispose();
    }
    rows.forEach((row, i) => {
      this.#tell(row, drawn[i] as DrawnToken);
    });
  }

  #tell(row: Row, drawn: DrawnToken): void {
    if (row.reason !== null) return;
    const { request } = row.job;
    row.tokens.push(drawn.token);
    row.logprobs.push(drawn.logprob);
    let ended = false;
    try {
      ended = request.onToken?.(drawn, row.sample) === true;
    } catch (error) {
      // A listener's fault is its own request's: the others go on.
      for (const one of row.job.rows) one.reason = 'cancelled';
      row.job.reject(error);
      return;
    }
    if (ended || request.stop.includes(drawn.token)) row.reason = 'stop';
    else if (row.tokens.length >= request.sampling.max_tokens) row.reason = 'length';
  }

  /** Takes rows that have ended out of the batch, and answers requests whose rows all have. */
  #leave(): void {
    const kept = this.#active.flatMap((row, i) => (row.reason === null ? [i] : []));
    if (kept.length === this.#active.length) return;
    const ended = this.#active.filter((row) => row.reason !== null);
    this.#active = kept.map((i) => this.#active[i] as Row);
    if (kept.length === 0) {
      this.#cache?.dispose();
      this.#cache = null;
    } else {
      const index = tensor(BigInt64Array.from(kept, BigInt));
      this.#cache?.compact(index);
      index.dispose();
    }
    for (const job of new Set(ended.map((row) => row.job))) {
      if (job.rows.some((row) => row.reason === null)) continue;
      job.resolve(job.rows.map(({ tokens, logprobs, reason }) => ({ tokens, logprobs, reason: reason ?? 'stop' })));
    }
  }
}

/** Tokens that a row has now, prompt and response. */
function lengthOf(row: Row): number {
  return row.job.request.tokens.length + row.tokens.length;
}

/** Tokens that a row may come to have. */
function longestOf({ job }: Row): number {
  return job.request.tokens.length + job.request.sampling.max_tokens;
}

/** Places of the rows that draw alike, together. */
function grouped(rows: readonly Row[]): number[][] {
  const groups = new Map<string, number[]>();
  for (const [place, row] of rows.entries()) {
    const { temperature, top_p, top_k } = row.job.request.sampling;
    const key = `${temperature} ${top_p} ${top_k}`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [place]);
    else group.push(place);
  }
  return [...groups.values()];
}
