import { noGrad, scope, type Tensor, tensor } from '@dunwu/torch';
import type { CausalModel } from '../model/causal-model.js';
import type { TokenCache } from '../model/token-cache.js';
import { decodeStep } from './decode-step.js';
import { SequenceRandom, sampleTokens } from './sampling.js';
import type { Sampling } from './sampling-config.js';

/** A prompt and how many responses to it are wanted. */
export interface RolloutPrompt {
  readonly tokens: readonly number[];
  readonly samples: number;
  /** Names the prompt's random numbers; prompts with equal keys and seeds get equal draws. */
  readonly key: string;
}

/** One response. */
export interface Sample {
  /** Index of the prompt, and of the sample among those of its prompt. */
  readonly prompt: number;
  readonly sample: number;
  /** The new tokens; the end-of-text token is the last one when the model gave it. */
  readonly tokens: number[];
  /** log π(token | before) under the sampling policy, one per token (see sampleTokens). */
  readonly logprobs: number[];
  /** `stop`: the model ended the text. `length`: max_tokens were reached. */
  readonly reason: 'stop' | 'length';
}

export interface RolloutOptions {
  readonly sampling: Sampling;
  readonly seed: number | string;
  /** Token ids that end a response. */
  readonly stop: readonly number[];
  /** Token ids that are never drawn. */
  readonly banned?: readonly number[];
  /** Sequences decoded side by side; more prompts are taken in turns. Default 512. */
  readonly maxRows?: number;
  /** Asked between steps: true stops early with an error. */
  readonly signal?: AbortSignal;
  /** Told after every decoding step: sequences finished of all. */
  readonly onProgress?: (finished: number, total: number, tokens: number) => void;
  /** Told every token as it is drawn; `prompt` and `sample` as in `Sample`. */
  readonly onToken?: (token: number, prompt: number, sample: number) => void;
}

interface Row {
  readonly prompt: number;
  readonly sample: number;
  readonly length: number;
  readonly random: SequenceRandom;
  readonly tokens: number[];
  readonly logprobs: number[];
  reason: Sample['reason'] | null;
}

/**
 * Generates responses with the weights of a model as they are now. A prompt is computed once for all its samples; the
 * cache holds latents only; sequences that ended are taken out of the batch, so that they stop costing.
 */
export class RolloutEngine {
  readonly #model: CausalModel;

  constructor(model: CausalModel) {
    this.#model = model;
  }

