import {
  copyToDevice,
  copyToHost,
  Graph,
  keep,
  noGrad,
  scope,
  synchronize,
  type Tensor,
  tensor,
  zeros,
} from '@dunwu/torch';
import type { Decodable } from '../model/decodable.js';
import type { DecoderStep, DecoderType } from '../model/decoder.js';
import { PagedCache } from '../model/paged-cache.js';
import { joined, layOut, type StepShape } from '../model/step-layout.js';
import { MOST_RECORDED, TensorDecoder } from '../model/tensor-decoder.js';
import { type Draw, type DrawnToken, isOneForEach, likeliest, type Stepper } from './stepper.js';
import { banTokens, drawSettings, drawTensors } from './tensor-sampling.js';

/** All that the operators of a step depend on, beside what its tensors hold. */
interface Plan {
  readonly shape: StepShape;
  readonly draws: number;
  /** Whether several are drawn from one column, or some columns are only read. */
  readonly picks: boolean;
  /** Whether any draw has a top_k or a top_p. */
  readonly cut: boolean;
  /** Tokens that a row bans, at most. */
  readonly banned: number;
  /** Likeliest tokens that are told, at most. */
  readonly most: number;
}

/** What a step reads and writes, on the device. */
interface Buffers {
  /** Of the layout; of the wanted column of each draw where they are picked; of banned tokens. */
  readonly numbers: Tensor;
  readonly settings: Tensor;
  /** Tokens and log-probabilities: float32 [3, draws]. */
  readonly told: Tensor;
}

/** A step of a shape that comes again: computed as it is the first time, which warms up, and recorded the second. */
interface Recorded {
  readonly buffers: Buffers;
  graph: Graph | null;
}

/** Tokens of a step: enough to compute with what is read of the weights. */
export const TENSOR_COLUMNS = 2048;

/**
 * Steps on a device: {@link TensorDecoder} and `drawTensors`. A step takes two small copies there and one back; a drawn token goes into the next
 * step on the device, so that step can begin before this one is read.
 *
 * Steps in which every sequence decodes, which are nearly all, are padded to a power of two of columns and of pages, and each such
 * shape becomes a {@link Graph}: one launch. Padding decodes a page of its own.
 */
export class TensorStepper implements Stepper {
  readonly ahead = true;
  readonly columns = TENSOR_COLUMNS;
  readonly #model: Decodable;
  readonly #decoder: TensorDecoder;
  /** Tokens of the draws of the last step, int64. */
  readonly #drawn: Tensor;
  readonly #recorded = new Map<string, Recorded>();
  /** What the graphs were recorded with: where it lies elsewhere now, they are of no use. */
  #recordedWith: readonly Tensor[] = [];
  #spare = 0;

  /** @param rows sequences decoded side by side, at most */
  constructor(model: Decodable, rows: number, dtype?: DecoderType) {
    this.#model = model;
    this.#decoder = new TensorDecoder(model, dtype);
    this.#drawn = scope(() => keep(zeros([powerOfTwo(rows)], { dtype: 'int64', device: this.#decoder.device })));
  }

  cache(maxPages: number): PagedCache {
    const cache = new PagedCache(this.#model.config, maxPages + 1, this.#decoder.dtype, this.#decoder.device);
    this.#spare = cache.take();
    return cache;
  }

  start(step: DecoderStep, draws: readonly Draw[], cache: PagedCache): () => DrawnToken[] {
    const again = comesAgain(step, draws);
    const { shape, numbers } = layOut(again ? padded(step, this.#spare) : step, {
      ...this.#decoder.limits(cache),
      drawn: this.#drawn.numel,
    });
    const plan: Plan = {
      shape,
      draws: again ? shape.columns : draws.length,
      picks: !isOneForEach(draws, step.wanted.length),
      cut: draws.some(({ sampling }) => sampling.top_k > 0 || sampling.top_p < 1),
      banned: powerOfTwo(Math.max(0, ...draws.map(({ banned }) => banned.length))),
      most: Math.max(0, ...draws.map(({ top }) => top)),
    };
    const settings = drawSettings(
      draws.map(({ uniform }) => uniform),
      draws.map(({ sampling }) => sampling),
      this.#model.config.vocab_size,
      plan.draws,
    );
    const picked = plan.picks ? draws.map(({ from }) => from) : [];
    const all = joined([numbers, picked, bannedNumbers(plan, draws)]);
    return scope(() =>
      noGrad(() => {
        const recorded = again ? this.#recordedFor(plan, all.length, cache) : null;
        const { device } = this.#decoder;
        const buffers: Buffers = {
          numbers: copyToDevice(tensor(all), device, recorded?.buffers.numbers),
          settings: copyToDevice(tensor(settings), device, recorded?.buffers.settings),
          told: recorded?.buffers.told ?? zeros([3, plan.draws], { device }),
        };
        let best: [Tensor, Tensor] | null = null;
        if (recorded?.graph != null) recorded.graph.replay();
        else best = this.#compute(plan, buffers, cache.layers);
        return reading(draws, plan, buffers.told, best);
      }),
    );
  }

  dispose(): void {
    this.#forget();
    this.#drawn.dispose();
    this.#decoder.dispose();
  }

  /** The operators of a step: nothing here may hang on what tensors hold. @returns values and ids of the likeliest tokens */
  #compute(plan: Plan, buffers: Buffers, layers: readonly Tensor[]): [Tensor, Tensor] | null {
    const { shape, draws, picks, cut, banned, most } = plan;
    const numbers = buffers.numbers.to('int64');
    const bans = banned * (shape.wanted ?? shape.columns);
    const picked = picks ? draws : 0;
    const own = numbers.size(0) - picked - bans;
    const given = numbers.narrow(0, 0, shape.columns);
    // The token itself, or a draw of the step before.
    const drawn = this.#drawn.index([given.neg().sub(1).clampMin(0)]).mul(given.lt(0));
    const all = this.#decoder.compute(shape, numbers.narrow(0, 0, own), layers, given.clampMin(0).add(drawn));
    if (draws === 0) return null;
    const open = banned === 0 ? all : banTokens(all, numbers.narrow(0, own + picked, bans).view([-1, banned]));
    const logits = picks ? open.index([numbers.narrow(0, own, picked)]) : open;
    const { tokens, told } = drawTensors(logits, buffers.settings.view([4, draws]), cut);
    this.#drawn.narrow(0, 0, draws).copy_(tokens);
    buffers.told.copy_(told);
    return most === 0 ? null : open.logSoftmax(-1).topk(most, -1);
  }

