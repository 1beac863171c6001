import { evaluate } from '../eval/evaluate.js';
import { loadModel, saveModel } from '../model/checkpoint.js';
import { DeepseekModel } from '../model/deepseek.js';
import { groupAdvantages } from '../objective/advantage.js';
import { RewardProgram } from '../reward/program.js';
import type { Trace } from '../reward/trace.js';
import { RolloutEngine, type Sample } from '../rollout/engine.js';
import type { Task } from '../task/problem.js';
import type { Tokenizer } from '../text/tokenizer.js';
import { Random, type RandomState } from '../util/random.js';
import { countFlops } from './flops.js';
import type { GrpoConfig } from './grpo-config.js';
import { type LoopHost, trainingLoop } from './loop.js';
import { Optimizer } from './optimizer.js';
import { policyOutput, updatePolicy } from './policy-update.js';
import { inGroups, rollOut, rolloutMetrics, rolloutTokens, scoreRollouts } from './rollouts.js';
import { scheduleFactor } from './schedule.js';
import { loadTrainingState, saveTrainingState } from './state.js';

/** One line for samples/<stage>.jsonl. */
export interface GrpoSampleRow {
  readonly id: string;
  readonly language: string;
  readonly mode: 'sampled';
  readonly prompt: string;
  readonly answer?: string;
  readonly response: string;
  readonly trace: Trace;
  readonly advantage: number;
  readonly reason: Sample['reason'];
  readonly length: number;
  readonly [key: string]: unknown;
}

export interface GrpoHost extends LoopHost {
  readonly seed: number;
  samples(step: number, rows: readonly GrpoSampleRow[]): void;
}

export interface GrpoSummary {
  readonly outcome: 'done' | 'interrupted';
  readonly tokens: number;
  readonly flops: number;
}

/**
 * Group relative policy optimisation: sample G outputs a question, score them by rules, compare each with its group,
 * and move the policy. The next rollout uses the same weights, in place.
 */
export async function grpo(
  host: GrpoHost,
  policy: DeepseekModel,
  tokenizer: Tokenizer,
  task: Task,
  config: GrpoConfig,
): Promise<GrpoSummary> {
  const trainer = new GrpoTrainer(host, policy, tokenizer, task, config);
  try {
    return await trainer.run();
  } finally {
    trainer.dispose();
  }
}

class GrpoTrainer {
  readonly #engine: RolloutEngine;
  readonly #rewards: RewardProgram;
  readonly #optimizer: Optimizer;
  readonly #reference: DeepseekModel | null;
  #random: Random;
  #tokens = 0;
  #flops = 0;

  constructor(
    private readonly host: GrpoHost,
    private readonly policy: DeepseekModel,
    private readonly tokenizer: Tokenizer,
    private readonly task: Task,
    private readonly config: GrpoConfig,
  ) {
    this.#engine = new RolloutEngine(policy);
    this.#rewards = new RewardProgram(config.rewards);
    this.#optimizer = new Optimizer(policy.parameters(), config.optimizer);
    this.#random = new Random(`${host.seed}/questions`);
    if (config.loss.kl.estimator === 'none') {
      this.#reference = null;
    } else {
      this.#reference = new DeepseekModel(policy.config);
      this.#reference.setTrainable(false);
      this.#reference.copyFrom(policy);
    }
  }

  dispose(): void {
    this.#optimizer.dispose();
    this.#reference?.dispose();
  }