  /** All samples, ordered by prompt and sample. @throws Error when a prompt is empty or too long for the model. */
  async generate(prompts: readonly RolloutPrompt[], options: RolloutOptions): Promise<Sample[]> {
    const { sampling, maxRows = 512 } = options;
    const limit = this.#model.config.max_position_embeddings;
    prompts.forEach(({ tokens, samples }, i) => {
      if (tokens.length === 0) throw new Error(`prompt ${i} is empty`);
      if (samples < 1) throw new Error(`prompt ${i}: samples must be at least 1, got ${samples}`);
      if (tokens.length + sampling.max_tokens > limit) {
        throw new Error(
          `prompt ${i} has ${tokens.length} tokens; with max_tokens ${sampling.max_tokens} that exceeds the model's ` +
            `max_position_embeddings ${limit}`,
        );
      }
    });
    const total = prompts.reduce((sum, { samples }) => sum + samples, 0);
    const results: Sample[] = [];
    let tokens = 0;
    // Prompts of similar length side by side waste least; the order of the results does not depend on it.
    const order = prompts
      .map((_, i) => i)
      .sort((a, b) => (prompts[a]?.tokens.length ?? 0) - (prompts[b]?.tokens.length ?? 0) || a - b);
    for (let start = 0; start < order.length; ) {
      const group: number[] = [];
      let rows = 0;
      while (start < order.length) {
        const next = order[start] as number;
        const count = prompts[next]?.samples ?? 0;
        if (group.length > 0 && rows + count > maxRows) break;
        group.push(next);
        rows += count;
        start++;
      }
      const finished = results.length;
      const batch = await this.#generateGroup(prompts, group, options, (done, made) =>
        options.onProgress?.(finished + done, total, tokens + made),
      );
      for (const row of batch) {
        tokens += row.tokens.length;
        results.push({
          prompt: row.prompt,
          sample: row.sample,
          tokens: row.tokens,
          logprobs: row.logprobs,
          reason: row.reason ?? 'length',
        });
      }
    }
    return results.sort((a, b) => a.prompt - b.prompt || a.sample - b.sample);
  }

  async #generateGroup(
    prompts: readonly RolloutPrompt[],
    group: readonly number[],
    { sampling, seed, stop, signal, banned = [], onToken }: RolloutOptions,
    onStep: (finished: number, tokens: number) => void,
  ): Promise<Row[]> {
    const model = this.#model;
    const longest = Math.max(...group.map((i) => prompts[i]?.tokens.length ?? 0));
    const capacity = longest + sampling.max_tokens;
    model.reserve(capacity);
    const all: Row[] = group.flatMap((prompt) =>
      Array.from({ length: prompts[prompt]?.samples ?? 0 }, (_, sample) => ({
        prompt,
        sample,
        length: prompts[prompt]?.tokens.length ?? 0,
        random: new SequenceRandom(seed, `${prompts[prompt]?.key}/${sample}`),
        tokens: [],
        logprobs: [],
        reason: null,
      })),
    );
    const ends = new Set(stop);
    const { cache, logits } = this.#prefill(prompts, group, longest, capacity, all);
    let active = all;
    let steps = 0;
    let pending: Tensor = logits;
    try {
      for (;;) {
        const drawn = scope(() =>
          noGrad(() => {
            for (const id of banned) pending.narrow(-1, id, 1).fill_(Number.NEGATIVE_INFINITY);
            const { tokens, logprobs } = sampleTokens(
              pending,
              sampling.temperature === 0 ? [] : active.map((row) => row.random.next()),
              sampling,
            );
            return { tokens: tokens.numbers(), logprobs: logprobs.numbers() };
          }),
        );
        pending.dispose();
        active.forEach((row, i) => {
          if (row.reason !== null) return;
          const token = drawn.tokens[i] as number;
          row.tokens.push(token);
          row.logprobs.push(drawn.logprobs[i] as number);
          onToken?.(token, row.prompt, row.sample);
          if (ends.has(token)) row.reason = 'stop';
          else if (row.tokens.length >= sampling.max_tokens) row.reason = 'length';
        });
        const alive = active.flatMap((row, i) => (row.reason === null ? [i] : []));
        onStep(
          all.length - alive.length,
          all.reduce((sum, row) => sum + row.tokens.length, 0),
        );
        if (alive.length === 0) return all;
        if (signal?.aborted === true) throw new Error('generation was interrupted');
        // Dropping rows copies the cache, so it is done when enough of them have ended to pay for it.
        if (alive.length <= active.length * 0.8) {
          const keepRows = tensor(BigInt64Array.from(alive, BigInt));
          cache.compact(keepRows);
          keepRows.dispose();
          active = alive.map((i) => active[i] as Row);
        }
        // A finished row that was not dropped yet repeats its last token in place; nobody reads the result.
        const rows = active.map(({ length, tokens }) => ({
          length: length + tokens.length,
          last: tokens.at(-1) as number,
        }));
        pending = decodeStep(model, cache, rows);
        // Lets signals and timers in: libtorch computes on this thread.
        if (++steps % 16 === 0) await new Promise((resolve) => setImmediate(resolve));
      }
    } finally {
      pending.dispose();
      cache.dispose();
    }
  }

  /** Runs every prompt once, then gives each of its samples a copy of the latents and of the last logits. */
  #prefill(
    prompts: readonly RolloutPrompt[],
    group: readonly number[],
    longest: number,
    capacity: number,
    rows: readonly Row[],
  ): { cache: TokenCache; logits: Tensor } {
    const model = this.#model;
    const { hidden_size } = model.config;
    const padded = new BigInt64Array(group.length * longest);
    const last = new BigInt64Array(group.length);
    group.forEach((index, row) => {
      const tokens = prompts[index]?.tokens ?? [];
      tokens.forEach((token, i) => {
        padded[row * longest + i] = BigInt(token);
      });
      last[row] = BigInt(row * longest + tokens.length - 1);
    });
    const place = new Map(group.map((index, row) => [index, row]));
    const owners = BigInt64Array.from(rows, (row) => BigInt(place.get(row.prompt) as number));
    const shared = model.cache(group.length, longest);
    try {
      const logits = scope(() =>
        noGrad(() => {
          // Padding stands on the right: causal attention keeps it out of sight of every real token, and decoding
          // overwrites its latents before they are looked at.
          const { hidden } = model.forward(
            { tokens: tensor(padded, { shape: [group.length, longest] }) },
            { cache: shared },
          );
          const ends = hidden.view([-1, hidden_size]).indexSelect(0, tensor(last));
          return model.logits(ends).indexSelect(0, tensor(owners));
        }),
      );
      const index = tensor(owners);
      const cache = noGrad(() => shared.gather(index, longest, capacity));
      index.dispose();
      return { cache, logits };
    } finally {
      shared.dispose();
    }
  }
}
