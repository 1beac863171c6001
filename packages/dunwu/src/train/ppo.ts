import type { CausalModel } from '../model/causal-model.js';
import type { ScalarModel } from '../model/scalar-model.js';
import { explainedVariance, gae, whiten } from '../objective/gae.js';
import { tokenRewards } from '../objective/token-rewards.js';
import { RewardProgram } from '../reward/program.js';
import type { Trace } from '../reward/trace.js';
import { RolloutEngine, type Sample } from '../rollout/engine.js';
import type { Task } from '../task/problem.js';
import type { Tokenizer } from '../text/tokenizer.js';
import { Random, type RandomState } from '../util/random.js';
import { countFlops } from './flops.js';
import { type LoopHost, trainingLoop } from './loop.js';
import type { ResponseScorer } from './model-rewards.js';
import { Optimizer } from './optimizer.js';
import { policyOutput, responseLogprobs, updatePolicy } from './policy-update.js';
import type { PpoConfig } from './ppo-config.js';
import { rollOut, rolloutMetrics, rolloutTokens, type ScoredRollout, scoreRollouts } from './rollouts.js';
import { loadScalarTrainingState, saveScalarTrainingState } from './scalar-state.js';
import { scheduleFactor } from './schedule.js';
import { loadTrainingState, saveTrainingState } from './state.js';
import { validationMetrics } from './validation.js';
import { responseValues, updateValues } from './value-update.js';

/** One line for samples/<stage>.jsonl. */
export interface PpoSampleRow {
  readonly id: string;
  readonly language: string;
  readonly mode: 'sampled';
  readonly prompt: string;
  readonly answer?: string;
  readonly response: string;
  /** What the observing rules say; nothing is learnt from it. */
  readonly trace: Trace;
  /** What the reward model gave, a black box. */
  readonly score: number;
  /** log(π_old(o|q) / π_ref(o|q)) in nats. */
  readonly kl: number;
  /** Σ_t r_t = score − β · kl. */
  readonly reward: number;
  /** Mean over the response's tokens. */
  readonly advantage: number;
  readonly reason: Sample['reason'];
  readonly length: number;
  readonly [key: string]: unknown;
}

export interface PpoHost extends LoopHost {
  readonly seed: number;
  samples(step: number, rows: readonly PpoSampleRow[]): void;
}

/** The four models of RLHF; the caller's, who disposes them. */
export interface PpoModels {
  /** Changed in place. */
  readonly policy: CausalModel;
  /** Changed in place. Of the policy's tokenizer: it looks at the same tokens. */
  readonly value: ScalarModel;
  /** π_ref, usually the policy as it was. */
  readonly reference: CausalModel;
  readonly rewardModel: ResponseScorer;
}

export interface PpoSummary {
  readonly outcome: 'done' | 'interrupted';
  readonly tokens: number;
  readonly flops: number;
}

/** A response with all that the updates need. */
interface Experience {
  readonly rollout: ScoredRollout;
  readonly score: number;
  readonly kl: number;
  readonly values: readonly number[];
  readonly advantages: Float64Array;
  readonly returns: Float64Array;
}

/**
 * Proximal policy optimisation against a reward model: the RLHF that the rule-based way is compared with. Sample
 * responses; score each as a whole; give every token the KL penalty and the last one the score; estimate each token's
 * advantage with the value function; move the policy (clipped surrogate) and the value function.
 *
 * Metrics beside those of the updates (policy-update.ts, value-update.ts): `score` (the reward model's), `reward` (score
 * less the KL penalty, per response), `kl` (nats per token, k1), `kl/sequence` (per response), `explained_variance` (of
 * the returns by the values before the update), `observed/RULE` and `accuracy` (rules that only look).
 */
export async function ppo(
  host: PpoHost,
  models: PpoModels,
  tokenizer: Tokenizer,
  task: Task,
  config: PpoConfig,
): Promise<PpoSummary> {
  const trainer = new PpoTrainer(host, models, tokenizer, task, config);
  try {
    return await trainer.run();
  } finally {
    trainer.dispose();
  }
}

class PpoTrainer {
  readonly #engine: RolloutEngine;
  readonly #observers: RewardProgram;
  readonly #optimizer: Optimizer;
  readonly #valueOptimizer: Optimizer;
  #random: Random;
  #tokens = 0;
  #samples = 0;
  #flops = 0;

  constructor(
    private readonly host: PpoHost,
    private readonly models: PpoModels,
    private readonly tokenizer: Tokenizer,
    private readonly task: Task,
    private readonly config: PpoConfig,
  ) {
    const { policy, value } = models;
    const [ours, theirs] = [policy.config, value.trunk.config];
    if (theirs.vocab_size !== ours.vocab_size || theirs.max_position_embeddings < ours.max_position_embeddings) {
      throw new Error(
        `the value function has a vocabulary of ${theirs.vocab_size} and ${theirs.max_position_embeddings} positions, ` +
          `the policy ${ours.vocab_size} and ${ours.max_position_embeddings}: it cannot look at the policy's tokens`,
      );
    }
    this.#engine = new RolloutEngine(policy);
    this.#observers = new RewardProgram(config.observe);
    this.#optimizer = new Optimizer(policy.trained(), config.optimizer);
    this.#valueOptimizer = new Optimizer(value.parameters(), config.value.optimizer ?? config.optimizer);
    this.#random = new Random(`${host.seed}/questions`);
  }

