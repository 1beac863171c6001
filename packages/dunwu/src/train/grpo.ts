import { CausalModel } from '../model/causal-model.js';
import { loadModel, saveModel } from '../model/checkpoint.js';
import { addAdapters, type ReferenceModel, withAdaptersOff } from '../model/lora.js';
import { groupAdvantages } from '../objective/advantage.js';
import { processAdvantages } from '../objective/process-advantage.js';
import { RewardProgram } from '../reward/program.js';
import type { Trace } from '../reward/trace.js';
import { RolloutEngine, type Sample } from '../rollout/engine.js';
import type { Problem, Task } from '../task/problem.js';
import type { Tokenizer } from '../text/tokenizer.js';
import { Random, type RandomState } from '../util/random.js';
import { countFlops, modelFlops } from './flops.js';
import type { GrpoConfig } from './grpo-config.js';
import { type LoopHost, trainingLoop } from './loop.js';
import { addModelRewards, countingIn, heldBack, type ModelReward } from './model-rewards.js';
import { Optimizer } from './optimizer.js';
import { addOverlong } from './overlong.js';
import { policyOutput, updatePolicy } from './policy-update.js';
import { inGroups, rollOut, rolloutMetrics, rolloutTokens, type ScoredRollout, scoreRollouts } from './rollouts.js';
import { scheduleFactor } from './schedule.js';
import { loadTrainingState, saveTrainingState } from './state.js';
import { steppedOutput } from './stepped-output.js';
import { validationMetrics } from './validation.js';

