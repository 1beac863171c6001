import { getFloat32MatmulPrecision, scope, type Tensor, tensor, tokenLogprobs } from '@dunwu/torch';
import type { Loader } from '../data/loader.js';
import type { PackedBatch } from '../data/packing.js';
import type { CausalModel } from '../model/causal-model.js';
import { computeType } from '../model/compute-type.js';
import type { MoeLayer, RouterOutput } from '../model/moe.js';
import { languageModelLoss } from '../objective/language-model.js';
import { type Metrics, type Objective, readStep } from '../objective/metrics.js';
import { ExpertLoad, loadMetrics, sequenceBalanceLoss, updateBalanceBias } from './balance.js';
import { matmulRate } from './compute.js';
import { modelFlops } from './flops.js';
import { checkGradient } from './gradient.js';
import type { LoopHost } from './loop.js';
import { trainingLoop } from './loop.js';
import { Optimizer } from './optimizer.js';
import { type PackedTensors, packedTensors } from './packed.js';
import type { PretrainConfig } from './pretrain-config.js';
import { scheduleFactor } from './schedule.js';
import { loadTrainingState, saveTrainingState } from './state.js';

export interface TrainingSummary {
  readonly outcome: 'done' | 'interrupted';
  readonly tokens: number;
  readonly flops: number;
}

export type PackedLoader = Pick<Loader<unknown>, 'next' | 'state' | 'restore'>;

/** What an objective is computed from: one micro-batch after the model's forward pass. */
export interface PackedStep {
  readonly batch: PackedBatch;
  readonly rows: PackedTensors;
  /** [batch · time, hidden] */
  readonly hidden: Tensor;
  /** Σ loss mask over all micro-batches of the step. */
  readonly targetsInBatch: number;
}

/** A further loss on the same forward pass, and what its own mixture-of-experts layers chose. */
export interface AuxiliaryLoss extends Objective {
  /** In the order of `AuxiliaryTraining.moeLayers`; `counted`, bool [batch · time], says which tokens are load. */
  readonly routers: readonly { readonly router: RouterOutput; readonly counted: Tensor }[];
}

/** Layers of a model that a stage trains beside its own objective: the modules of multi-token prediction. */
export interface AuxiliaryTraining {
  /** Balanced like the model's own layers; their load is reported behind those. */
  readonly moeLayers: readonly MoeLayer[];
  /** Of a micro-batch at step n, to be added to the objective's; null when it has nothing to learn from. */
  loss(step: PackedStep, n: number): AuxiliaryLoss | null;
  /** FLOPs that this costs on a batch. */
  flops(batch: PackedBatch): number;
  /** More metrics of step n. */
  metrics(n: number): Readonly<Record<string, number>>;
}

export interface PackedTraining {
  /** What is being done, in the progress line. */
  readonly label: string;
  /** What the data are called when they end too early. */
  readonly data: string;
  /** Whether the last step may have fewer micro-batches than the others. */
  readonly lastMayBeShort?: boolean;
  /** The loss of a micro-batch; those of a step must add up to the step's. Default: next-token loss. */
  objective?(step: PackedStep): Objective;
  readonly auxiliary?: AuxiliaryTraining;
  /** FLOPs that the objective spends on a batch besides the model's own training: a teacher's forward pass. */
  extraFlops?(batch: PackedBatch): number;
  /** More metrics, measured after the update of step n. */
  measure?(n: number): Readonly<Record<string, number>>;
}

/** Next-token loss over every position that the mask counts. */
export function nextTokenObjective(model: CausalModel, { batch, rows, hidden, targetsInBatch }: PackedStep): Objective {
  const [logprobs] = tokenLogprobs(hidden, model.headWeight, rows.targets);
  return languageModelLoss(logprobs, tensor(batch.lossMask, { device: model.device }), { targetsInBatch });
}

/**
 * Training on packed rows, each document seeing itself only: what pretraining, fine-tuning and distillation from rows
 * have in common. The model is changed in place.
 */
