import type { Decodable } from '../model/decodable.js';
import type { DecoderType } from '../model/decoder.js';
import { PAGE_TOKENS } from '../model/paged-cache.js';
import type { Tokenizer } from '../text/tokenizer.js';
import { ContinuousEngine } from './continuous-engine.js';
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
  /** `stop`: the model ended the text, or said one of `sampling.stop`. `length`: max_tokens were reached. */
  readonly reason: 'stop' | 'length';
}

export interface RolloutOptions {
  readonly sampling: Sampling;
  readonly seed: number | string;
  /** Token ids that end a response. */
  readonly stop: readonly number[];
  /** Reads the tokens where `sampling.stop` has texts that end a response. */
  readonly tokenizer?: Pick<Tokenizer, 'stream'>;
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

/**
 * Generates responses with the weights of a model as they are now: all prompts through one {@link ContinuousEngine}, and then
 * its memory is given back.
 */
export class RolloutEngine {
  readonly model: Decodable;
  readonly #dtype: DecoderType | undefined;

  /** @param dtype what weights are read as while decoding; default as they are */
  constructor(model: Decodable, dtype?: DecoderType) {
    this.model = model;
    this.#dtype = dtype;
  }

  /** All samples, ordered by prompt and sample. @throws Error when a prompt is empty or too long for the model. */
  async generate(prompts: readonly RolloutPrompt[], options: RolloutOptions): Promise<Sample[]> {
    const { sampling, maxRows = 512, seed, stop, tokenizer, banned, signal, onProgress, onToken } = options;
    this.#check(prompts, sampling.max_tokens);
    const total = prompts.reduce((sum, { samples }) => sum + samples, 0);
    const longest = prompts.reduce((most, { tokens }) => Math.max(most, tokens.length), 0) + sampling.max_tokens;
    const rows = prompts.reduce((most, { samples }) => Math.max(most, samples), Math.min(maxRows, total));
    let made = 0;
    let finished = 0;
    const engine = new ContinuousEngine(this.model, {
      maxRows: rows,
      // A page more for each row: pages are taken whole.
      maxTokens: rows * (longest + PAGE_TOKENS),
      ...(this.#dtype === undefined ? {} : { dtype: this.#dtype }),
      onStep: () => onProgress?.(finished, total, made),
    });
    try {
      const samples = await Promise.all(
        prompts.map(async ({ tokens, samples, key }, prompt) => {
          const generated = await engine.generate({
            tokens,
            samples,
            key,
            sampling,
            seed,
            stop,
            ...(tokenizer === undefined ? {} : { tokenizer }),
            ...(banned === undefined ? {} : { banned }),
            ...(signal === undefined ? {} : { signal }),
            onToken: ({ token }, sample) => {
              made++;
              onToken?.(token, prompt, sample);
            },
            onEnd: () => {
              finished++;
            },
          });
          return generated.map((one, sample) => ({ prompt, sample, ...one }));
        }),
      );
      // A signal takes effect between two steps; what had ended by then is not enough to go on with.
      if (signal?.aborted === true) throw new Error('generation was interrupted');
      return samples.flat() as Sample[];
    } finally {
      engine.dispose();
    }
  }

  #check(prompts: readonly RolloutPrompt[], maxTokens: number): void {
    const limit = this.model.config.max_position_embeddings;
    prompts.forEach(({ tokens, samples }, i) => {
      if (tokens.length === 0) throw new Error(`prompt ${i} is empty`);
      if (samples < 1) throw new Error(`prompt ${i}: samples must be at least 1, got ${samples}`);
      if (tokens.length + maxTokens > limit) {
        throw new Error(
          `prompt ${i} has ${tokens.length} tokens; with max_tokens ${maxTokens} that exceeds the model's ` +
            `max_position_embeddings ${limit}`,
        );
      }
    });
  }
}
