import { full, scope, type Tensor } from '@dunwu/torch';
import type { CausalModel } from '../model/causal-model.js';
import { distillationLoss } from '../objective/distillation.js';
import { type Metrics, readStep } from '../objective/metrics.js';
import { RewardProgram } from '../reward/program.js';
import { RolloutEngine } from '../rollout/engine.js';
import type { Task } from '../task/problem.js';
import type { Tokenizer } from '../text/tokenizer.js';
import { Random } from '../util/random.js';
import { ExpertLoad, loadMetrics, sequenceBalanceLoss, updateBalanceBias } from './balance.js';
import type { DistillOnPolicyConfig } from './distill-config.js';
import { countFlops } from './flops.js';
import { requireFinite } from './gradient.js';
import type { GrpoSampleRow } from './grpo.js';
import { trainingLoop } from './loop.js';
import { Optimizer } from './optimizer.js';
import type { TrainingSummary } from './packed-training.js';
import { microBatches, packInRows } from './policy-update.js';
import { type Rollout, rollOut, rolloutMetrics, rolloutTokens, scoreRollouts } from './rollouts.js';
import { scheduleFactor } from './schedule.js';
import type { SftHost } from './sft.js';
import { loadTrainingState, saveTrainingState } from './state.js';
import { logitsAt, targetsOf } from './teacher.js';

/** One line for samples/<stage>.jsonl: without rules there is no trace. */
export type OnPolicySampleRow = Omit<GrpoSampleRow, 'trace' | 'advantage'> & Partial<Pick<GrpoSampleRow, 'trace'>>;

export interface OnPolicyHost extends SftHost {
  samples(step: number, rows: readonly OnPolicySampleRow[]): void;
}

/**
 * On-policy distillation (GKD, arXiv 2306.13649, algorithm 1 with λ = 1): the student answers, the teacher says at every
 * token of the answer what it would have expected there, and the student moves towards that. No gradient goes through
 * the sampling. The student is changed in place; the teacher is not.
 *
 * Metrics: `divergence`, `agreement`, …; `length`, `truncated`; with `rewards` those of the rules, such as `accuracy`.
 *
 * @param vocabulary tokens that both models have
 */
