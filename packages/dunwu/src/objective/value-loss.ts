import { scope, type Tensor } from '@dunwu/torch';
import type { Objective } from './metrics.js';

/** A micro-batch of N response tokens, packed. Only `values` carries gradient. */
export interface ValueLossInputs {
  /** [N] V_θ(s_t). */
  readonly values: Tensor;
  /** [N] V before the update, as the advantages were made with. */
  readonly oldValues: Tensor;
  /** [N] what V is to become: Â_t + V_old(s_t). */
  readonly returns: Tensor;
}

export interface ValueLossOptions {
  /** ε: V may move so far from V_old; null clips nothing. */
  readonly clip: number | null;
  /** Response tokens in the whole mini-batch, over all its micro-batches. */
  readonly tokensInBatch: number;
}

/**
 * PPO's value loss, clipped as its published code does (openai/baselines, ppo2; not in the paper):
 *
 *     loss = mean over tokens of ½ max( (V − R)², (V_old + clip(V − V_old, −ε, ε) − R)² )
 *
 * The larger of the two: where V has already moved by more than ε towards R, the second is constant and no gradient
 * comes. Micro-batches add up to the mini-batch.
 *
 * Metrics: `loss/value`; `value/clip` share of tokens where the clipped term counts; `value/mean`.
 *
 * @throws Error when shapes differ or the batch is smaller than this micro-batch.
 */
export function valueLoss(
  { values, oldValues, returns }: ValueLossInputs,
  { clip, tokensInBatch }: ValueLossOptions,
): Objective {
  const shape = String(values.shape);
  if (values.shape.length !== 1 || values.numel === 0 || [oldValues, returns].some((t) => String(t.shape) !== shape)) {
    throw new Error(`valueLoss: expected [N] alike; got values ${values}, oldValues ${oldValues}, returns ${returns}`);
  }
  if (!(tokensInBatch >= values.numel)) {
    throw new Error(
      `valueLoss: tokensInBatch is ${tokensInBatch}, fewer than the ${values.numel} tokens of this micro-batch`,
    );
  }
  return scope((): Objective => {
    const count = values.numel;
    const old = oldValues.detach();
    const target = returns.detach();
    const plain = values.sub(target).square();
    const mean = { kind: 'mean', sum: values.detach().sum(), count } as const;
    const lossOf = (squares: Tensor): Tensor => squares.sum().mul(0.5 / tokensInBatch);
    if (clip === null) {
      const loss = lossOf(plain);
      return { loss, metrics: { 'loss/value': { kind: 'sum', value: loss.detach() }, 'value/mean': mean } };
    }
    const clipped = values.sub(old).clamp(-clip, clip).add(old).sub(target).square();
    const loss = lossOf(plain.maximum(clipped));
    const binds = clipped.detach().gt(plain.detach()).to(values.dtype).sum();
    return {
      loss,
      metrics: {
        'loss/value': { kind: 'sum', value: loss.detach() },
        'value/clip': { kind: 'mean', sum: binds, count },
        'value/mean': mean,
      },
    };
  });
}
