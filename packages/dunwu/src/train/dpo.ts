import { noGrad, scope, type Tensor, tokenLogprobs, zeros } from '@dunwu/torch';
import type { CausalModel } from '../model/causal-model.js';
import { dpoLoss } from '../objective/dpo.js';
import { combineMetrics, type Metrics, type Objective } from '../objective/metrics.js';
import type { DpoConfig } from './dpo-config.js';
import { countFlops } from './flops.js';
import type { TrainingSequence } from './packed.js';
import { packOutputs } from './policy-update.js';
import { type RowTrainingHost, rowsInParts, trainOnRows } from './row-training.js';
import { loadTrainingState, saveTrainingState } from './state.js';

/** Two whole responses to one prompt as tokens with the prompt, the better one first. */
export interface DpoPair {
  /** Rows of one prompt are held out together. */
  readonly prompt: string;
  readonly chosen: TrainingSequence;
  readonly rejected: TrainingSequence;
}

export interface DpoSummary {
  readonly outcome: 'done' | 'interrupted';
  readonly tokens: number;
  readonly flops: number;
  /** Pairs trained on. */
  readonly trained: number;
  /** After the last step; null when nothing is held out or training was interrupted. */
  readonly heldOut: { readonly n: number; readonly metrics: Readonly<Record<string, number>> } | null;
}

/**
 * Direct preference optimisation: the policy learns from pairs of whole responses, held by a reference that stays as it
 * is (usually the policy as it was). The policy is changed in place.
 *
 * Metrics: those of row-training.ts and of objective/dpo.ts, the latter also as `held_out/…`.
 *
 * @throws Error when there is nothing to train on, or the gradient is not finite.
 */
export async function dpo(
  host: RowTrainingHost,
  { policy, reference }: { readonly policy: CausalModel; readonly reference: CausalModel },
  pairs: readonly DpoPair[],
  config: DpoConfig,
): Promise<DpoSummary> {
  const flopCount = countFlops(policy.config);
  const referenceFlops = countFlops(reference.config);
  const objective = (rows: readonly DpoPair[], pairsInBatch: number, labelSmoothing: number): Objective => {
    const sequences = rows.flatMap(({ chosen, rejected }) => [chosen, rejected]);
    const ours = sequenceLogprobs(policy, sequences).view([rows.length, 2]);
    const theirs = noGrad(() => sequenceLogprobs(reference, sequences)).view([rows.length, 2]);
    return dpoLoss(
      {
        policyChosen: ours.select(1, 0),
        policyRejected: ours.select(1, 1),
        referenceChosen: theirs.select(1, 0),
        referenceRejected: theirs.select(1, 1),
      },
      { beta: config.beta, labelSmoothing, pairsInBatch },
    );
  };
  const sequencesOf = ({ chosen, rejected }: DpoPair) => [chosen.tokens, rejected.tokens];
  const measure = (rows: readonly DpoPair[]): Record<string, number> =>
    scope(() => {
      const collected: Metrics[] = rowsInParts(rows, sequencesOf, config.micro_batch_tokens).map((part) =>
        // Held against the labels as they are.
        scope(() => noGrad(() => objective(part, rows.length, 0).metrics)),
      );
      return combineMetrics(collected);
    });
  const { outcome, tokens, flops, training, heldOut } = await trainOnRows(host, pairs, config, {
    label: 'dpo',
    parameters: policy.trained(),
    sequences: sequencesOf,
    objective: (rows, rowsInBatch) => objective(rows, rowsInBatch, config.label_smoothing),
    measure,
    flops: (length) => length * (flopCount.training(length / 2) + referenceFlops.forward(length / 2)),
    save: (dir, optimizer, plain) => saveTrainingState(dir, policy, optimizer, plain),
    load: (dir, optimizer) => loadTrainingState(dir, policy, optimizer),
  });
  return {
    outcome,
    tokens,
    flops,
    trained: training.length,
    heldOut: outcome === 'done' && heldOut.length > 0 ? { n: heldOut.length, metrics: measure(heldOut) } : null,
  };
}

/**
 * log π(response | prompt) of each sequence, summed over its response tokens: [sequences], with gradient. Call inside a
 * scope.
 */
export function sequenceLogprobs(model: CausalModel, sequences: readonly TrainingSequence[]): Tensor {
  const { on, places, sequence, targets } = packOutputs(model, sequences);
  const hidden = model.forward(on).hidden.indexSelect(0, places);
  const [logprobs] = tokenLogprobs(hidden, model.headWeight, targets);
  return zeros([sequences.length], { dtype: logprobs.dtype, device: logprobs.device }).indexAdd(0, sequence, logprobs);
}
