import { arange, full, keep, noGrad, scope, type Tensor, tensor } from '@dunwu/torch';
import type { CausalModel } from '../model/causal-model.js';
import type { TokenCache } from '../model/token-cache.js';
import { stopWatch } from '../text/stop-strings.js';
import type { RolloutOptions, RolloutPrompt, Sample } from './engine.js';
import { drawByInversion, SequenceRandom, sampleTokens, samplingLogprobs, samplingProbabilities } from './sampling.js';
import { verifyDrafts } from './speculative-sampling.js';

/** How well drafting went. */
export interface SpeculativeStats {
  /** Drafted tokens that the model looked at, and those of them that it kept. */
  readonly drafted: number;
  readonly accepted: number;
  /** Passes of the model, each sequence's counted apart, and the tokens that came of them: those of the prompt's own pass
   *  are left out. */
  readonly steps: number;
  readonly tokens: number;
}

interface Row {
  readonly prompt: number;
  readonly sample: number;
  /** Of the prompt. */
  readonly length: number;
  readonly random: SequenceRandom;
  readonly tokens: number[];
  readonly logprobs: number[];
  /** As of the plain engine. */
  readonly stops: ((token: number) => boolean) | null;
  reason: Sample['reason'] | null;
}

/** What is known of the active rows between two steps. */
interface State {
  readonly cache: TokenCache;
  /** Of module 1. */
  readonly drafts: TokenCache;
  /** The token drafted for each row's next place, int64 [rows], and above temperature 0 the distribution it is from. */
  draft: Tensor;
  drafted: Tensor | null;
}

const NEGATIVE_INFINITY = Number.NEGATIVE_INFINITY;

/**
 * Generates with the model's first module of multi-token prediction as the draft (DeepSeek-V3, arXiv 2412.19437 §2.2): the
 * module guesses the token after the next, and one pass of the model over both tells whether the guess stands and, if it
 * does, gives the one after it. Each step so gives one token or two.
 *
 * At temperature 0 the tokens are those of RolloutEngine, up to rounding where two logits tie: the products of two tokens at
 * once round differently from those of one. Above it they are draws from the same distribution (speculative-sampling.ts),
 * though not the same draws. For few rows, where a pass costs the reading of the weights and not the arithmetic.
 */
export class SpeculativeEngine {
  readonly model: CausalModel;
  #stats: SpeculativeStats = { drafted: 0, accepted: 0, steps: 0, tokens: 0 };

  /** @throws Error when the model has no module to draft with, or is not on the CPU. */
  constructor(model: CausalModel) {
    if (model.predictionDepth === 0) {
      throw new Error(
        'speculative decoding: the model has no module of multi-token prediction to draft with (num_nextn_predict_layers)',
      );
    }
    const { device } = model;
    if (device !== 'cpu') {
      throw new Error(
        `speculative decoding works on the CPU alone, and the model is on ${device}: decode without it there`,
      );
    }
    this.model = model;
  }

  /** Of all that this engine has generated. */
  get stats(): SpeculativeStats {
    return this.#stats;
  }

  /** As RolloutEngine's: all samples, ordered by prompt and sample. `maxRows` is 64 by default. */
  async generate(prompts: readonly RolloutPrompt[], options: RolloutOptions): Promise<Sample[]> {
    const { sampling, maxRows = 64 } = options;
    const limit = this.model.config.max_position_embeddings;
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
    const all = prompts.flatMap(({ tokens, samples, key }, prompt) =>
      Array.from(
        { length: samples },
        (_, sample): Row => ({
          prompt,
          sample,
          length: tokens.length,
          random: new SequenceRandom(options.seed, `${key}/${sample}`),
          tokens: [],
          logprobs: [],
          stops: stopWatch(options.tokenizer, sampling.stop),
          reason: null,
        }),
      ),
    );
    const report = (): void =>
      options.onProgress?.(
        all.filter(({ reason }) => reason !== null).length,
        all.length,
        all.reduce((sum, { tokens }) => sum + tokens.length, 0),
      );
    for (let start = 0; start < all.length; start += maxRows) {
      await this.#run(prompts, all.slice(start, start + maxRows), options, report);
    }
    return all.map(({ prompt, sample, tokens, logprobs, reason }) => ({
      prompt,
      sample,
      tokens,
      logprobs,
      reason: reason ?? 'length',
    }));
  }

