import { type Tensor, tensor } from '@dunwu/torch';
import { type Calibration, calibration, type Forecast } from '../eval/calibration.js';
import type { ScalarModel } from '../model/scalar-model.js';
import type { Objective } from '../objective/metrics.js';
import { preferenceLoss, safetyLoss } from '../objective/preference.js';
import { sequenceScores } from '../reward/reward-model.js';
import { Random } from '../util/random.js';
import { countFlops } from './flops.js';
import type { RewardModelConfig } from './reward-model-config.js';
import { type RowTrainingHost, trainOnRows } from './row-training.js';
import { loadScalarTrainingState, saveScalarTrainingState } from './scalar-state.js';

/** Tokens of two responses to one prompt (with the prompt), the better one first. */
export interface PairExample {
  /** Rows of one prompt are held out together. */
  readonly prompt: string;
  readonly chosen: readonly number[];
  readonly rejected: readonly number[];
}

/** Tokens of a labelled response (with the prompt). */
export interface LabelExample {
  readonly prompt: string;
  readonly tokens: readonly number[];
  readonly safe: boolean;
}

export type RewardExamples =
  | { readonly rows: 'preference'; readonly examples: readonly PairExample[] }
  | { readonly rows: 'safety'; readonly examples: readonly LabelExample[] };

/** How good a reward model is on rows that it was not trained on. */
export interface RewardEvaluation {
  readonly n: number;
  /** Nats per row. */
  readonly loss: number;
  /** Pairs: share where the better one scores higher (a tie is ½). Labels: share on the right side of ½. */
  readonly accuracy: number;
  /** Pairs: mean difference of the scores. Labels: mean score of the safe less that of the unsafe (NaN without both). */
  readonly margin: number;
  /**
   * Pairs: of σ|difference|, how sure the model is of the order, against how often it is right.
   * Labels: of σ(score), the modelled chance of being safe, against how often it is so.
   */
  readonly calibration: Calibration;
}

export interface RewardModelSummary {
  readonly outcome: 'done' | 'interrupted';
  readonly tokens: number;
  readonly flops: number;
  /** Rows trained on. */
  readonly trained: number;
  /** After the last step; null when nothing is held out or training was interrupted. */
  readonly heldOut: RewardEvaluation | null;
}

/** What rows of one sort mean to the trainer. */
interface Judging<E> {
  readonly sequences: (example: E) => readonly (readonly number[])[];
  /** @param scores [S] of all sequences of the examples, in order */
  readonly objective: (scores: Tensor, examples: readonly E[], inBatch: number) => Objective;
  readonly evaluate: (scores: readonly (readonly number[])[], examples: readonly E[]) => RewardEvaluation;
}

/** Pairs whose mean score becomes 0; more make it no better known. */
const CENTRED_ON = 512;

/**
 * Trains a reward model (Ouyang et al. 2022, arXiv 2203.02155, section 3.5): all of the trunk and the score head. The
 * model is changed in place. Of a preference model only differences are learnt, so at the end its bias is set so that
 * the mean score of the responses trained on is 0 (there the same is done with demonstrations).
 *
 * Metrics: those of row-training.ts with `loss`, `accuracy`, `margin`, mean scores (`score/chosen`, `score/rejected` or
 * `score/safe`, `score/unsafe`), and `held_out/loss`, `/accuracy`, `/margin`, `/calibration_error`.
 *
 * @throws Error when there is nothing to train on, or the gradient is not finite.
 */
export async function trainRewardModel(
  host: RowTrainingHost,
  model: ScalarModel,
  data: RewardExamples,
  config: RewardModelConfig,
): Promise<RewardModelSummary> {
  return data.rows === 'preference'
    ? train(host, model, data.examples, config, pairs(config.label_smoothing ?? 0))
    : train(host, model, data.examples, config, labels);
}

