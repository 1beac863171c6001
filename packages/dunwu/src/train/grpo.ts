import { enableGrad, noGrad, scope, type Tensor, tensor, tokenKl, tokenLogprobs } from '@dunwu/torch';
import { evaluate } from '../eval/evaluate.js';
import { loadModel, saveModel } from '../model/checkpoint.js';
import { DeepseekModel } from '../model/deepseek.js';
import { groupAdvantages } from '../objective/advantage.js';
import { combineMetrics, type Metrics } from '../objective/metrics.js';
import { policyLoss } from '../objective/policy-loss.js';
import { RewardProgram } from '../reward/program.js';
import { languageConsistency } from '../reward/rules/language.js';
import { chainOfThought } from '../reward/tags.js';
import type { Trace } from '../reward/trace.js';
import { RolloutEngine, type Sample } from '../rollout/engine.js';
import type { Problem, Task } from '../task/problem.js';
import { decodeResponse, renderPrompt } from '../text/template.js';
import type { Tokenizer } from '../text/tokenizer.js';
import { Random, type RandomState } from '../util/random.js';
import { ExpertLoad } from './balance.js';
import { countFlops } from './flops.js';
import type { GrpoConfig } from './grpo-config.js';
import { type LoopHost, trainingLoop } from './loop.js';
import { Optimizer } from './optimizer.js';
import { packedTensors, packSequences } from './packed.js';
import { checkGradient } from './pretrain.js';
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