  dispose(): void {
    this.#optimizer.dispose();
    this.#valueOptimizer.dispose();
  }

  async run(): Promise<PpoSummary> {
    const { config, host, models } = this;
    if (config.mini_batches * config.inner_epochs === 1) {
      host.log(
        'one update per rollout: the ratio π_θ/π_old is 1 up to rounding at every token, so nothing is ever clipped; ' +
          'mini_batches or inner_epochs above 1 let it move (this is no error)',
      );
    }
    const outcome = await trainingLoop(host, {
      label: 'ppo',
      steps: config.steps,
      saveEvery: config.save_every,
      unit: 'tokens',
      step: (n) => this.#step(n),
      save: async (dir) => {
        await saveTrainingState(dir, models.policy, this.#optimizer, {
          random: this.#random.state,
          tokens: this.#tokens,
          samples: this.#samples,
          flops: this.#flops,
        });
        await saveScalarTrainingState(`${dir}/value`, models.value, this.#valueOptimizer, {});
      },
      load: (dir) => {
        loadScalarTrainingState(`${dir}/value`, models.value, this.#valueOptimizer);
        const state = loadTrainingState(dir, models.policy, this.#optimizer) as {
          random: RandomState;
          tokens: number;
          samples: number;
          flops: number;
        };
        this.#random = new Random(state.random);
        this.#tokens = state.tokens;
        this.#samples = state.samples;
        this.#flops = state.flops;
        return this.#tokens;
      },
    });
    return { outcome, tokens: this.#tokens, flops: this.#flops };
  }

  async #step(n: number) {
    const { config, host } = this;
    const { policy, value } = this.models;
    const started = performance.now();
    const problems = Array.from({ length: config.questions_per_step }, () => this.task.sample(this.#random, 'train'));
    const sampled = await rollOut(this.#engine, this.tokenizer, problems, {
      samples: config.samples_per_question,
      sampling: config.sampling,
      seed: host.seed,
      key: (i) => `${n}/${i}`,
    });
    const rolled = performance.now();
    const rollouts = scoreRollouts(sampled, this.#observers);
    const experience = this.#judge(rollouts);
    host.samples(
      n,
      experience.map((one) => sampleRow(one, config)),
    );
    const judged = performance.now();

    const rate = scheduleFactor(config.schedule, n, config.steps);
    const updates = {
      mini_batches: config.mini_batches,
      inner_epochs: config.inner_epochs,
      micro_batch_tokens: config.micro_batch_tokens,
      clip_grad: config.clip_grad,
    };
    const outputs = experience.map(({ rollout, advantages }) => policyOutput(rollout, advantages));
    const moved = updatePolicy(
      { policy, optimizer: this.#optimizer, reference: null },
      outputs,
      {
        ...updates,
        group_size: 1,
        temperature: config.sampling.temperature,
        max_tokens: config.sampling.max_tokens,
        loss: { ratio: 'token', ...config.loss, kl: { estimator: 'none' } },
      },
      { n, rate },
    );
    const valued = updateValues(
      { model: value, optimizer: this.#valueOptimizer },
      experience.map(({ values, returns }, i) => ({ ...(outputs[i] as (typeof outputs)[0]), values, returns })),
      { ...updates, clip: config.value.clip === 'none' ? null : config.value.clip },
      { n, rate },
    );
    if (n === 1) {
      host.log(
        `step 1: rollout and trainer differ by at most ${(moved['logprob_difference/max'] as number).toExponential(1)} nats in a token's log-probability`,
      );
    }
    const updated = performance.now();
    const made = this.#count(rollouts);

    const metrics: Record<string, number | readonly number[]> = {
      ...experienceMetrics(experience, config),
      ...observed(rolloutMetrics(rollouts, config.samples_per_question)),
      ...moved,
      ...valued,
      learning_rate: config.optimizer.learning_rate * rate,
      tokens: this.#tokens,
      samples: this.#samples,
      flops: this.#flops,
      'time/rollout_s': (rolled - started) / 1000,
      'time/reward_s': (judged - rolled) / 1000,
      'time/update_s': (updated - judged) / 1000,
      'time/step_s': (updated - started) / 1000,
      'time/rollout_tokens_per_s': (made / (rolled - started)) * 1000,
      'time/tokens_per_s': (made / (updated - started)) * 1000,
      'time/rss_bytes': process.memoryUsage.rss(),
      ...(await validationMetrics(policy, this.tokenizer, this.task, config, host.seed, n)),
    };
    return {
      metrics,
      show: {
        score: metrics.score as number,
        ...(metrics.accuracy === undefined ? {} : { accuracy: metrics.accuracy as number }),
        length: metrics.length as number,
      },
      amount: this.#tokens,
    };
  }

  /** Scores, penalties, values and advantages of a rollout's responses. */
  #judge(rollouts: readonly ScoredRollout[]): Experience[] {
    const { config, models } = this;
    const scores = models.rewardModel.score(
      rollouts.map(({ problem, response }) => ({ prompt: problem.prompt, response })),
    );
    const sequences = rollouts.map((rollout) => policyOutput(rollout, 0));
    const { micro_batch_tokens, sampling } = config;
    const reference = responseLogprobs(models.reference, sequences, {
      temperature: sampling.temperature,
      micro_batch_tokens,
    });
    const values = responseValues(models.value, sequences, micro_batch_tokens);
    const judged = rollouts.map((rollout, i) => {
      const { logprobs, reason } = rollout.sample;
      const given = scores[i] as number;
      if (!Number.isFinite(given)) throw new Error(`the reward model gave the score ${given}`);
      const score = reason === 'length' ? (config.truncated_score ?? given) : given;
      const theirs = reference[i] as number[];
      const rewards = tokenRewards(score, logprobs, theirs, config.kl.coefficient);
      const kl = logprobs.reduce((sum, logprob, t) => sum + logprob - (theirs[t] as number), 0);
      return { rollout, score, kl, values: values[i] as number[], ...gae(rewards, values[i] as number[], config) };
    });
    if (!config.whiten_advantages) return judged;
    const whitened = whiten(judged.map(({ advantages }) => advantages));
    return judged.map((one, i) => ({ ...one, advantages: whitened[i] as Float64Array }));
  }

  /** Adds to the counters; returns the tokens sampled. */
  #count(rollouts: readonly ScoredRollout[]): number {
    const { config, models } = this;
    const made = rolloutTokens(rollouts, config.samples_per_question);
    const all = rollouts.reduce((sum, { prompt, sample }) => sum + prompt.length + sample.tokens.length, 0);
    const context = all / rollouts.length / 2;
    const policy = countFlops(models.policy.config);
    const value = countFlops(models.value.trunk.config, 1);
    const trained = all * config.inner_epochs;
    this.#tokens += made.new;
    this.#samples += rollouts.length;
    this.#flops +=
      (made.prompt + made.new) * policy.forward(context) +
      all * (countFlops(models.reference.config).forward(context) + value.forward(context)) +
      trained * (policy.training(context) + value.training(context)) +
      // The reward model's shape is not known here; it is usually the value function's.
      all * value.forward(context);
    return made.new;
  }
}

function experienceMetrics(experience: readonly Experience[], config: PpoConfig): Record<string, number> {
  const tokens = experience.reduce((sum, { returns }) => sum + returns.length, 0);
  const kl = experience.reduce((sum, one) => sum + one.kl, 0);
  const explained = explainedVariance(
    experience.map(({ returns }) => returns),
    experience.map(({ values }) => values),
  );
  const metrics: Record<string, number> = {
    reward: mean(experience.map((one) => rewardOf(one, config))),
    score: mean(experience.map(({ score }) => score)),
    kl: kl / tokens,
    'kl/sequence': kl / experience.length,
  };
  if (Number.isFinite(explained)) metrics.explained_variance = explained;
  const sources = [...new Set(experience.map(({ rollout }) => rollout.problem.source))].sort();
  if (sources.length > 1) {
    for (const source of sources) {
      const own = experience.filter(({ rollout }) => rollout.problem.source === source);
      metrics[`source/${source}/score`] = mean(own.map(({ score }) => score));
    }
  }
  return metrics;
}

/** Of the rules' metrics what is only looked at; that of `reward` in their names is none here. */
function observed(metrics: Readonly<Record<string, number>>): Record<string, number> {
  return Object.fromEntries(
    Object.entries(metrics).flatMap(([name, value]) => {
      if (name === 'reward' || /^source\/.*\/reward$/.test(name)) return [];
      return [[name.replace(/^reward\//, 'observed/'), value]];
    }),
  );
}

function sampleRow(one: Experience, config: PpoConfig): PpoSampleRow {
  const { problem, response, trace, sample } = one.rollout;
  return {
    id: problem.id,
    language: problem.language,
    mode: 'sampled',
    prompt: problem.prompt,
    ...(problem.answer === undefined ? {} : { answer: problem.answer }),
    response,
    trace,
    score: one.score,
    kl: one.kl,
    reward: rewardOf(one, config),
    advantage: mean([...one.advantages]),
    reason: sample.reason,
    length: sample.tokens.length,
  };
}

const rewardOf = ({ score, kl }: Experience, config: PpoConfig): number => score - config.kl.coefficient * kl;

const mean = (list: readonly number[]): number => list.reduce((a, b) => a + b, 0) / list.length;