  async run(): Promise<GrpoSummary> {
    const { config, host } = this;
    const updates = config.mini_batches * config.inner_epochs;
    if (updates === 1) {
      host.log(
        'one update per rollout: the ratio π_θ/π_old is 1 up to rounding at every token, so nothing is ever clipped; ' +
          'mini_batches above 1 lets it move (this is no error: the gradient is that of the advantages)',
      );
    }
    const outcome = await trainingLoop(host, {
      label: 'grpo',
      steps: config.steps,
      saveEvery: config.save_every,
      unit: 'tokens',
      step: (n) => this.#step(n),
      save: async (dir) => {
        await saveTrainingState(dir, this.policy, this.#optimizer, {
          random: this.#random.state,
          tokens: this.#tokens,
          flops: this.#flops,
        });
        if (this.#reference !== null) await saveModel(this.#reference, `${dir}/reference`);
      },
      load: (dir) => {
        // First the reference: making a model draws from the generator whose state is put back after it.
        if (this.#reference !== null) {
          const saved = loadModel(`${dir}/reference`);
          this.#reference.copyFrom(saved);
          saved.dispose();
        }
        const state = loadTrainingState(dir, this.policy, this.#optimizer) as {
          random: RandomState;
          tokens: number;
          flops: number;
        };
        this.#random = new Random(state.random);
        this.#tokens = state.tokens;
        this.#flops = state.flops;
        return this.#tokens;
      },
    });
    return { outcome, tokens: this.#tokens, flops: this.#flops };
  }

  async #step(n: number) {
    const { config, host, policy } = this;
    const started = performance.now();
    const problems = Array.from({ length: config.questions_per_step }, () => this.task.sample(this.#random, 'train'));
    const sampled = await rollOut(this.#engine, this.tokenizer, problems, {
      samples: config.group_size,
      sampling: config.sampling,
      seed: host.seed,
      key: (i) => `${n}/${i}`,
    });
    const rolledOut = performance.now();

    const rollouts = scoreRollouts(sampled, this.#rewards);
    const grouped = inGroups(rollouts, config.group_size).map((group) => group.map(({ trace }) => trace.total));
    const { advantages, zeroSpread } = groupAdvantages(grouped, config.advantage);
    const flat = advantages.flatMap((group) => Array.from(group));
    host.samples(
      n,
      rollouts.map(({ problem, response, trace, sample }, i) => ({
        id: problem.id,
        language: problem.language,
        mode: 'sampled' as const,
        prompt: problem.prompt,
        ...(problem.answer === undefined ? {} : { answer: problem.answer }),
        response,
        trace,
        advantage: flat[i] as number,
        reason: sample.reason,
        length: sample.tokens.length,
      })),
    );
    const scored = performance.now();

    const outputs = rollouts.map((rollout, i) => policyOutput(rollout, flat[i] as number));
    const rate = scheduleFactor(config.schedule, n, config.steps);
    const update = updatePolicy(
      { policy, optimizer: this.#optimizer, reference: this.#reference },
      outputs,
      { ...config, temperature: config.sampling.temperature, max_tokens: config.sampling.max_tokens },
      { n, rate },
    );
    if (n === 1) {
      host.log(
        `step 1: rollout and trainer differ by at most ${(update['logprob_difference/max'] as number).toExponential(1)} nats in a token's log-probability`,
      );
    }
    if (this.#reference !== null && config.reference_every > 0 && n % config.reference_every === 0) {
      this.#reference.copyFrom(policy);
    }
    const updated = performance.now();

    const made = rolloutTokens(rollouts, config.group_size);
    const flops = countFlops(policy.config);
    const context = (made.prompt / problems.length + made.new / rollouts.length) / 2;
    const trained = outputs.reduce((sum, { tokens }) => sum + tokens.length, 0) * config.inner_epochs;
    this.#tokens += made.new;
    this.#flops +=
      (made.prompt + made.new) * flops.forward(context) +
      trained * flops.training(context) +
      (this.#reference === null ? 0 : trained * flops.forward(context));

    const metrics: Record<string, number | readonly number[]> = {
      ...rolloutMetrics(rollouts, config.group_size),
      zero_spread: zeroSpread / problems.length,
      ...update,
      learning_rate: config.optimizer.learning_rate * rate,
      tokens: this.#tokens,
      flops: this.#flops,
      'time/rollout_s': (rolledOut - started) / 1000,
      'time/reward_s': (scored - rolledOut) / 1000,
      'time/update_s': (updated - scored) / 1000,
      'time/step_s': (updated - started) / 1000,
      'time/rollout_tokens_per_s': (made.new / (rolledOut - started)) * 1000,
      'time/tokens_per_s': (made.new / (updated - started)) * 1000,
      'time/rss_bytes': process.memoryUsage.rss(),
    };
    if (config.validation !== undefined && n % config.validation.every === 0) {
      const { evaluation } = await evaluate(
        this.policy,
        this.tokenizer,
        this.task.fixed('validation', config.validation.n),
        {
          samples: 0,
          maxTokens: config.sampling.max_tokens,
          seed: host.seed,
        },
      );
      metrics['validation/accuracy'] = evaluation.accuracy;
      metrics['validation/format'] = evaluation.format;
      metrics['time/validation_s'] = (performance.now() - updated) / 1000;
    }
    return {
      metrics,
      show: {
        reward: metrics.reward as number,
        ...(metrics.accuracy === undefined ? {} : { accuracy: metrics.accuracy as number }),
        length: metrics.length as number,
      },
      amount: this.#tokens,
    };
  }
}