/** One output with all that its update needs. */
interface Output {
  readonly tokens: readonly number[];
  readonly promptLength: number;
  readonly logprobs: readonly number[];
  readonly advantage: number;
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
    const { config, host } = this;
    const started = performance.now();
    const problems = Array.from({ length: config.questions_per_step }, () => this.task.sample(this.#random, 'train'));
    const prompts = problems.map((problem) => renderPrompt(this.tokenizer, problem.prompt));
    // Not stopped half-way: a step that was begun is finished and saved, so nothing of it is lost or done twice.
    const samples = await this.#engine.generate(
      prompts.map((tokens, i) => ({ tokens, samples: config.group_size, key: `${n}/${i}` })),
      { sampling: config.sampling, seed: host.seed, stop: [this.tokenizer.special_id('eos')] },
    );
    const rolledOut = performance.now();

    const responses = samples.map((sample) => decodeResponse(this.tokenizer, sample.tokens));
    const traces = samples.map((sample, i) =>
      this.#rewards.score(problems[sample.prompt] as Problem, responses[i] as string),
    );
    const grouped = problems.map((_, i) =>
      traces.slice(i * config.group_size, (i + 1) * config.group_size).map(({ total }) => total),
    );
    const { advantages, zeroSpread } = groupAdvantages(grouped, config.advantage);
    const flat = advantages.flatMap((group) => Array.from(group));
    host.samples(
      n,
      samples.map((sample, i) => {
        const problem = problems[sample.prompt] as Problem;
        return {
          id: problem.id,
          language: problem.language,
          mode: 'sampled' as const,
          prompt: problem.prompt,
          ...(problem.answer === undefined ? {} : { answer: problem.answer }),
          response: responses[i] as string,
          trace: traces[i] as Trace,
          advantage: flat[i] as number,
          reason: sample.reason,
          length: sample.tokens.length,
        };
      }),
    );
    const scored = performance.now();

    const outputs: Output[] = samples.map((sample, i) => ({
      tokens: [...(prompts[sample.prompt] ?? []), ...sample.tokens],
      promptLength: prompts[sample.prompt]?.length ?? 0,
      logprobs: sample.logprobs,
      advantage: flat[i] as number,
    }));
    const update = this.#update(outputs, n);
    if (this.#reference !== null && config.reference_every > 0 && n % config.reference_every === 0) {
      this.#reference.copyFrom(this.policy);
    }
    const updated = performance.now();

    const newTokens = samples.reduce((sum, sample) => sum + sample.tokens.length, 0);
    const promptTokens = prompts.reduce((sum, prompt) => sum + prompt.length, 0);
    const flops = countFlops(this.policy.config);
    const context = (promptTokens / prompts.length + newTokens / samples.length) / 2;
    const trained = outputs.reduce((sum, { tokens }) => sum + tokens.length, 0) * config.inner_epochs;
    this.#tokens += newTokens;
    this.#flops +=
      (promptTokens + newTokens) * flops.forward(context) +
      trained * flops.training(context) +
      (this.#reference === null ? 0 : trained * flops.forward(context));

    const metrics: Record<string, number | readonly number[]> = {
      ...rewardMetrics(problems, samples, responses, traces, config.group_size),
      zero_spread: zeroSpread / problems.length,
      ...update,
      learning_rate: config.optimizer.learning_rate * scheduleFactor(config.schedule, n, config.steps),
      tokens: this.#tokens,
      flops: this.#flops,
      'time/rollout_s': (rolledOut - started) / 1000,
      'time/reward_s': (scored - rolledOut) / 1000,
      'time/update_s': (updated - scored) / 1000,
      'time/step_s': (updated - started) / 1000,
      'time/rollout_tokens_per_s': (newTokens / (rolledOut - started)) * 1000,
      'time/tokens_per_s': (newTokens / (updated - started)) * 1000,
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

  /** Goes through the rollout in mini-batches, one optimiser step each. */
  #update(outputs: readonly Output[], n: number): Record<string, number | readonly number[]> {
    // The micro-batches' metrics live until they are combined at the end.
    return scope(() => this.#updateInScope(outputs, n));
  }

  #updateInScope(outputs: readonly Output[], n: number): Record<string, number | readonly number[]> {
    const { config, policy } = this;
    const load = new ExpertLoad(policy.moeLayers.length, policy.config.n_routed_experts);
    const collected: Metrics[] = [];
    const updates = config.inner_epochs * config.mini_batches;
    let gradNorm = 0;
    let entropy = 0;
    let entropyTokens = 0;
    const mismatch = { max: 0, sum: 0, count: 0 };
    const groups = outputs.length / config.group_size;
    for (let epoch = 0; epoch < config.inner_epochs; epoch++) {
      for (let part = 0; part < config.mini_batches; part++) {
        const from = Math.floor((part * groups) / config.mini_batches) * config.group_size;
        const to = Math.floor(((part + 1) * groups) / config.mini_batches) * config.group_size;
        const batch = outputs.slice(from, to);
        const tokensInBatch = batch.reduce((sum, output) => sum + output.logprobs.length, 0);
        const first = epoch === 0 && part === 0;
        this.#optimizer.zeroGrad();
        for (const micro of this.#microBatches(batch)) {
          const metrics = scope(() => {
            const row = Math.min(MIN_ROW, policy.config.max_position_embeddings);
            const rows = packSequences(micro, Math.max(...micro.map(({ tokens }) => tokens.length), row) - 1);
            const on = packedTensors(rows);
            const places = tensor(rows.places).to('int64');
            const sequence = tensor(rows.owners).to('int64');
            const targets = on.targets.indexSelect(0, places);
            const old = tensor(Float32Array.from(micro.flatMap(({ logprobs }) => logprobs)));
            const output = policy.forward(on);
            const hidden = output.hidden.indexSelect(0, places);
            const options = { temperature: config.sampling.temperature };
            const [logprobs, entropies] = tokenLogprobs(hidden, policy.headWeight, targets, options);
            const { referenceLogprobs, exactKl } = this.#referenceTerms(on, places, targets, hidden);
            const objective = policyLoss(
              {
                logprobs,
                oldLogprobs: old,
                referenceLogprobs,
                exactKl,
                advantages: tensor(Float32Array.from(micro, ({ advantage }) => advantage)).indexSelect(0, sequence),
                sequence,
                lengths: tensor(Float32Array.from(micro, (one) => one.logprobs.length)),
                sequencesInBatch: batch.length,
                tokensInBatch,
              },
              config.loss,
            );
            objective.loss.backward();
            entropy += entropies.sum().item();
            entropyTokens += micro.reduce((sum, one) => sum + one.logprobs.length, 0);
            load.add(output.routers, on.predicts);
            if (first) {
              // Before any update: what the trainer says of the very policy that sampled.
              const difference = logprobs.detach().sub(old).abs();
              mismatch.max = Math.max(mismatch.max, difference.amax().item());
              mismatch.sum += difference.sum().item();
              mismatch.count += difference.numel;
            }
            return objective.metrics;
          });
          collected.push(metrics);
        }
        const norm = this.#optimizer.clip(config.clip_grad);
        // Zero is no fault here: groups without spread teach nothing.
        if (!Number.isFinite(norm)) checkGradient(norm, n);
        gradNorm += norm / updates;
        this.#optimizer.step(scheduleFactor(config.schedule, n, config.steps));
      }
    }
    const combined = combineMetrics(collected);
    // A loss is the sum over the micro-batches of one update; logged is its mean over the updates.
    for (const [name, value] of Object.entries(combined)) {
      if (name.startsWith('loss/')) combined[name] = value / updates;
    }
    const result: Record<string, number | readonly number[]> = {
      ...combined,
      entropy: entropy / entropyTokens,
      grad_norm: gradNorm,
      'logprob_difference/max': mismatch.max,
      'logprob_difference/mean': mismatch.sum / mismatch.count,
      expert_imbalance: load.imbalance(),
    };
    load.shares().forEach((shares, layer) => {
      result[`expert_load/${layer}`] = shares;
    });
    if (n === 1) {
      this.host.log(
        `step 1: rollout and trainer differ by at most ${(result['logprob_difference/max'] as number).toExponential(1)} nats in a token's log-probability`,
      );
    }
    return result;
  }

  /** Splits a mini-batch so that no part has more tokens than micro_batch_tokens (one output at least). */
  #microBatches(batch: readonly Output[]): Output[][] {
    const parts: Output[][] = [];
    let current: Output[] = [];
    let size = 0;
    for (const output of [...batch].sort((a, b) => a.tokens.length - b.tokens.length)) {
      if (current.length > 0 && size + output.tokens.length > this.config.micro_batch_tokens) {
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

  #referenceTerms(
    rows: Parameters<DeepseekModel['forward']>[0],
    places: Tensor,
    targets: Tensor,
    hidden: Tensor,
  ): { referenceLogprobs: Tensor | null; exactKl: Tensor | null } {
    const reference = this.#reference;
    if (reference === null) return { referenceLogprobs: null, exactKl: null };
    const options = { temperature: this.config.sampling.temperature };
    const theirs = noGrad(() => reference.forward(rows).hidden.indexSelect(0, places));
    if (this.config.loss.kl.estimator === 'exact') {
      const exactKl = enableGrad(() => tokenKl(hidden, this.policy.headWeight, theirs, reference.headWeight, options));
      return { referenceLogprobs: null, exactKl };
    }
    const referenceLogprobs = noGrad(() => tokenLogprobs(theirs, reference.headWeight, targets, options)[0]);
    return { referenceLogprobs, exactKl: null };
  }
}

/** Rows are at least so long, so that several short outputs share one. */
const MIN_ROW = 128;

function rewardMetrics(
  problems: readonly Problem[],
  samples: readonly Sample[],
  responses: readonly string[],
  traces: readonly Trace[],
  groupSize: number,
): Record<string, number> {
  const mean = (list: readonly number[]): number =>
    list.length === 0 ? 0 : list.reduce((a, b) => a + b, 0) / list.length;
  const metrics: Record<string, number> = {
    reward: mean(traces.map(({ total }) => total)),
    length: mean(samples.map(({ tokens }) => tokens.length)),
    truncated: mean(samples.map(({ reason }) => (reason === 'length' ? 1 : 0))),
  };
  // Sources may have different rules: each is averaged over the responses that it judged.
  for (const name of new Set(traces.flatMap(({ parts }) => parts.map((part) => part.name)))) {
    const parts = traces.map((trace) => trace.parts.find((part) => part.name === name));
    const judged = parts.filter((part) => part !== undefined);
    metrics[`reward/${name}`] = mean(judged.map(({ points }) => points));
    if (name === 'accuracy') {
      const right = parts.map((part) => (part?.status === 'ok' ? 1 : 0));
      metrics.accuracy = mean(judged.map(({ status }) => (status === 'ok' ? 1 : 0)));
      const groups = problems.flatMap((_, i) =>
        parts[i * groupSize] === undefined ? [] : [right.slice(i * groupSize, (i + 1) * groupSize)],
      );
      metrics.solved_questions = mean(groups.map((group) => Math.max(...group)));
    }
    for (const status of ['unparsable', 'timeout', 'bad-gold'] as const) {
      const share = mean(judged.map((part) => (part.status === status ? 1 : 0)));
      if (share > 0) metrics[`reward/${name}/${status}`] = share;
    }
  }
  metrics.language_consistency = mean(
    responses.flatMap((response, i) => {
      const problem = problems[samples[i]?.prompt ?? 0];
      if (problem === undefined) return [];
      const [start, end] = chainOfThought(response);
      const share = languageConsistency(response.slice(start, end), problem.language);
      return share === null ? [] : [share];
    }),
  );
  return metrics;
}
