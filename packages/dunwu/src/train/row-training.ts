import { scope } from '@dunwu/torch';
import { ShuffledRows } from '../data/shuffled-rows.js';
import type { Parameter } from '../model/parameter.js';
import { type Metrics, type Objective, readStep } from '../objective/metrics.js';
import { Random } from '../util/random.js';
import { checkGradient } from './gradient.js';
import { type LoopHost, trainingLoop } from './loop.js';
import { Optimizer } from './optimizer.js';
import type { OptimizerConfig } from './optimizer-config.js';
import { type Schedule, scheduleFactor } from './schedule.js';

/** A host that also tells the stage's seed. */
export interface RowTrainingHost extends LoopHost {
  readonly seed: number;
}

export interface RowTrainingConfig {
  readonly epochs: number;
  /** Rows in a step. */
  readonly batch: number;
  /** Share of the rows kept out of training, by prompt. */
  readonly held_out: number;
  readonly optimizer: OptimizerConfig;
  readonly schedule: Schedule;
  readonly clip_grad: number;
  readonly micro_batch_tokens: number;
  readonly evaluate_every: number;
  readonly save_every: number;
}

/** What is learnt from the rows, and how. */
export interface RowTraining<E> {
  /** What is being done, in the progress line. */
  readonly label: string;
  readonly parameters: readonly Parameter[];
  /** The token sequences of a row. */
  sequences(row: E): readonly (readonly number[])[];
  /** The loss of a micro-batch; those of a step add up to the step's. */
  objective(rows: readonly E[], rowsInBatch: number): Objective;
  /** Metrics from what the objectives measured, beside it. */
  derive?(measured: Readonly<Record<string, number>>): Readonly<Record<string, number>>;
  /** Metrics of the rows held out, without gradient; logged as `held_out/NAME`. */
  measure(heldOut: readonly E[]): Readonly<Record<string, number>>;
  /** Floating-point operations that a sequence of so many tokens costs. */
  flops(length: number): number;
  save(dir: string, optimizer: Optimizer, plain: Readonly<Record<string, unknown>>): Promise<void>;
  load(dir: string, optimizer: Optimizer): Record<string, unknown>;
}

export interface RowTrainingSummary<E> {
  readonly outcome: 'done' | 'interrupted';
  readonly tokens: number;
  readonly flops: number;
  readonly training: readonly E[];
  readonly heldOut: readonly E[];
}

/**
 * Training on rows of preferences: a share is held out by prompt, the others are gone through in seeded order, so many
 * a step, in micro-batches that change nothing but memory.
 *
 * Metrics: what the objective measures, `grad_norm`, `learning_rate`, `epoch`, `tokens`, `flops`; every
 * `evaluate_every` steps and after the last one `held_out/…`. What is NaN, a mean over nothing, is left out.
 *
 * @throws Error when there is nothing to train on, or the gradient is not finite.
 */
export async function trainOnRows<E extends { readonly prompt: string }>(
  host: RowTrainingHost,
  rows: readonly E[],
  config: RowTrainingConfig,
  plan: RowTraining<E>,
): Promise<RowTrainingSummary<E>> {
  const { training, heldOut } = splitByPrompt(rows, config.held_out, new Random(`${host.seed}/held out`));
  if (training.length === 0) {
    throw new Error(`${rows.length} rows, of which held_out keeps ${heldOut.length}: nothing is left to train on`);
  }
  const steps = Math.ceil((training.length * config.epochs) / config.batch);
  const source = new ShuffledRows(training, { seed: host.seed, epochs: config.epochs });
  const optimizer = new Optimizer(plan.parameters, config.optimizer);
  let tokens = 0;
  let flops = 0;

  const step = async (n: number) => {
    const started = performance.now();
    const batch: E[] = [];
    for (let row = source.next(); row !== undefined; row = source.next()) {
      batch.push(row);
      if (batch.length === config.batch) break;
    }
    const factor = scheduleFactor(config.schedule, n, steps);
    optimizer.zeroGrad();
    const { metrics: measured, others } = scope(() => {
      const collected: Metrics[] = [];
      for (const micro of rowsInParts(batch, plan.sequences, config.micro_batch_tokens)) {
        const metrics = scope(() => {
          const objective = plan.objective(micro, batch.length);
          objective.loss.backward();
          return objective.metrics;
        });
        collected.push(metrics);
      }
      const norm = [optimizer.clip(config.clip_grad, n)];
      optimizer.step(factor);
      return readStep(collected, { norm });
    });
    const [gradNorm = 0] = others.norm;
    checkGradient(gradNorm, n);
    let made = 0;
    for (const { length } of batch.flatMap(plan.sequences)) {
      made += length;
      flops += plan.flops(length);
    }
    tokens += made;
    const trained = performance.now();
    const metrics: Record<string, number> = {
      ...finite({ ...plan.derive?.(measured), ...measured }),
      grad_norm: gradNorm,
      learning_rate: config.optimizer.learning_rate * factor,
      epoch: source.state.epoch + source.state.at / training.length,
      tokens,
      flops,
    };
    if (heldOut.length > 0 && (n % config.evaluate_every === 0 || n === steps)) {
      for (const [name, value] of Object.entries(finite(plan.measure(heldOut)))) metrics[`held_out/${name}`] = value;
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
      label: plan.label,
      steps,
      saveEvery: config.save_every,
      unit: 'tokens',
      step,
      save: (dir) => plan.save(dir, optimizer, { source: source.state, tokens, flops }),
      load: (dir) => {
        const state = plan.load(dir, optimizer) as { source: unknown; tokens: number; flops: number };
        source.restore(state.source);
        tokens = state.tokens;
        flops = state.flops;
        return tokens;
      },
    });
    return { outcome, tokens, flops, training, heldOut };
  } finally {
    optimizer.dispose();
  }
}

/** Without what is NaN: a mean over nothing. */
function finite(metrics: Readonly<Record<string, number>>): Record<string, number> {
  return Object.fromEntries(Object.entries(metrics).filter(([, value]) => !Number.isNaN(value)));
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
export function rowsInParts<E>(
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