export async function distillOnPolicy(
  host: OnPolicyHost,
  student: CausalModel,
  teacher: CausalModel,
  tokenizer: Tokenizer,
  task: Task,
  config: DistillOnPolicyConfig,
  vocabulary: number,
): Promise<TrainingSummary> {
  const engine = new RolloutEngine(student);
  const rewards = config.rewards === undefined ? null : new RewardProgram(config.rewards);
  const optimizer = new Optimizer(student.trained(), config.optimizer);
  const cost = { student: countFlops(student.config), teacher: countFlops(teacher.config) };
  let tokens = 0;
  let flops = 0;

  const update = (rollouts: readonly Rollout[], n: number, rate: number) => {
    const outputs = rollouts.map(({ prompt, sample }) => ({
      tokens: [...prompt, ...sample.tokens],
      promptLength: prompt.length,
    }));
    const targetsInBatch = rollouts.reduce((sum, { sample }) => sum + sample.tokens.length, 0);
    const { device } = student;
    const parts = microBatches(outputs, config.micro_batch_tokens);
    optimizer.zeroGrad();
    const { metrics: measured, others } = scope(() => {
      const load = new ExpertLoad(student.moeLayers.length, student.expertCount, device);
      const collected: Metrics[] = [];
      const losses: Tensor[] = [];
      for (const micro of parts) {
        const { metrics, loss } = scope(() => {
          const { on, counted, places, targets } = packInRows(student, micro);
          const { hidden, routers } = student.forward(on);
          const objective = distillationLoss(
            {
              logits: logitsAt(student, hidden, places, vocabulary),
              teacher: targetsOf(teacher, on, places, {
                temperature: config.loss.temperature,
                topK: config.loss.top_k,
                vocabulary,
              }),
              targets,
              weights: full([targets.size(0)], 1, { device }),
              targetsInBatch,
            },
            config.loss,
          );
          let total = objective.loss;
          if (config.balance.sequence_loss > 0) {
            const balance = sequenceBalanceLoss(routers, on.tokens.size(0));
            if (balance !== null) total = total.add(balance.mul(config.balance.sequence_loss / parts.length));
          }
          total.backward();
          load.add(routers, counted);
          return { metrics: objective.metrics, loss: objective.loss.detach() };
        });
        collected.push(metrics);
        losses.push(loss);
      }
      const norm = [optimizer.clip(config.clip_grad, n)];
      optimizer.step(rate);
      updateBalanceBias(student, load, config.balance.bias_update_speed);
      return readStep(collected, { losses, norm, load: [load.counts] });
    });
    // Zero is no fault here: a student that is its teacher has nothing to learn.
    requireFinite(others.norm, n);
    const metrics: Record<string, number | readonly number[]> = {
      ...measured,
      loss: others.losses.reduce((sum, part) => sum + part, 0),
      grad_norm: others.norm[0] as number,
      ...loadMetrics(others.load, student.expertCount),
    };
    return { metrics, trained: outputs.reduce((sum, output) => sum + output.tokens.length, 0) };
  };

  const step = async (n: number) => {
    const started = performance.now();
    // Each step has random numbers of its own: nothing of them needs to be saved.
    const random = new Random(`${host.seed}/questions/${n}`);
    const problems = Array.from({ length: config.questions_per_step }, () => task.sample(random, 'train'));
    const rollouts = await rollOut(engine, tokenizer, problems, {
      samples: config.samples,
      sampling: config.sampling,
      seed: host.seed,
      key: (i) => `${n}/${i}`,
    });
    const rolled = performance.now();
    const scored = rewards === null ? null : scoreRollouts(rollouts, rewards);
    host.samples(
      n,
      rollouts.map((rollout, i) => sampleRow(rollout, scored?.[i]?.trace)),
    );
    const rate = scheduleFactor(config.schedule, n, config.steps);
    const { metrics, trained } = update(rollouts, n, rate);
    const made = rolloutTokens(rollouts, config.samples);
    const context = trained / rollouts.length / 2;
    tokens += made.new;
    flops +=
      (made.prompt + made.new) * cost.student.forward(context) +
      trained * (cost.student.training(context) + cost.teacher.forward(context));
    const seconds = (performance.now() - started) / 1000;
    return {
      metrics: {
        ...(scored === null ? lengths(rollouts) : rolloutMetrics(scored, config.samples)),
        ...metrics,
        learning_rate: config.optimizer.learning_rate * rate,
        tokens,
        flops,
        'time/rollout_s': (rolled - started) / 1000,
        'time/step_s': seconds,
        'time/tokens_per_s': made.new / seconds,
        'time/rss_bytes': process.memoryUsage.rss(),
      },
      show: { divergence: metrics.divergence as number, 'tok/s': Math.round(made.new / seconds) },
      amount: tokens,
    };
  };

  try {
    const outcome = await trainingLoop(host, {
      label: 'distill',
      steps: config.steps,
      saveEvery: config.save_every,
      unit: 'tokens',
      step,
      save: (dir) => saveTrainingState(dir, student, optimizer, { tokens, flops }),
      load: (dir) => {
        ({ tokens, flops } = loadTrainingState(dir, student, optimizer) as { tokens: number; flops: number });
        return tokens;
      },
    });
    return { outcome, tokens, flops };
  } finally {
    optimizer.dispose();
  }
}

function lengths(rollouts: readonly Rollout[]): { length: number; truncated: number } {
  const share = (of: (rollout: Rollout) => number): number =>
    rollouts.reduce((sum, rollout) => sum + of(rollout), 0) / rollouts.length;
  return {
    length: share(({ sample }) => sample.tokens.length),
    truncated: share(({ sample }) => (sample.reason === 'length' ? 1 : 0)),
  };
}

function sampleRow(
  { problem, sample, response }: Rollout,
  trace: GrpoSampleRow['trace'] | undefined,
): OnPolicySampleRow {
  return {
    id: problem.id,
    language: problem.language,
    mode: 'sampled',
    prompt: problem.prompt,
    ...(problem.answer === undefined ? {} : { answer: problem.answer }),
    response,
    ...(trace === undefined ? {} : { trace }),
    reason: sample.reason,
    length: sample.tokens.length,
  };
}
