import {
  type Device,
  enableGrad,
  noGrad,
  readNumbers,
  scope,
  type Tensor,
  tensor,
  tokenKl,
  tokenLogprobs,
} from '@dunwu/torch';
import type { CausalModel, ModelInput } from '../model/causal-model.js';
import type { ReferenceModel } from '../model/lora.js';
import { klNeeds } from '../objective/kl.js';
import { type Metrics, readStep } from '../objective/metrics.js';
import { type PolicyLossConfig, policyLoss } from '../objective/policy-loss.js';
import { ExpertLoad, loadMetrics } from './balance.js';
import { requireFinite } from './gradient.js';
import type { Optimizer } from './optimizer.js';
import { packedTensors, packSequences, type ResponsePlaces, type TrainingSequence } from './packed.js';
import { packResponses, responseTensors, splitResponses } from './packed-responses.js';
import type { Rollout } from './rollouts.js';

/** One sampled output with all that an update needs. */
export interface PolicyOutput extends TrainingSequence {
  /** log π_old of each response token, under the policy that sampled. */
  readonly logprobs: readonly number[];
  /** Advantage of each response token: as many as `logprobs`. */
  readonly advantages: ArrayLike<number>;
}

export interface PolicyUpdateConfig {
  /** Outputs that stay in one mini-batch: a group of GRPO, 1 where outputs stand alone. */
  readonly group_size: number;
  /** Optimiser steps in one pass over the outputs. */
  readonly mini_batches: number;
  /** Passes over the outputs. */
  readonly inner_epochs: number;
  /** Positions computed at one time, at most; bounds memory, changes results by rounding only. */
  readonly micro_batch_tokens: number;
  /** Largest gradient norm. */
  readonly clip_grad: number;
  /** The temperature that the outputs were sampled at: all log-probabilities are at it. */
  readonly temperature: number;
  /** The most response tokens that an output may have; needed where the loss's `aggregate` divides by it. */
  readonly max_tokens?: number;
  readonly loss: PolicyLossConfig;
}

export interface PolicyUpdateModels {
  readonly policy: CausalModel;
  readonly optimizer: Optimizer;
  /** π_ref of the loss's KL term (or the teacher); null when `loss.kl.estimator` is none. */
  readonly reference: ReferenceModel | null;
}

/** Metrics of the policy loss, `entropy`, `grad_norm`, `logprob_difference/max` and `/mean`, expert load. */
export type PolicyUpdateMetrics = Record<string, number | readonly number[]>;

/** A rollout as the update wants it. @param advantages one number for all its tokens, or one for each. */
export function policyOutput(rollout: Rollout, advantages: number | ArrayLike<number>): PolicyOutput {
  const { tokens, logprobs } = rollout.sample;
  return {
    tokens: [...rollout.prompt, ...tokens],
    promptLength: rollout.prompt.length,
    logprobs,
    advantages: typeof advantages === 'number' ? new Float64Array(tokens.length).fill(advantages) : advantages,
  };
}

/**
 * Moves the policy by the outputs of one rollout: `inner_epochs` passes in `mini_batches` parts, one optimiser step
 * each. A part's gradient is summed over micro-batches, which changes nothing but memory.
 *
 * @param n the training step, for messages
 * @param rate what the learning rate is multiplied with (the schedule's factor)
 * @throws Error when the gradient is not finite, or an output's advantages are not as many as its tokens.
 */
export function updatePolicy(
  models: PolicyUpdateModels,
  outputs: readonly PolicyOutput[],
  config: PolicyUpdateConfig,
  { n, rate }: { readonly n: number; readonly rate: number },
): PolicyUpdateMetrics {
  outputs.forEach(({ logprobs, advantages }, i) => {
    if (advantages.length !== logprobs.length) {
      throw new Error(`output ${i} has ${logprobs.length} response tokens and ${advantages.length} advantages`);
    }
  });
  // The micro-batches' metrics live until they are combined at the end.
  return scope(() => updateInScope(models, outputs, config, n, rate));
}