  async #run(
    prompts: readonly RolloutPrompt[],
    rows: readonly Row[],
    options: RolloutOptions,
    report: () => void,
  ): Promise<void> {
    const ends = new Set(options.stop);
    const take = (row: Row, token: number, logprob: number): void => {
      row.tokens.push(token);
      row.logprobs.push(logprob);
      options.onToken?.(token, row.prompt, row.sample);
      if (ends.has(token) || row.stops?.(token) === true) row.reason = 'stop';
      else if (row.tokens.length >= options.sampling.max_tokens) row.reason = 'length';
    };
    const state = this.#prefill(prompts, rows, options, take);
    let active = rows;
    let steps = 0;
    try {
      for (;;) {
        const alive = active.flatMap((row, i) => (row.reason === null ? [i] : []));
        report();
        if (alive.length === 0) return;
        if (options.signal?.aborted === true) throw new Error('generation was interrupted');
        if (alive.length < active.length) {
          select(state, alive);
          active = alive.map((i) => active[i] as Row);
        }
        this.#step(state, active, options, take);
        // Lets signals and timers in: libtorch computes on this thread.
        if (++steps % 8 === 0) await new Promise((resolve) => setImmediate(resolve));
      }
    } finally {
      state.cache.dispose();
      state.drafts.dispose();
      state.draft.dispose();
      state.drafted?.dispose();
    }
  }

  /** Runs the prompts, draws each row's first token and drafts its second. */
  #prefill(
    prompts: readonly RolloutPrompt[],
    rows: readonly Row[],
    { sampling, banned = [] }: RolloutOptions,
    take: (row: Row, token: number, logprob: number) => void,
  ): State {
    const model = this.model;
    const used = [...new Set(rows.map(({ prompt }) => prompt))];
    const place = new Map(used.map((prompt, i) => [prompt, i]));
    const owners = rows.map(({ prompt }) => place.get(prompt) as number);
    const longest = Math.max(...rows.map(({ length }) => length));
    const capacity = longest + sampling.max_tokens;
    model.reserve(capacity);
    const shared = model.cache(used.length, longest);
    const drafts = model.predictionCache(rows.length, capacity);
    try {
      return scope(() =>
        noGrad(() => {
          // Padding stands on the right, where no real token looks; decoding overwrites what it left in the caches.
          const padded = used.map((prompt) => padRow(prompts[prompt]?.tokens ?? [], longest));
          const { hidden } = model.forward({ tokens: ids(padded) }, { cache: shared });
          const index = int64(owners);
          const states = hidden.view([used.length, longest, -1]).indexSelect(0, index);
          const ends = int64(rows.map(({ length }, row) => row * longest + length - 1));
          const last = (all: Tensor): Tensor => ban(model.logits(all.indexSelect(0, ends)), banned);
          const flat = states.reshape([rows.length * longest, -1]);
          const uniforms = sampling.temperature === 0 ? [] : rows.map(({ random }) => random.next());
          const first = sampleTokens(last(flat), uniforms, sampling);
          const tokens = first.tokens.numbers();
          const logprobs = first.logprobs.numbers();
          // Module 1 reads the token behind each place: the prompt from its second token on, then the one just drawn.
          const behind = rows.map(({ prompt }, row) =>
            padRow([...(prompts[prompt]?.tokens.slice(1) ?? []), tokens[row] as number], longest),
          );
          const input = { tokens: ids(owners.map((owner) => padded[owner] as number[])) };
          const [said] = model.predictions(flat, input, [ids(behind)], drafts);
          const next = draw(last((said as { hidden: Tensor }).hidden), rows, sampling);
          rows.forEach((row, i) => {
            take(row, tokens[i] as number, logprobs[i] as number);
          });
          return {
            cache: shared.gather(index, longest, capacity),
            drafts,
            draft: keep(next.tokens),
            drafted: next.from === null ? null : keep(next.from),
          };
        }),
      );
    } catch (error) {
      drafts.dispose();
      throw error;
    } finally {
      shared.dispose();
    }
  }

  /** One pass of the model over each row's last token and its draft, and one of the module over what came of it. */
  #step(
    state: State,
    rows: readonly Row[],
    { sampling, banned = [] }: RolloutOptions,
    take: (row: Row, token: number, logprob: number) => void,
  ): void {
    const model = this.model;
    const greedy = sampling.temperature === 0;
    const lengths = rows.map(({ length, tokens }) => length + tokens.length);
    const keys = Math.max(...lengths) + 1;
    const before = rows.reduce((sum, { tokens }) => sum + tokens.length, 0);
    const next = scope(() =>
      noGrad(() => {
        const positions = ids(lengths.map((length) => [length - 1, length]));
        const mask = full([rows.length, 2, keys], 0)
          .maskedFill(arange(0, keys, 1, { dtype: 'int64' }).gt(positions.unsqueeze(-1)), NEGATIVE_INFINITY)
          .unsqueeze(1);
        const drafts = state.draft.numbers();
        const read = ids(rows.map(({ tokens }, i) => [tokens.at(-1) as number, drafts[i] as number]));
        const hidden = model.steps(read, positions, state.cache, keys, mask);
        const logits = ban(model.logits(hidden), banned).view([rows.length, 2, -1]);
        const [behindLast, behindDraft] = [logits.select(1, 0), logits.select(1, 1)];
        // Drawn whether they are needed or not: a row's numbers do not depend on what became of its drafts.
        const chance = rows.map(({ random }) => (greedy ? [] : [random.next(), random.next(), random.next()]));
        const numbers = (at: number): number[] => chance.map((three) => three[at] as number);
        let tokens: Tensor;
        let accepted: readonly boolean[];
        if (state.drafted === null) {
          tokens = behindLast.argmax(-1);
          accepted = tokens.numbers().map((token, i) => token === drafts[i]);
        } else {
          const target = samplingProbabilities(behindLast, sampling);
          ({ tokens, accepted } = verifyDrafts(target, state.drafted, state.draft, numbers(0), numbers(1)));
        }
        const after = sampleTokens(behindDraft, greedy ? [] : numbers(2), sampling);
        const first = tokens.numbers();
        const logprobs = samplingLogprobs(behindLast, tokens, sampling.temperature).numbers();
        const second = after.tokens.numbers();
        const secondLogprobs = after.logprobs.numbers();
        rows.forEach((row, i) => {
          take(row, first[i] as number, logprobs[i] as number);
          if (accepted[i] && row.reason === null) take(row, second[i] as number, secondLogprobs[i] as number);
        });
        // Where the draft fell, the second place of both caches is of a token that is not there; the next step writes over it.
        const said = model.predictionStep(
          hidden,
          ids(first.map((token, i) => [token, second[i] as number])),
          positions,
          state.drafts,
          keys,
          mask,
        );
        const places = int64(accepted.map((kept, i) => 2 * i + (kept ? 1 : 0)));
        this.#stats = {
          drafted: this.#stats.drafted + rows.length,
          accepted: this.#stats.accepted + accepted.filter(Boolean).length,
          steps: this.#stats.steps + rows.length,
          tokens: this.#stats.tokens + rows.reduce((sum, row) => sum + row.tokens.length, 0) - before,
        };
        const drawn = draw(ban(model.logits(said.indexSelect(0, places)), banned), rows, sampling);
        return { tokens: keep(drawn.tokens), from: drawn.from === null ? null : keep(drawn.from) };
      }),
    );
    state.draft.dispose();
    state.drafted?.dispose();
    state.draft = next.tokens;
    state.drafted = next.from;
  }
}