  #recordedFor(plan: Plan, numbers: number, cache: PagedCache): Recorded {
    const { layers } = cache;
    const base = [...layers, ...this.#model.rotary];
    if (base.some((one, i) => one !== this.#recordedWith[i])) this.#forget();
    this.#recordedWith = base;
    const { shape, draws, cut, banned } = plan;
    const key = [shape.columns, shape.pagesEach, cut, banned].join();
    const known = this.#recorded.get(key);
    if (known !== undefined) {
      known.graph ??= new Graph(this.#decoder.device, () => {
        this.#compute(plan, known.buffers, layers);
      });
      return known;
    }
    const { device } = this.#decoder;
    const room = (size: number, dtype: 'int32' | 'float32'): Tensor => keep(zeros([size], { dtype, device }));
    const buffers: Buffers = {
      numbers: room(numbers, 'int32'),
      settings: room(4 * draws, 'float32'),
      told: keep(zeros([3, draws], { device })),
    };
    const made: Recorded = { buffers, graph: null };
    this.#recorded.set(key, made);
    return made;
  }

  #forget(): void {
    // A graph may be running.
    if (this.#recorded.size > 0) synchronize(this.#decoder.device);
    for (const { buffers, graph } of this.#recorded.values()) {
      graph?.dispose();
      for (const one of Object.values(buffers) as Tensor[]) one.dispose();
    }
    this.#recorded.clear();
  }
}

/** Whether the step is of a kind that comes again in the same shape: every column another sequence's, each with its draw. */
function comesAgain({ sequences, wanted }: DecoderStep, draws: readonly Draw[]): boolean {
  return (
    sequences.length <= MOST_RECORDED &&
    wanted.length === sequences.length &&
    wanted.every((column, i) => column === i) &&
    sequences.every((sequence, i) => i === 0 || sequence !== sequences[i - 1]) &&
    isOneForEach(draws, wanted.length) &&
    draws.every(({ top }) => top === 0)
  );
}

/** The step with columns and pages filled up to powers of two by sequences of one token, in the spare page. */
function padded({ tokens, lengths, sequences, pages, pagesEach }: DecoderStep, spare: number): DecoderStep {
  const columns = powerOfTwo(tokens.length);
  const each = powerOfTwo(pagesEach);
  const real = pages.length / pagesEach;
  const own = (column: number): boolean => column < tokens.length;
  const fill = (of: Int32Array, value: (column: number) => number): Int32Array =>
    Int32Array.from({ length: columns }, (_, i) => (own(i) ? (of[i] as number) : value(i)));
  const table = new Int32Array((real + columns - tokens.length) * each).fill(spare);
  for (let row = 0; row < real; row++) table.set(pages.subarray(row * pagesEach, (row + 1) * pagesEach), row * each);
  return {
    tokens: fill(tokens, () => 0),
    lengths: fill(lengths, () => 1),
    sequences: fill(sequences, (column) => real + column - tokens.length),
    pages: table,
    pagesEach: each,
    wanted: Int32Array.from({ length: columns }, (_, i) => i),
  };
}

/** For each wanted column the tokens that it bans, as {@link banTokens} wants them. */
function bannedNumbers({ shape, banned }: Plan, draws: readonly Draw[]): number[] {
  if (banned === 0) return [];
  const rows = Array.from({ length: shape.wanted ?? shape.columns }, (): readonly number[] => []);
  for (const draw of draws) rows[draw.from] = draw.banned;
  return rows.flatMap((ids) => Array.from({ length: banned }, (_, i) => ids[i] ?? ids[0] ?? -1));
}

/** Starts the copy of what a step tells; what is returned waits for it. */
function reading(
  draws: readonly Draw[],
  { draws: count, most }: Plan,
  told: Tensor,
  best: [Tensor, Tensor] | null,
): () => DrawnToken[] {
  if (draws.length === 0) return () => [];
  const copies = [told, ...(best ?? [])].map((one) => copyToHost(one));
  return () => {
    const [values, scores, ids] = copies.map((read) => read()) as [Float32Array, Float32Array?, BigInt64Array?];
    const likely = scores === undefined || ids === undefined ? null : { values: scores, ids };
    return draws.map((draw, i) => {
      const token = values[i] as number;
      if (token < 0) {
        throw new Error(`sampling: the logits of row ${i} are not finite: the model's weights may be broken`);
      }
      const [logprob, own] = [values[count + i] as number, values[2 * count + i] as number];
      return { token, logprob, own, top: likeliest(draw, most, likely) };
    });
  };
}

/** The smallest power of two that is no less; 0 for 0. */
function powerOfTwo(count: number): number {
  return count === 0 ? 0 : 2 ** Math.ceil(Math.log2(count));
}