function updateInScope(
  models: PolicyUpdateModels,
  outputs: readonly PolicyOutput[],
  config: PolicyUpdateConfig,
  n: number,
  rate: number,
): PolicyUpdateMetrics {
  const { policy, optimizer } = models;
  const { device } = policy;
  const load = new ExpertLoad(policy.moeLayers.length, policy.expertCount, device);
  const collected: Metrics[] = [];
  const updates = config.inner_epochs * config.mini_batches;
  const norms: Tensor[] = [];
  const numbers = (list: readonly number[]): Tensor => tensor(Float32Array.from(list), { device });
  const groups = outputs.length / config.group_size;
  for (let epoch = 0; epoch < config.inner_epochs; epoch++) {
    for (let part = 0; part < config.mini_batches; part++) {
      const from = Math.floor((part * groups) / config.mini_batches) * config.group_size;
      const to = Math.floor(((part + 1) * groups) / config.mini_batches) * config.group_size;
      const batch = outputs.slice(from, to);
      const tokensInBatch = batch.reduce((sum, output) => sum + output.logprobs.length, 0);
      const first = epoch === 0 && part === 0;
      optimizer.zeroGrad();
      for (const micro of splitOutputs(device, batch, config.micro_batch_tokens)) {
        const metrics = scope(() => {
          const { on, counted, places, sequence, targets } = packOutputs(policy, micro);
          const old = numbers(micro.flatMap(({ logprobs }) => logprobs));
          const output = policy.forward(on);
          const hidden = output.hidden.indexSelect(0, places);
          const options = { temperature: config.temperature };
          const [logprobs, entropies] = tokenLogprobs(hidden, policy.headWeight, targets, options);
          const objective = policyLoss(
            {
              logprobs,
              oldLogprobs: old,
              ...referenceTerms(models, config, on, places, targets, hidden),
              advantages: numbers(micro.flatMap(({ advantages }) => Array.from(advantages))),
              sequence,
              lengths: numbers(micro.map((one) => one.logprobs.length)),
              sequencesInBatch: batch.length,
              tokensInBatch,
              ...(config.max_tokens === undefined ? {} : { maxTokens: config.max_tokens }),
            },
            config.loss,
          );
          objective.loss.backward();
          load.add(output.routers, counted);
          const metrics: Metrics = {
            ...objective.metrics,
            entropy: { kind: 'mean', sum: entropies.sum(), count: entropies.numel },
          };
          // Before any update: what the trainer says of the very policy that sampled.
          return first ? { ...metrics, ...differences(logprobs.detach().sub(old).abs()) } : metrics;
        });
        collected.push(metrics);
      }
      norms.push(optimizer.clip(config.clip_grad, n));
      optimizer.step(rate);
    }
  }
  const { metrics: combined, others } = readStep(collected, { norms, load: [load.counts] });
  // Zero is no fault here: groups without spread teach nothing.
  requireFinite(others.norms, n);
  // A loss is the sum over the micro-batches of one update; logged is its mean over the updates.
  for (const [name, value] of Object.entries(combined)) {
    if (name.startsWith('loss/')) combined[name] = value / updates;
  }
  return {
    ...combined,
    grad_norm: others.norms.reduce((sum, norm) => sum + norm / updates, 0),
    ...loadMetrics(others.load, policy.expertCount),
  };
}

const differences = (absolute: Tensor): Metrics => ({
  'logprob_difference/max': { kind: 'max', value: absolute.amax() },
  'logprob_difference/mean': { kind: 'mean', sum: absolute.sum(), count: absolute.numel },
});

/**
 * log π(token | before) of every response token under a model, without gradient: the reference's share of a reward
 * with a KL penalty, or a teacher's opinion of a student's outputs.
 * @returns for each sequence, one number for each response token
 */
export function responseLogprobs(
  model: CausalModel,
  sequences: readonly TrainingSequence[],
  options: { readonly temperature: number; readonly micro_batch_tokens: number },
): number[][] {
  return readByToken(model, sequences, options.micro_batch_tokens, (micro) => {
    const { on, places, targets } = packOutputs(model, micro);
    const hidden = model.forward(on).hidden.indexSelect(0, places);
    return tokenLogprobs(hidden, model.headWeight, targets, { temperature: options.temperature })[0];
  });
}

/**
 * A number that a model has for each response token of sequences, without gradient: computed in micro-batches, read in one copy.
 * @param compute [N] for a micro-batch with N response tokens
 * @returns for each sequence, one number for each response token
 */