/** One line for samples/<stage>.jsonl. */
export interface GrpoSampleRow {
  readonly id: string;
  readonly language: string;
  readonly mode: 'sampled';
  readonly prompt: string;
  readonly answer?: string;
  readonly response: string;
  readonly trace: Trace;
  /** A_i; with process supervision the mean over the response's tokens. */
  readonly advantage: number;
  /** With process supervision: the normalised reward of each of the trace's steps. */
  readonly step_advantages?: readonly number[];
  /** Its group had no spread and was thrown away (dynamic sampling). */
  readonly dropped?: true;
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

/** All outputs to one question, with what each of their tokens is told. */
interface Group {
  readonly rollouts: readonly ScoredRollout[];
  /** For each output its advantage, or that of each of its tokens. */
  readonly advantages: ArrayLike<number> | readonly Float64Array[];
  readonly stepAdvantages: readonly Float64Array[] | null;
  /** Every advantage is 0. */
  readonly zeroSpread: boolean;
}

/**
 * Group relative policy optimisation: sample G outputs a question, score them by rules, compare each with its group,
 * and move the policy. The next rollout uses the same weights, in place. With `lora` adapters are trained, and stay on the
 * policy; π_ref is the policy without them.
 *
 * @param models reward models that judge problems of some sources beside the rules
 */
export async function grpo(
  host: GrpoHost,
  policy: CausalModel,
  tokenizer: Tokenizer,
  task: Task,
  config: GrpoConfig,
  models: readonly ModelReward[] = [],
): Promise<GrpoSummary> {
  const trainer = new GrpoTrainer(host, policy, tokenizer, task, config, models);
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
  readonly #reference: ReferenceModel | null;
  /** Where the reference is a model of its own, and not the policy without its adapters. */
  readonly #copy: CausalModel | null;
  #random: Random;
  #tokens = 0;
  #samples = 0;
  #flops = 0;

  constructor(
    private readonly host: GrpoHost,
    private readonly policy: CausalModel,
    private readonly tokenizer: Tokenizer,
    private readonly task: Task,
    private readonly config: GrpoConfig,
    private readonly models: readonly ModelReward[],
  ) {
    this.#engine = new RolloutEngine(policy);
    this.#rewards = new RewardProgram(config.rewards);
    if (config.lora !== undefined) addAdapters(policy, config.lora);
    this.#optimizer = new Optimizer(policy.trained(), config.optimizer);
    this.#random = new Random(`${host.seed}/questions`);
    const needed = config.loss.kl.estimator !== 'none';
    this.#copy = needed && policy.lora === null ? new CausalModel(policy.config, policy.device) : null;
    this.#copy?.setTrainable(false);
    this.#copy?.copyFrom(policy);
    this.#reference = needed ? (this.#copy ?? withAdaptersOff(policy)) : null;
  }

  dispose(): void {
    this.#optimizer.dispose();
    this.#copy?.dispose();
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
    this.#checkSources();
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
          samples: this.#samples,
          flops: this.#flops,
        });
        if (this.#copy !== null) await saveModel(this.#copy, `${dir}/reference`);
      },
      load: (dir) => {
        // First the reference: making a model draws from the generator whose state is put back after it.
        if (this.#copy !== null) {
          const saved = loadModel(`${dir}/reference`);
          this.#copy.copyFrom(saved);
          saved.dispose();
        }
        const state = loadTrainingState(dir, this.policy, this.#optimizer) as {
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

  /** A source that the task does not have would be judged by nobody, and nobody would notice. */
  #checkSources(): void {
    const wanted = new Set(this.models.flatMap(({ sources }) => sources));
    if (wanted.size === 0) return;
    const random = new Random(`${this.host.seed}/sources`);
    const found = new Set(Array.from({ length: 1000 }, () => this.task.sample(random, 'train').source));
    for (const { name, sources } of this.models) {
      const missing = sources.find((source) => !found.has(source));
      if (missing !== undefined) {
        throw new Error(
          `reward_models: ${name} judges the source '${missing}', but the task's problems are of ${[...found].sort().join(', ')}`,
        );
      }
    }
    const held = heldBack(this.models, 1, this.config.steps);
    if (held.size === 0) return;
    if ([...found].every((source) => held.has(source))) {
      throw new Error(
        'reward_models: every source of the task is held back at first, so there is nothing to draw; lower a `from`',
      );
    }
    for (const source of held) {
      const first = Math.min(...this.models.filter(({ sources }) => sources.includes(source)).map(({ from }) => from));
      this.host.log(`held back until step ${Math.floor(first * this.config.steps) + 1}: problems of ${source}`);
    }
  }

  /** Questions for step n, without those of sources that are held back: others are drawn in their places. */
  #draw(n: number, count: number): Problem[] {
    const held = heldBack(this.models, n, this.config.steps);
    return Array.from({ length: count }, () => {
      for (let tries = 0; tries < 100_000; tries++) {
        const problem = this.task.sample(this.#random, 'train');
        if (!held.has(problem.source)) return problem;
      }
      throw new Error(`no problem outside the sources that are held back (${[...held].join(', ')}) in 100,000 draws`);
    });
  }

  /** Samples and judges one group for each of `count` new questions. */
  async #groups(n: number, round: number, count: number): Promise<{ groups: Group[]; seconds: number }> {
    const { config } = this;
    const started = performance.now();
    const sampled = await rollOut(this.#engine, this.tokenizer, this.#draw(n, count), {
      samples: config.group_size,
      sampling: config.sampling,
      seed: this.host.seed,
      key: (i) => (round === 0 ? `${n}/${i}` : `${n}.${round}/${i}`),
    });
    const seconds = (performance.now() - started) / 1000;
    const { overlong, sampling } = config;
    const ruled = scoreRollouts(sampled, this.#rewards);
    const timely = overlong === undefined ? ruled : addOverlong(ruled, overlong, sampling.max_tokens);
    const rollouts = addModelRewards(timely, countingIn(this.models, n, config.steps));
    return { groups: inGroups(rollouts, config.group_size).map((group) => this.#compare(group)), seconds };
  }

  #compare(rollouts: readonly ScoredRollout[]): Group {
    const config = this.config.advantage;
    if (config.kind === 'outcome') {
      const { advantages, zeroSpread } = groupAdvantages([rollouts.map(({ trace }) => trace.total)], config);
      return {
        rollouts,
        advantages: advantages[0] as Float64Array,
        stepAdvantages: null,
        zeroSpread: zeroSpread > 0,
      };
    }
    const outputs = rollouts.map((rollout) => steppedOutput(rollout, this.tokenizer));
    const { advantages, stepAdvantages, zeroSpread } = processAdvantages([outputs], config);
    return {
      rollouts,
      advantages: advantages[0] as readonly Float64Array[],
      stepAdvantages: stepAdvantages[0] as readonly Float64Array[],
      zeroSpread: zeroSpread > 0,
    };
  }

  /** The groups that the policy is to learn from, and with dynamic sampling those that were thrown away. */
  async #sample(n: number): Promise<{ groups: Group[]; dropped: Group[]; seconds: number }> {
    const { questions_per_step, dynamic_sampling } = this.config;
    let { groups, seconds } = await this.#groups(n, 0, questions_per_step);
    const dropped: Group[] = [];
    for (let round = 1; round <= (dynamic_sampling?.max_rounds ?? 0); round++) {
      const empty = [...groups.keys()].filter((i) => groups[i]?.zeroSpread === true);
      if (empty.length === 0) break;
      const others = await this.#groups(n, round, empty.length);
      seconds += others.seconds;
      dropped.push(...empty.map((i) => groups[i] as Group));
      groups = groups.map((group, i) => (empty.includes(i) ? (others.groups[empty.indexOf(i)] as Group) : group));
    }
    return { groups, dropped, seconds };
  }