async function train<E extends { readonly prompt: string }>(
  host: RowTrainingHost,
  model: ScalarModel,
  examples: readonly E[],
  config: RewardModelConfig,
  judging: Judging<E>,
): Promise<RewardModelSummary> {
  const flopCount = countFlops(model.trunk.config, 1);
  const evaluate = (heldOut: readonly E[]): RewardEvaluation => {
    const sequences = heldOut.map(judging.sequences);
    const scores = sequenceScores(model, sequences.flat(), config.micro_batch_tokens);
    const grouped: number[][] = [];
    let at = 0;
    for (const { length } of sequences) {
      grouped.push(scores.slice(at, at + length));
      at += length;
    }
    return judging.evaluate(grouped, heldOut);
  };
  const { outcome, tokens, flops, training, heldOut } = await trainOnRows(host, examples, config, {
    label: 'reward model',
    parameters: model.parameters(),
    sequences: judging.sequences,
    objective: (rows, rowsInBatch) => judging.objective(model.last(rows.flatMap(judging.sequences)), rows, rowsInBatch),
    derive: (measured) => ({ margin: labelMargin(measured) }),
    measure: (rows) => {
      const { loss, accuracy, margin, calibration: reliability } = evaluate(rows);
      return { loss, accuracy, margin, calibration_error: reliability.error };
    },
    flops: (length) => length * flopCount.training(length / 2),
    save: (dir, optimizer, plain) => saveScalarTrainingState(dir, model, optimizer, plain),
    load: (dir, optimizer) => loadScalarTrainingState(dir, model, optimizer),
  });
  const done = outcome === 'done';
  if (done && config.rows === 'preference') centre(model, training, judging, config, host.seed);
  return {
    outcome,
    tokens,
    flops,
    trained: training.length,
    heldOut: done && heldOut.length > 0 ? evaluate(heldOut) : null,
  };
}

/** The mean score of the responses trained on becomes 0. */
function centre<E>(
  model: ScalarModel,
  training: readonly E[],
  { sequences }: Judging<E>,
  { micro_batch_tokens }: RewardModelConfig,
  seed: number,
): void {
  const order = new Random(`${seed}/centre`).shuffle(training.map((_, i) => i));
  const looked = order.slice(0, CENTRED_ON).flatMap((i) => sequences(training[i] as E));
  model.shift(-mean(sequenceScores(model, looked, micro_batch_tokens)));
}

const pairs = (labelSmoothing: number): Judging<PairExample> => ({
  sequences: ({ chosen, rejected }) => [chosen, rejected],
  objective: (scores, examples, inBatch) => {
    const both = scores.view([examples.length, 2]);
    return preferenceLoss(both.select(1, 0), both.select(1, 1), { pairsInBatch: inBatch, labelSmoothing });
  },
  evaluate: (scores) => {
    const differences = scores.map(([chosen, rejected]) => (chosen as number) - (rejected as number));
    const outcomes = differences.map(above);
    const forecasts = differences.map(
      (difference, i): Forecast => ({ probability: sigmoid(Math.abs(difference)), outcome: outcomes[i] as number }),
    );
    return {
      n: scores.length,
      loss: mean(differences.map((difference) => -logSigmoid(difference))),
      accuracy: mean(outcomes),
      margin: mean(differences),
      calibration: calibration(forecasts, { from: 0.5 }),
    };
  },
});

const labels: Judging<LabelExample> = {
  sequences: ({ tokens }) => [tokens],
  objective: (scores, examples, inBatch) => {
    const safe = tensor(
      Float32Array.from(examples, ({ safe: is }) => Number(is)),
      { device: scores.device },
    );
    return safetyLoss(scores, safe, { rowsInBatch: inBatch });
  },
  evaluate: (scores, examples) => {
    const values = scores.map(([score]) => score as number);
    const towards = values.map((value, i) => (examples[i]?.safe === true ? value : -value));
    const of = (safe: boolean): number => mean(values.filter((_, i) => examples[i]?.safe === safe));
    const forecasts = values.map(
      (value, i): Forecast => ({ probability: sigmoid(value), outcome: Number(examples[i]?.safe) }),
    );
    return {
      n: values.length,
      loss: mean(towards.map((value) => -logSigmoid(value))),
      accuracy: mean(towards.map(above)),
      margin: of(true) - of(false),
      calibration: calibration(forecasts),
    };
  },
};

const above = (x: number): number => (x > 0 ? 1 : x === 0 ? 0.5 : 0);
const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));
const logSigmoid = (x: number): number => Math.min(x, 0) - Math.log1p(Math.exp(-Math.abs(x)));
const mean = (list: readonly number[]): number => list.reduce((a, b) => a + b, 0) / list.length;

/** Of labels: the mean score of the safe less that of the unsafe. Pairs have theirs from the loss. */
const labelMargin = (measured: Readonly<Record<string, number>>): number =>
  (measured['score/safe'] ?? Number.NaN) - (measured['score/unsafe'] ?? Number.NaN);
