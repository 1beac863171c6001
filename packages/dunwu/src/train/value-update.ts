import { scope, type Tensor, tensor } from '@dunwu/torch';
import type { ScalarModel } from '../model/scalar-model.js';
import { type Metrics, readStep } from '../objective/metrics.js';
import { valueLoss } from '../objective/value-loss.js';
import { requireFinite } from './gradient.js';
import type { Optimizer } from './optimizer.js';
import type { TrainingSequence } from './packed.js';
import { packOutputs, readByToken, splitOutputs } from './policy-update.js';

/** One sampled output with what the value function is to learn from it. */
export interface ValueOutput extends TrainingSequence {
  /** V(s_t) of each response token before the update. */
  readonly values: ArrayLike<number>;
  /** Â_t + V(s_t) of each response token. */
  readonly returns: ArrayLike<number>;
}

export interface ValueUpdateConfig {
  readonly mini_batches: number;
  readonly inner_epochs: number;
  readonly micro_batch_tokens: number;
  readonly clip_grad: number;
  /** ε of the value loss; null clips nothing. */
  readonly clip: number | null;
}

/**
 * V(s_t) of every response token, s_t being all tokens before it; without gradient.
 * @returns for each sequence, one number for each response token
 */
export function responseValues(
  model: ScalarModel,
  sequences: readonly TrainingSequence[],
  microBatchTokens: number,
): number[][] {
  return readByToken(model.trunk, sequences, microBatchTokens, (micro) => {
    const { on, places } = packOutputs(model.trunk, micro);
    return model.forward(on).values.indexSelect(0, places);
  });
}

/**
 * Moves the value function towards the returns of one rollout, in the same parts and passes as the policy
 * (policy-update.ts). Its weights are its own, so it makes no difference that the policy is moved before.
 *
 * @param rate what the learning rate is multiplied with
 * @returns `loss/value` (mean over the updates), `value/clip`, `value/mean`, `value/grad_norm`
 * @throws Error when the gradient is not finite.
 */
export function updateValues(
  { model, optimizer }: { readonly model: ScalarModel; readonly optimizer: Optimizer },
  outputs: readonly ValueOutput[],
  config: ValueUpdateConfig,
  { n, rate }: { readonly n: number; readonly rate: number },
): Record<string, number> {
  const updates = config.inner_epochs * config.mini_batches;
  const { metrics: combined, others } = scope(() => {
    const collected: Metrics[] = [];
    const norms: Tensor[] = [];
    for (let update = 0; update < updates; update++) {
      const part = update % config.mini_batches;
      const batch = outputs.slice(
        Math.floor((part * outputs.length) / config.mini_batches),
        Math.floor(((part + 1) * outputs.length) / config.mini_batches),
      );
      const tokensInBatch = batch.reduce((sum, { returns }) => sum + returns.length, 0);
      optimizer.zeroGrad();
      for (const micro of splitOutputs(model.device, batch, config.micro_batch_tokens)) {
        const metrics = scope(() => {
          const { on, places } = packOutputs(model.trunk, micro);
          const flat = (key: 'values' | 'returns') =>
            tensor(Float32Array.from(micro.flatMap((one) => Array.from(one[key]))), { device: model.device });
          const objective = valueLoss(
            {
              values: model.forward(on).values.indexSelect(0, places),
              oldValues: flat('values'),
              returns: flat('returns'),
            },
            { clip: config.clip, tokensInBatch },
          );
          objective.loss.backward();
          return objective.metrics;
        });
        collected.push(metrics);
      }
      norms.push(optimizer.clip(config.clip_grad, n));
      optimizer.step(rate);
    }
    return readStep(collected, { norms });
  });
  // Zero is no fault here: a value function that is right, or clipped everywhere, learns nothing.
  requireFinite(others.norms, n);
  const gradNorm = others.norms.reduce((sum, norm) => sum + norm / updates, 0);
  return { ...combined, 'loss/value': (combined['loss/value'] as number) / updates, 'value/grad_norm': gradNorm };
}
