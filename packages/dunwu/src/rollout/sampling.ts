import { op, type Tensor, tensor, zerosLike } from '@dunwu/torch';
import { Random } from '../util/random.js';
import type { Sampling } from './sampling-config.js';

/**
 * The random numbers of one sequence. They depend on the seed and on the sequence's own key alone, so its tokens do not
 * depend on what else is in the batch.
 */
export class SequenceRandom {
  readonly #random: Random;

  constructor(seed: number | string, key: string) {
    this.#random = new Random(`${seed}/${key}`);
  }

  /** Uniform in [0, 1) with 24 bits, so that float32 holds it exactly and it never rounds up to 1. */
  next(): number {
    return Math.floor(this.#random.next() * 16777216) / 16777216;
  }
}

/** Sets all but the top_k and the top_p most likely tokens to −inf. logits [rows, vocabulary], already tempered. */
export function truncateLogits(logits: Tensor, { top_k, top_p }: Pick<Sampling, 'top_k' | 'top_p'>): Tensor {
  let kept = logits;
  const vocabulary = logits.size(-1);
  if (top_k > 0 && top_k < vocabulary) {
    const threshold = logits.topk(top_k, -1)[0].narrow(-1, top_k - 1, 1);
    kept = kept.maskedFill(kept.lt(threshold), Number.NEGATIVE_INFINITY);
  }
  if (top_p < 1) {
    const [sorted, order] = kept.sort(-1, true);
    const probabilities = sorted.softmax(-1);
    // A token stays when the mass before it is still below top_p; so the first always stays.
    const before = probabilities.cumsum(-1).sub(probabilities);
    const dropped = before.ge(top_p);
    kept = zerosLike(kept).scatter(-1, order, sorted.maskedFill(dropped, Number.NEGATIVE_INFINITY));
  }
  return kept;
}

/**
 * Draws a token per row by inverting the cumulative distribution.
 *
 * @param logits float32 [rows, vocabulary]
 * @param uniforms one number in [0, 1) per row; not used at temperature 0
 * @returns tokens int64 [rows] and, float32 [rows], their log-probabilities under the tempered distribution before
 *   top_k and top_p cut it (the policy that a trainer computes again); at temperature 0 under the untempered one
 */
export function sampleTokens(
  logits: Tensor,
  uniforms: readonly number[],
  sampling: Pick<Sampling, 'temperature' | 'top_k' | 'top_p'>,
): { tokens: Tensor; logprobs: Tensor } {
  const { temperature } = sampling;
  if (temperature === 0) {
    const tokens = logits.argmax(-1);
    return { tokens, logprobs: pick(logits, tokens) };
  }
  const tempered = temper(logits, temperature);
  const tokens = drawByInversion(truncateLogits(tempered, sampling).softmax(-1), uniforms);
  return { tokens, logprobs: pick(tempered, tokens) };
}

/**
 * Draws a token per row from shares that need not add up to 1, by inverting their cumulative sum.
 * @param shares [rows, vocabulary], none negative and not all 0; `uniforms`: one number in [0, 1) per row
 * @returns int64 [rows]
 */
export function drawByInversion(shares: Tensor, uniforms: readonly number[]): Tensor {
  const cumulative = shares.cumsum(-1);
  const total = cumulative.narrow(-1, shares.size(-1) - 1, 1);
  const target = tensor(Float32Array.from(uniforms), { shape: [uniforms.length, 1] })
    .to(shares.dtype)
    .mul(total);
  // First token whose cumulative share exceeds the target; never beyond the last one with any probability at all.
  const drawn = cumulative.le(target).to('int64').sum(-1);
  const last = cumulative.lt(total).to('int64').sum(-1);
  return drawn.minimum(last);
}

/** The distribution that `sampleTokens` draws from, [rows, vocabulary]. @param sampling of a temperature above 0 */
export function samplingProbabilities(
  logits: Tensor,
  sampling: Pick<Sampling, 'temperature' | 'top_k' | 'top_p'>,
): Tensor {
  return truncateLogits(temper(logits, sampling.temperature), sampling).softmax(-1);
}

/** Log-probabilities of tokens as `sampleTokens` gives them, [rows]. */
export function samplingLogprobs(logits: Tensor, tokens: Tensor, temperature: number): Tensor {
  return pick(temperature === 0 ? logits : temper(logits, temperature), tokens);
}

/** Below it logits are divided relative to the largest, so that no quotient overflows and ties stay ties. */
const COLD = 1e-3;
/** Below it nothing changes any more: whatever is not likeliest has no probability, and float32 holds no smaller divisors. */
const COLDEST = 1e-30;

/** Logits over temperature; at temperatures near 0 shifted so that the largest is 0, which is the same distribution. */
function temper(logits: Tensor, temperature: number): Tensor {
  if (temperature === 1) return logits;
  if (temperature >= COLD) return logits.div(temperature);
  return logits.sub(logits.amax(-1, true)).div(Math.max(temperature, COLDEST));
}

/**
 * Log-probabilities of tokens [rows] under the distributions of logits [rows, vocabulary]: of the model's own where they are
 * its logits.
 */
export function pick(logits: Tensor, tokens: Tensor): Tensor {
  return logits.gather(-1, tokens.unsqueeze(-1)).squeeze(-1).sub(logits.logsumexp(-1));
}

/**
 * Draws tokens as {@link sampleTokens} does, in one fused pass, each with settings of its own.
 *
 * @param logits float32 [distinct rows, vocabulary]
 * @param owners which row of the logits each draw is from; several may draw from one
 * @param uniforms one number in [0, 1) per draw; not used at temperature 0
 * @returns for each draw the token, its log-probability (sampleTokens), and `raw`, that under the model's own distribution
 * @throws Error when the logits of a row are not finite
 */
export function drawTokens(
  logits: Tensor,
  owners: readonly number[],
  uniforms: readonly number[],
  samplings: readonly Pick<Sampling, 'temperature' | 'top_k' | 'top_p'>[],
): { tokens: number[]; logprobs: number[]; raw: number[] } {
  const rows = owners.length;
  const own = rows === logits.size(0) && owners.every((owner, i) => owner === i);
  const settings = new Float64Array(4 * rows);
  for (let i = 0; i < rows; i++) {
    const { temperature, top_k, top_p } = samplings[i] as Sampling;
    settings[i] = uniforms[i] as number;
    settings[rows + i] = temperature;
    settings[2 * rows + i] = top_k;
    settings[3 * rows + i] = top_p;
  }
  const drawn = (
    draw(
      own ? logits : logits.indexSelect(0, tensor(BigInt64Array.from(owners, BigInt))),
      tensor(settings, { shape: [4, rows] }),
    ) as Tensor
  ).numbers();
  return { tokens: drawn.slice(0, rows), logprobs: drawn.slice(rows, 2 * rows), raw: drawn.slice(2 * rows) };
}

const draw = op('dunwu::sample_tokens');
