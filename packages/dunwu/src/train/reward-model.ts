import { scope, type Tensor, tensor } from '@dunwu/torch';
import { ShuffledRows } from '../data/shuffled-rows.js';
import { type Calibration, calibration, type Forecast } from '../eval/calibration.js';
import type { ScalarModel } from '../model/scalar-model.js';
import { combineMetrics, type Metrics, type Objective } from '../objective/metrics.js';
import { preferenceLoss, safetyLoss } from '../objective/preference.js';
import { sequenceScores } from '../reward/reward-model.js';
import { Random } from '../util/random.js';
import { countFlops } from './flops.js';
import { checkGradient } from './gradient.js';
import { type LoopHost, trainingLoop } from './loop.js';
import { Optimizer } from './optimizer.js';
import type { RewardModelConfig } from './reward-model-config.js';
import { loadScalarTrainingState, saveScalarTrainingState } from './scalar-state.js';
import { scheduleFactor } from './schedule.js';

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

export interface RewardModelHost extends LoopHost {
  readonly seed: number;
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
 * Metrics: `loss`, `accuracy`, `margin`, mean scores (`score/chosen`, `score/rejected` or `score/safe`,
 * `score/unsafe`), `grad_norm`, `learning_rate`, `epoch`, `tokens`, `flops`; every `evaluate_every` steps and at the end
 * `held_out/loss`, `held_out/accuracy`, `held_out/margin`, `held_out/calibration_error`.
 *
 * @throws Error when there is nothing to train on, or the gradient is not finite.
 */
export async function trainRewardModel(
  host: RewardModelHost,
  model: ScalarModel,
  data: RewardExamples,
  config: RewardModelConfig,
): Promise<RewardModelSummary> {
  return data.rows === 'preference'
    ? train(host, model, data.examples, config, pairs(config.label_smoothing ?? 0))
    : train(host, model, data.examples, config, labels);
}

async function train<E extends { readonly prompt: string }>(
  host: RewardModelHost,
  model: ScalarModel,
  examples: readonly E[],
  config: RewardModelConfig,
  judging: Judging<E>,
): Promise<RewardModelSummary> {
  const { training, heldOut } = splitByPrompt(examples, config.held_out, new Random(`${host.seed}/held out`));
  if (training.length === 0) {
    throw new Error(`${examples.length} rows, of which held_out keeps ${heldOut.length}: nothing is left to train on`);
  }
  const steps = Math.ceil((training.length * config.epochs) / config.batch);
  const source = new ShuffledRows(training, { seed: host.seed, epochs: config.epochs });
  const optimizer = new Optimizer(model.parameters(), config.optimizer);
  const flopCount = countFlops(model.trunk.config, 1);
  let tokens = 0;
  let flops = 0;

  const evaluate = (): RewardEvaluation => {
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

  const step = async (n: number) => {
    const started = performance.now();
    const batch: E[] = [];
    for (let row = source.next(); row !== undefined; row = source.next()) {
      batch.push(row);
      if (batch.length === config.batch) break;
    }
    optimizer.zeroGrad();
    let made = 0;
    const measured = scope(() => {
      const collected: Metrics[] = [];
      for (const micro of examplesInParts(batch, judging.sequences, config.micro_batch_tokens)) {
        const sequences = micro.flatMap(judging.sequences);
        const metrics = scope(() => {
          const objective = judging.objective(model.last(sequences), micro, batch.length);
          objective.loss.backward();
          return objective.metrics;
        });
        collected.push(metrics);
        for (const { length } of sequences) {
          made += length;
          flops += length * flopCount.training(length / 2);
        }
      }
      return combineMetrics(collected);
    });
    tokens += made;
    const gradNorm = optimizer.clip(config.clip_grad);
    checkGradient(gradNorm, n);
    const factor = scheduleFactor(config.schedule, n, steps);
    optimizer.step(factor);
    const trained = performance.now();
    const metrics: Record<string, number> = {
      ...finite({ margin: margin(measured), ...measured }),
      grad_norm: gradNorm,
      learning_rate: config.optimizer.learning_rate * factor,
      epoch: source.state.epoch + source.state.at / training.length,
      tokens,
      flops,
    };
    if (heldOut.length > 0 && (n % config.evaluate_every === 0 || n === steps)) {
      const found = evaluate();
      Object.assign(
        metrics,
        finite({
          'held_out/loss': found.loss,
          'held_out/accuracy': found.accuracy,
          'held_out/margin': found.margin,
          'held_out/calibration_error': found.calibration.error,
        }),
      );
      metrics['time/held_out_s'] = (performance.now() - trained) / 1000;
    }
    metrics['time/step_s'] = (trained - started) / 1000;
    metrics['time/tokens_per_s'] = (made / (trained - started)) * 1000;
    metrics['time/rss_bytes'] = process.memoryUsage.rss();
    return {
      metrics,
      show: { loss: metrics.loss as number, accuracy: metrics.accuracy as number },
      amount: tokens,
    };
  };

  try {
    const outcome = await trainingLoop(host, {
      label: 'reward model',
      steps,
      saveEvery: config.save_every,
      unit: 'tokens',
      step,
      save: (dir) => saveScalarTrainingState(dir, model, optimizer, { source: source.state, tokens, flops }),
      load: (dir) => {
        const state = loadScalarTrainingState(dir, model, optimizer) as {
          source: unknown;
          tokens: number;
          flops: number;
        };
        source.restore(state.source);
        tokens = state.tokens;
        flops = state.flops;
        return tokens;
      },
    });
    const done = outcome === 'done';
    if (done && config.rows === 'preference') centre(model, training, judging, config, host.seed);
    return {
      outcome,
      tokens,
      flops,
      trained: training.length,
      heldOut: done && heldOut.length > 0 ? evaluate() : null,
    };
  } finally {
    optimizer.dispose();
  }
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

/**
 * Rows held out and rows trained on. All rows of a prompt fall on the same side, so that no prompt is measured on that
 * was learnt; prompts are held out, in random order, until `share` of the rows is. Both keep the rows' order.
 */
export function splitByPrompt<E extends { readonly prompt: string }>(
  rows: readonly E[],
  share: number,
  rng: Random,
): { training: E[]; heldOut: E[] } {
  const counts = new Map<string, number>();
  for (const { prompt } of rows) counts.set(prompt, (counts.get(prompt) ?? 0) + 1);
  const wanted = share === 0 ? 0 : Math.max(1, Math.round(share * rows.length));
  const out = new Set<string>();
  let held = 0;
  for (const prompt of rng.shuffle([...counts.keys()])) {
    if (held >= wanted) break;
    out.add(prompt);
    held += counts.get(prompt) as number;
  }
  return {
    training: rows.filter(({ prompt }) => !out.has(prompt)),
    heldOut: rows.filter(({ prompt }) => out.has(prompt)),
  };
}

/** Splits examples so that no part, filled up to its longest row, has more positions than `limit`; one at least. */
export function examplesInParts<E>(
  examples: readonly E[],
  sequences: (example: E) => readonly (readonly number[])[],
  limit: number,
): E[][] {
  const measured = examples.map((example) => {
    const lengths = sequences(example).map(({ length }) => length);
    return { example, rows: lengths.length, longest: Math.max(...lengths) };
  });
  const parts: E[][] = [];
  let current: E[] = [];
  let rows = 0;
  // Stable, and by length: little is filled up, and the longest so far is the last.
  for (const one of measured.sort((a, b) => a.longest - b.longest)) {
    if (current.length > 0 && (rows + one.rows) * one.longest > limit) {
      parts.push(current);
      current = [];
      rows = 0;
    }
    current.push(one.example);
    rows += one.rows;
  }
  if (current.length > 0) parts.push(current);
  return parts;
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
    const safe = tensor(Float32Array.from(examples, (example) => Number(example.safe)));
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
const margin = (measured: Readonly<Record<string, number>>): number =>
  (measured['score/safe'] ?? Number.NaN) - (measured['score/unsafe'] ?? Number.NaN);

/** Without what is NaN: a mean over nothing. */
function finite(metrics: Readonly<Record<string, number>>): Record<string, number> {
  return Object.fromEntries(Object.entries(metrics).filter(([, value]) => !Number.isNaN(value)));
}