/** Draws the drafts from the module's logits as the tokens are drawn from the model's. */
function draw(
  logits: Tensor,
  rows: readonly Row[],
  sampling: RolloutOptions['sampling'],
): { tokens: Tensor; from: Tensor | null } {
  if (sampling.temperature === 0) return { tokens: logits.argmax(-1), from: null };
  const from = samplingProbabilities(logits, sampling);
  return {
    tokens: drawByInversion(
      from,
      rows.map(({ random }) => random.next()),
    ),
    from,
  };
}

/** Leaves the given rows only. */
function select(state: State, alive: readonly number[]): void {
  const index = int64(alive);
  state.cache.compact(index);
  state.drafts.compact(index);
  const picked = (tensor_: Tensor): Tensor => {
    const left = scope(() => keep(tensor_.indexSelect(0, index)));
    tensor_.dispose();
    return left;
  };
  state.draft = picked(state.draft);
  if (state.drafted !== null) state.drafted = picked(state.drafted);
  index.dispose();
}

function ban(logits: Tensor, banned: readonly number[]): Tensor {
  for (const id of banned) logits.narrow(-1, id, 1).fill_(NEGATIVE_INFINITY);
  return logits;
}

const padRow = (tokens: readonly number[], length: number): number[] => [
  ...tokens,
  ...new Array<number>(length - tokens.length).fill(0),
];
const int64 = (values: readonly number[]): Tensor => tensor(BigInt64Array.from(values, BigInt));
const ids = (list: readonly (readonly number[])[]): Tensor =>
  tensor(BigInt64Array.from(list.flat(), BigInt), { shape: [list.length, list[0]?.length ?? 0] });
