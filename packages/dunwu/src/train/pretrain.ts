import { getFloat32MatmulPrecision, scope, tensor, tokenLogprobs } from '@dunwu/torch';
import type { Loader } from '../data/loader.js';
import type { PackedBatch } from '../data/packing.js';
import type { DeepseekModel } from '../model/deepseek.js';
import { languageModelLoss } from '../objective/language-model.js';
import { ExpertLoad, sequenceBalanceLoss, updateBalanceBias } from './balance.js';
import { matmulRate } from './compute.js';
import { countFlops } from './flops.js';
import type { LoopHost } from './loop.js';
import { trainingLoop } from './loop.js';
import { Optimizer } from './optimizer.js';
import { packedTensors } from './packed.js';
import type { PretrainConfig } from './pretrain-config.js';
import { scheduleFactor } from './schedule.js';
import { loadTrainingState, saveTrainingState } from './state.js';

export interface PretrainSummary {
  readonly outcome: 'done' | 'interrupted';
  readonly tokens: number;
  readonly flops: number;
}

/** Next-token training on packed rows, each document seeing itself only. The model is changed in place. */
export async function pretrain(
  host: LoopHost,
  model: DeepseekModel,
  loader: Pick<Loader<unknown>, 'next' | 'state' | 'restore'>,
  config: PretrainConfig,
): Promise<PretrainSummary> {
  const optimizer = new Optimizer(model.parameters(), config.optimizer);
  const flopCount = countFlops(model.config);
  const peak = matmulRate({ precision: getFloat32MatmulPrecision(), seconds: 0.15 });
  let tokens = 0;
  let flops = 0;

  const step = async (n: number) => {
    const started = performance.now();
    const batches: PackedBatch[] = [];
    for (let i = 0; i < config.gradient_accumulation; i++) {
      const batch = loader.next();
      if (batch === undefined) {
        throw new Error(`the corpus ended at step ${n} of ${config.steps}; give it more epochs or lower steps`);
      }
      batches.push(batch);
    }
    const targetsInBatch = batches.reduce((sum, { lossMask }) => sum + lossMask.reduce((a, b) => a + b, 0), 0);
    const load = new ExpertLoad(model.moeLayers.length, model.config.n_routed_experts);
    let loss = 0;
    let stepFlops = 0;
    optimizer.zeroGrad();
    for (const batch of batches) {
      scope(() => {
        const rows = packedTensors(batch);
        const { hidden, routers } = model.forward(rows);
        const [logprobs] = tokenLogprobs(hidden, model.headWeight, rows.targets);
        const objective = languageModelLoss(logprobs, tensor(batch.lossMask), { targetsInBatch });
        let total = objective.loss;
        if (config.balance.sequence_loss > 0) {
          const balance = sequenceBalanceLoss(routers, batch.batch);
          if (balance !== null) total = total.add(balance.mul(config.balance.sequence_loss / batches.length));
        }
        total.backward();
        loss += objective.loss.item();
        load.add(routers, rows.predicts);
      });
      tokens += batch.tokenCount;
      stepFlops += batch.tokenCount * flopCount.training(batch.time / 2);
    }
    const gradNorm = optimizer.clip(config.clip_grad);
    checkGradient(gradNorm, n);
    const factor = scheduleFactor(config.schedule, n, config.steps);
    optimizer.step(factor);
    updateBalanceBias(model, load, config.balance.bias_update_speed);
    flops += stepFlops;
    const seconds = (performance.now() - started) / 1000;
    const stepTokens = batches.reduce((sum, batch) => sum + batch.tokenCount, 0);
    const metrics: Record<string, number | readonly number[]> = {
      loss,
      grad_norm: gradNorm,
      learning_rate: config.optimizer.learning_rate * factor,
      tokens,
      flops,
      expert_imbalance: load.imbalance(),
      'time/step_s': seconds,
      'time/tokens_per_s': stepTokens / seconds,
      'time/flops_per_s': stepFlops / seconds,
      'time/peak_share': stepFlops / seconds / peak,
      'time/rss_bytes': process.memoryUsage.rss(),
    };
    load.shares().forEach((shares, layer) => {
      metrics[`expert_load/${layer}`] = shares;
    });
    return { metrics, show: { loss, 'tok/s': Math.round(stepTokens / seconds) }, amount: tokens };
  };

  const outcome = await trainingLoop(host, {
    label: 'pretrain',
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
  optimizer.dispose();
  return { outcome, tokens, flops };
}

/** A gradient that is zero or not finite means that training "runs" and nothing is learnt: stop and say so. */
export function checkGradient(norm: number, step: number): void {
  if (!Number.isFinite(norm)) {
    throw new Error(
      `step ${step}: the gradient norm is ${norm}; the weights of the last checkpoint are unharmed. ` +
        'Lower the learning rate, or look for a division by zero in a new loss or reward',
    );
  }
  if (step === 1 && norm === 0) {
    throw new Error('step 1: the gradient is exactly zero: nothing would be learnt. Is every target masked out?');
  }
}