  /** Tokens that reward models read. Their shapes are not known here; they are usually the policy's. */
  #judgedTokens(rollouts: readonly ScoredRollout[], n: number): number {
    const counting = countingIn(this.models, n, this.config.steps);
    return rollouts.reduce(
      (sum, { problem, prompt, sample }) =>
        sum +
        (prompt.length + sample.tokens.length) *
          counting.filter(({ sources }) => sources.includes(problem.source)).length,
      0,
    );
  }

  async #step(n: number) {
    const { config, host, policy } = this;
    const started = performance.now();
    const { groups, dropped, seconds: rolloutSeconds } = await this.#sample(n);
    const all = [...groups, ...dropped];
    const rollouts = all.flatMap((group) => group.rollouts);
    host.samples(
      n,
      all.flatMap((group, g) => sampleRows(group, g >= groups.length)),
    );
    const scored = performance.now();

    const outputs = groups.flatMap((group) =>
      group.rollouts.map((rollout, i) => policyOutput(rollout, group.advantages[i] as number | Float64Array)),
    );
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
    if (this.#copy !== null && config.reference_every > 0 && n % config.reference_every === 0) {
      this.#copy.copyFrom(policy);
    }
    const updated = performance.now();

    const made = rolloutTokens(rollouts, config.group_size);
    const flops = modelFlops(policy);
    const context = (made.prompt / all.length + made.new / rollouts.length) / 2;
    const trained = outputs.reduce((sum, { tokens }) => sum + tokens.length, 0) * config.inner_epochs;
    this.#tokens += made.new;
    this.#samples += rollouts.length;
    this.#flops +=
      (made.prompt + made.new) * flops.forward(context) +
      trained * flops.training(context) +
      (this.#reference === null ? 0 : trained * countFlops(policy.config).forward(context)) +
      this.#judgedTokens(rollouts, n) * countFlops(policy.config, 1).forward(context);

    const metrics: Record<string, number | readonly number[]> = {
      ...rolloutMetrics(rollouts, config.group_size),
      zero_spread: all.filter(({ zeroSpread }) => zeroSpread).length / all.length,
      ...(config.dynamic_sampling === undefined
        ? {}
        : {
            'dynamic_sampling/dropped': dropped.length,
            'dynamic_sampling/unfilled': groups.filter(({ zeroSpread }) => zeroSpread).length,
          }),
      ...update,
      learning_rate: config.optimizer.learning_rate * rate,
      tokens: this.#tokens,
      samples: this.#samples,
      flops: this.#flops,
      'time/rollout_s': rolloutSeconds,
      'time/reward_s': (scored - started) / 1000 - rolloutSeconds,
      'time/update_s': (updated - scored) / 1000,
      'time/step_s': (updated - started) / 1000,
      'time/rollout_tokens_per_s': made.new / rolloutSeconds,
      'time/tokens_per_s': (made.new / (updated - started)) * 1000,
      'time/rss_bytes': process.memoryUsage.rss(),
    };
    Object.assign(metrics, await validationMetrics(this.policy, this.tokenizer, this.task, config, host.seed, n));
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

function sampleRows({ rollouts, advantages, stepAdvantages }: Group, dropped: boolean): GrpoSampleRow[] {
  return rollouts.map(({ problem, response, trace, sample }, i) => {
    const advantage = advantages[i] as number | Float64Array;
    return {
      id: problem.id,
      language: problem.language,
      mode: 'sampled',
      prompt: problem.prompt,
      ...(problem.answer === undefined ? {} : { answer: problem.answer }),
      response,
      trace,
      advantage:
        typeof advantage === 'number' ? advantage : advantage.reduce((sum, value) => sum + value, 0) / advantage.length,
      ...(stepAdvantages === null ? {} : { step_advantages: Array.from(stepAdvantages[i] as Float64Array) }),
      ...(dropped ? { dropped: true as const } : {}),
      reason: sample.reason,
      length: sample.tokens.length,
    };
  });
}
