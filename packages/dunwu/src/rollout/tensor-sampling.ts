import { cat, op, stack, type Tensor, zeros } from '@dunwu/torch';
import type { Sampling } from './sampling-config.js';

/** Rows of {@link drawSettings}. */
const SETTINGS = ['uniform', 'temperature', 'top_k', 'top_p'] as const;

/** A draw whose token does not matter: the likeliest. */
const IDLE = { temperature: 0, top_k: 0, top_p: 1 };

/** Colder than that nothing changes, and float32 holds no smaller divisors. */
const COLDEST = 1e-30;

/** Numbers that are added up in one piece when a token is looked for, as in native/kernels/sampler.cpp. */
const PIECE = 256;

/** e^z below it is no probability, as there. */
const LEAST = 1.7e-38;

/**
 * What {@link drawTensors} asks of each draw, [4, count] in a row.
 * @param count at least as many as there are draws: the others are idle
 */
export function drawSettings(
  uniforms: readonly number[],
  samplings: readonly Pick<Sampling, 'temperature' | 'top_k' | 'top_p'>[],
  vocabulary: number,
  count = uniforms.length,
): Float32Array {
  const settings = new Float32Array(SETTINGS.length * count);
  for (let i = 0; i < count; i++) {
    const { temperature, top_k, top_p } = samplings[i] ?? IDLE;
    const kept = top_k > 0 && top_k < vocabulary ? top_k : vocabulary;
    const own = [uniforms[i] ?? 0, temperature === 0 ? 0 : Math.max(temperature, COLDEST), kept, top_p];
    own.forEach((value, row) => {
      settings[row * count + i] = value;
    });
  }
  return settings;
}

/**
 * Draws a token for each row as `drawTokens` does, in libtorch's operators, on any device and without reading anything back. The
 * same uniform numbers give the same tokens, up to what logits differ by in their last digits, and settings by in float32.
 *
 * @param logits float32 [draws, vocabulary]
 * @param settings float32 [4, draws]: {@link drawSettings}
 * @param cut whether any draw has a top_k or a top_p: sorting costs more than all the rest
 * @returns tokens int64 [draws], −1 where the logits are not finite; and float32 [3, draws]: the tokens once more, their
 *   log-probabilities (sampleTokens), and those under the model's own distribution
 */
export function drawTensors(logits: Tensor, settings: Tensor, cut: boolean): { tokens: Tensor; told: Tensor } {
  const [uniform, temperature, top_k, top_p] = SETTINGS.map((_, row) => settings.select(0, row).unsqueeze(1)) as [
    Tensor,
    Tensor,
    Tensor,
    Tensor,
  ];
  const top = logits.amax(-1, true);
  const own = logits.sub(top);
  const ownMass = own.exp().sum(-1, true).log();
  const greedy = temperature.eq(0);
  const tempered = own.div(temperature.maskedFill(greedy, 1));
  const whole = tempered.exp();
  const wholeMass = whole.sum(-1, true).log();
  const likely = whole.maskedFill(whole.lt(LEAST), 0);
  const drawn = search(cut ? truncate(logits, likely, top_k, top_p) : likely, uniform);
  const isGreedy = greedy.to('int64');
  const token = logits
    .argmax(-1, true)
    .mul(isGreedy)
    .add(drawn.mul(isGreedy.neg().add(1)));
  const finite = top.gt(Number.NEGATIVE_INFINITY).mul(top.lt(Number.POSITIVE_INFINITY)).to('int64');
  const tokens = token.add(1).mul(finite).sub(1);
  const at = tokens.clampMin(0);
  const told = [tokens.to('float32'), tempered.gather(1, at).sub(wholeMass), own.gather(1, at).sub(ownMass)];
  return { tokens: tokens.squeeze(1), told: stack(told.map((one) => one.squeeze(1))) };
}

/** Takes the mass of all but the top_k and the top_p likeliest tokens (`truncateLogits`). */
function truncate(logits: Tensor, mass: Tensor, top_k: Tensor, top_p: Tensor): Tensor {
  const [sorted, order] = sort(logits, { stable: true, dim: -1, descending: true }) as [Tensor, Tensor];
  const threshold = sorted.gather(1, top_k.sub(1).to('int64'));
  const kept = mass.gather(1, order).maskedFill(sorted.lt(threshold), 0);
  const sums = kept.cumsum(-1, { dtype: 'float64' });
  const total = sums.narrow(1, sums.size(1) - 1, 1);
  // A token stays when the mass before it is still below top_p; so the first always stays.
  const dropped = sums.sub(kept).ge(total.mul(top_p));
  return zeros(mass.shape, { device: mass.device }).scatter(1, order, kept.maskedFill(dropped, 0));
}

/** The first token whose cumulative mass exceeds uniform · total, int64 [rows, 1]: first its piece, then its place in that. */
function search(mass: Tensor, uniform: Tensor): Tensor {
  const [rows, vocabulary] = mass.shape as [number, number];
  const missing = -vocabulary & (PIECE - 1);
  const padded = missing === 0 ? mass : cat([mass, zeros([rows, missing], { device: mass.device })], 1);
  const pieces = padded.view([rows, -1, PIECE]);
  const sums = pieces.sum(-1, false, { dtype: 'float64' });
  const ends = sums.cumsum(-1);
  const target = ends.narrow(1, ends.size(1) - 1, 1).mul(uniform);
  const piece = firstBeyond(ends, target);
  const before = ends.sub(sums).gather(1, piece);
  const inside = pieces.gather(1, piece.unsqueeze(2).expand([rows, 1, PIECE])).squeeze(1);
  return piece.mul(PIECE).add(firstBeyond(inside.cumsum(-1, { dtype: 'float64' }).add(before), target));
}

/** The first place whose sum exceeds the target; by rounding there may be none: then the last that adds anything. */
function firstBeyond(sums: Tensor, target: Tensor): Tensor {
  const last = sums.narrow(1, sums.size(1) - 1, 1);
  return sums.le(target).sum(-1, true).minimum(sums.lt(last).sum(-1, true));
}

/**
 * Logits with some tokens' at −∞.
 * @param banned int64 [rows, most]: tokens, of which there are fewer in a row the first again; a row of none has −1 first
 */
export function banTokens(logits: Tensor, banned: Tensor): Tensor {
  const at = banned.clampMin(0);
  const none = banned.narrow(1, 0, 1).lt(0);
  const values = logits.gather(1, at);
  // Rows that ban nothing write back what was there.
  return logits.scatter(1, at, values.maskedFill(none.eq(0), Number.NEGATIVE_INFINITY));
}

const sort = op('aten::sort.stable');