export async function trainPacked(
  host: LoopHost,
  model: CausalModel,
  loader: PackedLoader,
  config: PretrainConfig,
  plan: PackedTraining,
): Promise<TrainingSummary> {
  const optimizer = new Optimizer(model.trained(), config.optimizer);
  const flopCount = modelFlops(model);
  const { device } = model;
  const peak = matmulRate({ dtype: computeType(), precision: getFloat32MatmulPrecision(), seconds: 0.15, device });
  const { auxiliary } = plan;
  const moeLayers = [...model.moeLayers, ...(auxiliary?.moeLayers ?? [])];
  const objectiveOf = plan.objective ?? ((step: PackedStep) => nextTokenObjective(model, step));
  let tokens = 0;
  let flops = 0;

  const step = async (n: number) => {
    const started = performance.now();
    const batches: PackedBatch[] = [];
    for (let i = 0; i < config.gradient_accumulation; i++) {
      const batch = loader.next();
      if (batch === undefined && i > 0 && n === config.steps && plan.lastMayBeShort === true) break;
      if (batch === undefined) {
        throw new Error(`the ${plan.data} ended at step ${n} of ${config.steps}; give it more epochs or lower steps`);
      }
      batches.push(batch);
    }
    const targetsInBatch = batches.reduce((sum, { lossMask }) => sum + lossMask.reduce((a, b) => a + b, 0), 0);
    const factor = scheduleFactor(config.schedule, n, config.steps);
    let stepFlops = 0;
    optimizer.zeroGrad();
    const { metrics: measured, others } = scope(() => {
      const load = new ExpertLoad(moeLayers.length, model.expertCount, device);
      const collected: Metrics[] = [];
      const losses: Tensor[] = [];
      for (const batch of batches) {
        const { metrics, loss } = scope(() => {
          const rows = packedTensors(batch, device);
          const { hidden, routers } = model.forward(rows);
          const packed: PackedStep = { batch, rows, hidden, targetsInBatch };
          const objective = objectiveOf(packed);
          const further = auxiliary?.loss(packed, n) ?? null;
          let total = objective.loss;
          if (further !== null) total = total.add(further.loss);
          const more = further?.routers ?? [];
          if (config.balance.sequence_loss > 0) {
            const balance = sequenceBalanceLoss([...routers, ...more.map(({ router }) => router)], batch.batch);
            if (balance !== null) total = total.add(balance.mul(config.balance.sequence_loss / batches.length));
          }
          total.backward();
          load.add(routers, rows.predicts);
          more.forEach(({ router, counted }, i) => {
            load.add([router], counted, model.moeLayers.length + i);
          });
          return { metrics: { ...objective.metrics, ...further?.metrics }, loss: objective.loss.detach() };
        });
        collected.push(metrics);
        losses.push(loss);
        tokens += batch.tokenCount;
        stepFlops += batch.tokenCount * flopCount.training(batch.time / 2) + (plan.extraFlops?.(batch) ?? 0);
        stepFlops += auxiliary?.flops(batch) ?? 0;
      }
      const norm = [optimizer.clip(config.clip_grad, n)];
      optimizer.step(factor);
      updateBalanceBias({ moeLayers }, load, config.balance.bias_update_speed);
      return readStep(collected, { losses, norm, load: [load.counts] });
    });
    const [gradNorm = 0] = others.norm;
    checkGradient(gradNorm, n);
    const loss = others.losses.reduce((sum, part) => sum + part, 0);
    flops += stepFlops;
    const seconds = (performance.now() - started) / 1000;
    const stepTokens = batches.reduce((sum, batch) => sum + batch.tokenCount, 0);
    const metrics: Record<string, number | readonly number[]> = {
      ...measured,
      loss,
      grad_norm: gradNorm,
      learning_rate: config.optimizer.learning_rate * factor,
      tokens,
      flops,
      ...loadMetrics(others.load, model.expertCount),
      ...auxiliary?.metrics(n),
      ...plan.measure?.(n),
      'time/step_s': seconds,
      'time/tokens_per_s': stepTokens / seconds,
      'time/flops_per_s': stepFlops / seconds,
      'time/peak_share': stepFlops / seconds / peak,
      'time/rss_bytes': process.memoryUsage.rss(),
    };
    return { metrics, show: { loss, 'tok/s': Math.round(stepTokens / seconds) }, amount: tokens };
  };

  try {
    const outcome = await trainingLoop(host, {
      label: plan.label,
      steps: config.steps,
      saveEvery: config.save_every,
      unit: 'tokens',
      step,
      save: (dir) => saveTrainingState(dir, model, optimizer, { loader: loader.state, tokens, flops }),
      load: (dir) => {
        const state = loadTrainingState(dir, model, optimizer) as { loader: unknown; tokens: number; flops: number };
        loader.restore(state.loader);
        tokens = state.tokens;
        flops = state.flops;
        return tokens;
      },
    });
    return { outcome, tokens, flops };
  } finally {
    optimizer.dispose();
  }
}