export function readByToken(
  { device }: CausalModel,
  sequences: readonly TrainingSequence[],
  limit: number,
  compute: (micro: readonly TrainingSequence[]) => Tensor,
): number[][] {
  const parts = splitOutputs(device, sequences, limit);
  const read = scope(() => noGrad(() => readNumbers(parts.map((micro) => scope(() => compute(micro))))));
  const results = new Map<TrainingSequence, number[]>();
  parts.forEach((micro, i) => {
    let at = 0;
    for (const one of micro) {
      const length = one.tokens.length - one.promptLength;
      results.set(one, (read[i] as number[]).slice(at, at + length));
      at += length;
    }
  });
  return sequences.map((one) => results.get(one) as number[]);
}

/**
 * Splits outputs for {@link packInRows} so that no part has more tokens than `limit` (one output at least), those of about one length
 * together.
 */
export function microBatches<T extends TrainingSequence>(batch: readonly T[], limit: number): T[][] {
  const parts: T[][] = [];
  let current: T[] = [];
  let size = 0;
  for (const output of [...batch].sort((a, b) => a.tokens.length - b.tokens.length)) {
    if (current.length > 0 && size + output.tokens.length > limit) {
      parts.push(current);
      current = [];
      size = 0;
    }
    current.push(output);
    size += output.tokens.length;
  }
  if (current.length > 0) parts.push(current);
  return parts;
}

/** Splits outputs for {@link packOutputs} so that no part has more than `limit` positions (one output at least). */
export function splitOutputs<T extends TrainingSequence>(device: Device, batch: readonly T[], limit: number): T[][] {
  return sharesPrompts(device) ? splitResponses(batch, limit) : microBatches(batch, limit);
}

/** On the CPU a prompt that several sequences have is computed once; other devices' flash attention wants each sequence whole. */
const sharesPrompts = (device: Device): boolean => device === 'cpu';

/** What `forward` takes of S sequences with N response tokens in all, and where in its hidden states these are. */
export interface PackedOutputs {
  readonly on: ModelInput;
  /** Bool or int64: how often a token of the input counts as an expert's load. */
  readonly counted: Tensor;
  /** int64 [N]: rows of `hidden` that predict a response token, in the order of the sequences. */
  readonly places: Tensor;
  /** int64 [N]: which sequence each belongs to. */
  readonly sequence: Tensor;
  /** int64 [N]: the response tokens. */
  readonly targets: Tensor;
}

/** A micro-batch on the model's device. */
export function packOutputs(model: CausalModel, micro: readonly TrainingSequence[]): PackedOutputs {
  const { device } = model;
  if (!sharesPrompts(device)) return packInRows(model, micro);
  const packed = packResponses(micro);
  return {
    on: responseTensors(packed, device),
    counted: indices(packed.counts, device),
    ...placed(packed, device),
  };
}

/** The same with every sequence whole, in rows of about one length, for what is computed of rows. */
export function packInRows({ config, device }: CausalModel, micro: readonly TrainingSequence[]): PackedOutputs {
  const row = Math.min(MIN_ROW, config.max_position_embeddings);
  const rows = packSequences(micro, Math.max(...micro.map(({ tokens }) => tokens.length), row) - 1);
  const on = packedTensors(rows, device);
  return { on, counted: on.predicts, ...placed(rows, device) };
}

const placed = ({ places, owners, targets }: ResponsePlaces, device: Device) => ({
  places: indices(places, device),
  sequence: indices(owners, device),
  targets: indices(targets, device),
});

const indices = (numbers: Int32Array, device: Device): Tensor => tensor(numbers, { device }).to('int64');

/** Rows are at least so long, so that several short outputs share one. */
const MIN_ROW = 128;

function referenceTerms(
  { policy, reference }: PolicyUpdateModels,
  { loss, temperature }: PolicyUpdateConfig,
  rows: ModelInput,
  places: Tensor,
  targets: Tensor,
  hidden: Tensor,
): { referenceLogprobs: Tensor | null; exactKl: Tensor | null } {
  if (reference === null) return { referenceLogprobs: null, exactKl: null };
  const options = { temperature };
  const theirs = noGrad(() => reference.forward(rows).hidden.indexSelect(0, places));
  if (klNeeds(loss.kl) === 'exactKl') {
    const exactKl = enableGrad(() => tokenKl(hidden, policy.headWeight, theirs, reference.headWeight, options));
    return { referenceLogprobs: null, exactKl };
  }
  const referenceLogprobs = noGrad(() => tokenLogprobs(theirs, reference.headWeight, targets, options)[0]);
  return { referenceLogprobs, exactKl: null };
}
