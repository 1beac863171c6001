import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { manualSeed, noGrad, scope, tensor as toTensor } from '@dunwu/torch';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { CausalModel } from '../model/causal-model.js';
import { parseConfig } from '../model/config.js';
import { addAdapters, type ReferenceModel, withAdaptersOff } from '../model/lora.js';
import { loraConfig } from '../model/lora-config.js';
import { KL_ESTIMATOR_NAMES } from '../objective/kl.js';
import type { Task } from '../task/problem.js';
import type { Tokenizer } from '../text/tokenizer.js';
import { grpo } from './grpo.js';
import { type GrpoConfig, grpoConfig } from './grpo-config.js';
import { Optimizer } from './optimizer.js';
import { updatePolicy } from './policy-update.js';
import { TestHost } from './testing/host.js';
import { pickBase, pickTask as task } from './testing/pick.js';

let tokenizer: Tokenizer;
let base: CausalModel;

beforeAll(async () => {
  ({ tokenizer, base } = await pickBase());
});

const config = (overrides: Record<string, unknown> = {}): GrpoConfig =>
  grpoConfig.parse({
    steps: 2,
    questions_per_step: 6,
    group_size: 8,
    sampling: { max_tokens: 5 },
    rewards: { rules: { accuracy: { weight: 1, require_tags: false } } },
    loss: { ratio: 'token', kl: { estimator: 'none' } },
    optimizer: { kind: 'adamw', learning_rate: 0.003, weight_decay: 0, eps: 1e-4 },
    save_every: 1000,
    ...overrides,
  });

let hosts: TestHost[] = [];
afterEach(() => {
  for (const host of hosts) host.dispose();
  hosts = [];
});

/** Trains a copy of the base. */
async function train(
  overrides: Record<string, unknown>,
  { host = new TestHost(), on = task('3') }: { host?: TestHost; on?: Task } = {},
): Promise<{ host: TestHost; weights: number[] }> {
  hosts.push(host);
  const policy = new CausalModel(parseConfig(base.config));
  policy.copyFrom(base);
  // Where adapters come from.
  manualSeed(host.seed);
  await grpo(host, policy, tokenizer, on, config(overrides));
  const weights = policy.parameters().flatMap(({ tensor }) => tensor.detach().numbers());
  policy.dispose();
  return { host, weights };
}

const mean = (list: readonly number[]): number => list.reduce((a, b) => a + b, 0) / list.length;

/** Every metric of two runs within a tolerance, relative to 1. */
function expectAlike(a: TestHost, b: TestHost, tolerance: number, except: RegExp = /^$/): void {
  const [ours, theirs] = [a.timeless(), b.timeless()];
  expect(ours.length).toBe(theirs.length);
  ours.forEach((row, i) => {
    const other = theirs[i] ?? {};
    expect(Object.keys(row)).toEqual(Object.keys(other));
    for (const [name, value] of Object.entries(row)) {
      if (except.test(name)) continue;
      [value].flat().forEach((number, k) => {
        const twin = [other[name] ?? []].flat()[k] as number;
        expect(Math.abs(number - twin), `${name} ${number} ${twin}`).toBeLessThanOrEqual(
          tolerance * Math.max(1, Math.abs(number)),
        );
      });
    }
  });
}

describe('learning', () => {
  it('by reward alone: the accuracy rises from a seventh to nearly all, with several updates a rollout', async () => {
    const { host } = await train({
      steps: 20,
      mini_batches: 2,
      loss: { ratio: 'token', kl: { estimator: 'k3', coefficient: 0.01 } },
      validation: { every: 10, n: 6 },
    });
    const accuracy = host.series('accuracy');
    expect(mean(accuracy.slice(0, 2))).toBeLessThan(0.35);
    expect(mean(accuracy.slice(-3))).toBeGreaterThan(0.85);
    expect(host.series('reward').at(-1)).toBe(accuracy.at(-1));
    expect(host.series('entropy').at(-1)).toBeLessThan(host.series('entropy')[0] as number);
    expect(host.series('validation/accuracy').map((value) => value === undefined)).toEqual(
      accuracy.map((_, i) => (i + 1) % 10 !== 0),
    );
    expect(host.series('kl').at(-1)).toBeGreaterThan(0.01);
    expect(host.series('clip/high').some((share) => share > 0)).toBe(true);
    expect(host.lines.some((line) => line.includes('one update per rollout'))).toBe(false);
  });

  it('with the sequence ratio too', async () => {
    const { host } = await train({
      steps: 12,
      mini_batches: 2,
      loss: { ratio: 'sequence', kl: { estimator: 'none' } },
    });
    expect(mean(host.series('accuracy').slice(-2))).toBeGreaterThan(0.7);
  });
});

describe('the log', () => {
  it('one update per rollout: said once; the ratio is 1, nothing is clipped; rollout and trainer agree', async () => {
    const { host } = await train({ steps: 3, optimizer: { kind: 'adamw', learning_rate: 0.02, weight_decay: 0 } });
    expect(host.lines.filter((line) => line.includes('one update per rollout'))).toHaveLength(1);
    expect(host.lines.filter((line) => line.startsWith('step 1: rollout and trainer differ by at most '))).toHaveLength(
      1,
    );
    for (const row of host.rows) {
      expect(row['logprob_difference/max']).toBeLessThan(1e-4);
      expect(row['logprob_difference/mean']).toBeLessThan(1e-5);
      expect(row['ratio/mean']).toBeCloseTo(1, 5);
      expect(row['ratio/max']).toBeCloseTo(1, 4);
      expect([row['clip/low'], row['clip/high']]).toEqual([0, 0]);
    }
  });

  it('each step: what the samples say of it', async () => {
    const { host } = await train({ steps: 1, mini_batches: 3 });
    const [row] = host.rows;
    const [samples] = host.sampled;
    if (row === undefined || samples === undefined) throw new Error('no step');
    expect(samples.length).toBe(48);
    expect(row.length).toBeCloseTo(mean(samples.map(({ length }) => length)), 9);
    expect(row.truncated).toBe(mean(samples.map(({ reason }) => (reason === 'length' ? 1 : 0))));
    expect(row.reward).toBe(mean(samples.map(({ trace }) => trace.total)));
    expect(row.accuracy).toBe(mean(samples.map(({ response }) => (response === '3' ? 1 : 0))));
    const groups = Array.from({ length: 6 }, (_, i) => samples.slice(8 * i, 8 * i + 8));
    const rewards = groups.map((group) => group.map(({ trace }) => trace.total));
    expect(row.zero_spread).toBe(mean(rewards.map((group) => (new Set(group).size === 1 ? 1 : 0))));
    expect(row.solved_questions).toBe(mean(rewards.map((group) => Math.max(...group))));
    for (const group of groups) expect(mean(group.map(({ advantage }) => advantage))).toBeCloseTo(0, 9);
    expect(new Set(groups.map((group) => new Set(group.map(({ id }) => id)).size))).toEqual(new Set([1]));
    expect(row.tokens).toBe(samples.reduce((sum, { length }) => sum + length, 0));
    expect((row['expert_load/0'] as number[]).reduce((a, b) => a + b)).toBeCloseTo(1, 9);
  });

  it('losses are means over the updates, by hand', async () => {
    // With a step too small to move anything the ratio is 1 in each of the three mini-batches of two groups, and the
    // policy's loss is −Σ |o_i| A_i / Σ |o_i| over the 16 outputs of each.
    const { host } = await train({
      steps: 1,
      mini_batches: 3,
      loss: { ratio: 'token', aggregate: 'token-mean', kl: { estimator: 'none' } },
      optimizer: { kind: 'adamw', learning_rate: 1e-12, weight_decay: 0 },
    });
    const samples = host.sampled[0] ?? [];
    const parts = [0, 16, 32].map((from) => {
      const part = samples.slice(from, from + 16);
      return (
        -part.reduce((sum, { length, advantage }) => sum + length * advantage, 0) /
        part.reduce((sum, { length }) => sum + length, 0)
      );
    });
    expect(Math.abs(mean(parts))).toBeGreaterThan(1e-3);
    expect(host.series('loss/policy')[0]).toBeCloseTo(mean(parts), 5);
  });

  it('rules per source: each part is the mean over the responses it judged', async () => {
    const rewards = {
      rules: { accuracy: { weight: 1, require_tags: false }, length: { max: 1000 } },
      sources: { plain: { length: 0 }, long: { accuracy: 0 } },
    };
    const { host } = await train({ steps: 1, rewards }, { on: task('3', ['plain', 'long']) });
    const samples = host.sampled[0] ?? [];
    const judged = samples.filter(({ trace }) => trace.parts.some(({ name }) => name === 'accuracy'));
    expect(judged.length).toBeGreaterThan(0);
    expect(judged.length).toBeLessThan(48);
    expect(host.series('reward/length')).toEqual([1]);
    expect(host.series('reward/accuracy')[0]).toBeCloseTo(
      mean(judged.map(({ response }) => (response === '3' ? 1 : 0))),
      9,
    );
    expect(host.series('accuracy')[0]).toBe(host.series('reward/accuracy')[0]);
  });

  it('no reward at all: all groups without spread, a gradient of zero, and no error', async () => {
    const { host } = await train({ steps: 1 }, { on: task('7777') });
    expect(host.rows[0]).toMatchObject({
      reward: 0,
      zero_spread: 1,
      grad_norm: 0,
      'loss/policy': expect.closeTo(0, 9),
    });
  });

  it('a gold answer that cannot be read is told apart', async () => {
    const { host } = await train({ steps: 1 }, { on: task('\\frac{1}{') });
    expect(host.rows[0]).toMatchObject({ accuracy: 0, 'reward/accuracy/bad-gold': 1 });
  });
});

describe('what changes no result', () => {
  it('micro_batch_tokens: the same metrics and weights', async () => {
    const overrides = {
      steps: 1,
      mini_batches: 2,
      loss: { ratio: 'token', aggregate: 'token-mean', kl: { estimator: 'k3', coefficient: 0.1 } },
    };
    const one = await train({ ...overrides, micro_batch_tokens: 8192 });
    const many = await train({ ...overrides, micro_batch_tokens: 30 });
    expectAlike(one.host, many.host, 1e-5, /^logprob_difference/);
    expect(Math.max(...one.weights.map((weight, i) => Math.abs(weight - (many.weights[i] as number))))).toBeLessThan(
      1e-5,
    );
  });

  it('running again, and stopping and resuming: bit for bit', async () => {
    const overrides = {
      steps: 4,
      save_every: 2,
      mini_batches: 2,
      inner_epochs: 2,
      reference_every: 3,
      loss: { ratio: 'token', kl: { estimator: 'k3', coefficient: 0.1 } },
    };
    const whole = await train(overrides);
    const again = await train(overrides);
    expect(again.host.timeless()).toEqual(whole.host.timeless());
    expect(again.weights).toEqual(whole.weights);
    expect(again.host.sampled).toEqual(whole.host.sampled);
    for (const at of [2, 3]) {
      const first = new TestHost();
      first.stopAfter = at;
      await train(overrides, { host: first });
      expect(first.saved.at(-1)).toBe(at);
      const second = await train(overrides, { host: TestHost.resuming(first, at) });
      expect([...first.timeless(), ...second.host.timeless()]).toEqual(whole.host.timeless());
      expect([...first.sampled, ...second.host.sampled]).toEqual(whole.host.sampled);
      expect(second.weights).toEqual(whole.weights);
    }
  });

  it('another seed is another run', async () => {
    const [one, two] = [await train({ steps: 1 }), await train({ steps: 1 }, { host: new TestHost(2) })];
    expect(one.host.sampled[0]?.map(({ response }) => response)).not.toEqual(
      two.host.sampled[0]?.map(({ response }) => response),
    );
  });
});

describe('the reference', () => {
  const kl = (estimator: string, coefficient = 0): Record<string, unknown> => ({
    loss: { ratio: 'token', kl: { estimator, coefficient } },
  });

  it('is the policy itself at first, and again after every refresh', async () => {
    const kept = (await train({ steps: 4, ...kl('exact') })).host.series('kl');
    const fresh = (await train({ steps: 4, ...kl('exact'), reference_every: 2 })).host.series('kl');
    expect(kept[0]).toBeCloseTo(0, 6);
    expect(Math.min(...kept.slice(1))).toBeGreaterThan(0.01);
    expect(fresh.slice(0, 2)).toEqual(kept.slice(0, 2));
    expect(fresh[2]).toBeCloseTo(0, 6); // refreshed after step 2
    expect(fresh[3]).toBeGreaterThan(1e-5);
    expect(fresh[3]).toBeLessThan(kept[3] as number);
  });

  it.each(KL_ESTIMATOR_NAMES)('estimator %s runs; all see the same divergence', async (estimator) => {
    const { host } = await train({ steps: 3, ...kl(estimator) });
    const exact = (await train({ steps: 3, ...kl('exact') })).host.series('kl');
    const values = host.series('kl');
    // A coefficient of 0 measures without pulling: the same run under every estimator.
    expect(values[0]).toBeCloseTo(0, 6);
    expect(values[2]).toBeGreaterThan(0.2 * (exact[2] as number));
    expect(values[2]).toBeLessThan(5 * (exact[2] as number));
    expect(host.series('loss/kl_penalty')).toEqual([0, 0, 0]);
  });

  it('a heavy penalty holds the policy back', async () => {
    const free = (await train({ steps: 6, mini_batches: 2, ...kl('exact', 0) })).host;
    const held = (await train({ steps: 6, mini_batches: 2, ...kl('exact', 5) })).host;
    expect(held.series('kl').at(-1)).toBeLessThan(0.3 * (free.series('kl').at(-1) as number));
    expect(held.series('loss/kl_penalty').at(-1)).toBeCloseTo(5 * mean([held.series('kl').at(-1) as number]), 1);
  });
});

describe('options that mean nothing', () => {
  it.each([
    [{ mini_batches: 7 }, 'mini_batches', 'cannot exceed questions_per_step'],
    [{ sampling: { temperature: 0, max_tokens: 5 } }, 'sampling.temperature', 'must be above 0'],
    [{ reference_every: 2 }, 'reference_every', 'would be ignored: loss.kl.estimator is none'],
    [{ group_size: 1 }, 'group_size', '2'],
  ])('%j is refused', (overrides, path, message) => {
    const parsed = grpoConfig.safeParse({ ...config(), ...overrides });
    const issue = parsed.error?.issues[0];
    expect(issue?.path.join('.')).toBe(path);
    expect(issue?.message).toContain(message);
  });
});

describe('with LoRA', () => {
  const lora = { rank: 4, alpha: 16 };
  const learning = {
    lora,
    steps: 20,
    mini_batches: 2,
    optimizer: { kind: 'adamw', learning_rate: 0.01, weight_decay: 0 },
    loss: { ratio: 'token', kl: { estimator: 'k3', coefficient: 0.01 } },
  };

  it('it learns, and the weights under the adapters stay bit for bit', async () => {
    const { host, weights } = await train(learning);
    const accuracy = host.series('accuracy');
    expect(mean(accuracy.slice(0, 2))).toBeLessThan(0.3);
    expect(mean(accuracy.slice(-3))).toBeGreaterThan(0.6);
    expect(weights).toEqual(base.parameters().flatMap(({ tensor }) => tensor.detach().numbers()));
    expect(host.series('logprob_difference/max').every((value) => value < 1e-3)).toBe(true);
    expect(host.series('kl')[0]).toBeLessThan(host.series('kl').at(-1) as number);
    expect(host.series('kl').at(-1)).toBeGreaterThan(0.01);
  });

  it('the reference is the model without adapters: the same numbers as with a copy of it', async () => {
    const policy = new CausalModel(parseConfig(base.config));
    policy.copyFrom(base);
    manualSeed(3);
    addAdapters(policy, loraConfig.parse(lora));
    scope(() =>
      noGrad(() => {
        for (const { name, tensor } of policy.trained()) if (name.includes('lora_B')) tensor.normal_(0, 0.05);
      }),
    );
    const output = {
      tokens: [5, 9, 11, 7, 13, 1],
      promptLength: 3,
      logprobs: [-1, -2, -0.5],
      advantages: [1, -1, 0.5],
    };
    for (const estimator of ['k3', 'exact'] as const) {
      const update = (reference: ReferenceModel) => {
        const values = policy.trained().map(({ tensor }) => tensor.detach().numbers());
        const optimizer = new Optimizer(policy.trained(), config(learning).optimizer);
        const {
          kl,
          'loss/total': _,
          ...metrics
        } = updatePolicy(
          { policy, optimizer, reference },
          [output, output],
          {
            ...config({ ...learning, loss: { ratio: 'token', kl: { estimator, coefficient: 0.1 } } }),
            mini_batches: 1,
            group_size: 2,
            temperature: 1,
          },
          { n: 1, rate: 1 },
        );
        optimizer.dispose();
        const after = policy.trained().map(({ tensor }) => tensor.detach().numbers());
        // Back to where it was, for the other reference.
        noGrad(() =>
          policy.trained().forEach(({ tensor }, i) => {
            tensor.copy_(toTensor(Float32Array.from(values[i] as number[])).view(tensor.shape));
          }),
        );
        return { kl, metrics, after };
      };
      const off = update(withAdaptersOff(policy));
      expect(off).toEqual(update(base));
      expect(Number(off.kl)).toBeGreaterThan(1e-4);
    }
    policy.dispose();
  });

  it('stopped and resumed: the same numbers; the checkpoint holds the adapter alone', async () => {
    const short = { ...learning, steps: 4, save_every: 2 };
    const whole = new TestHost();
    await train(short, { host: whole });
    const stopped = new TestHost();
    stopped.stopAfter = 2;
    await train(short, { host: stopped });
    expect(readdirSync(join(stopped.dir, '2')).sort()).toEqual([
      'adapter_config.json',
      'adapter_model.safetensors',
      'optimizer.safetensors',
      'state.json',
    ]);
    const resumed = TestHost.resuming(stopped, 2);
    await train(short, { host: resumed });
    expect(resumed.timeless()).toEqual(whole.timeless().slice(2));
    const [ours, theirs] = [resumed, whole].map(({ dir }) => readFileSync(join(dir, '4/adapter_model.safetensors')));
    expect(ours?.equals(theirs as Buffer)).toBe(true);
  });

  it('a reference that is to follow the policy is refused', () => {
    const problem = grpoConfig.safeParse({ ...config(learning), reference_every: 2 });
    expect(problem.error?.issues.map(({ path, message }) => `${path.join('.')} ${message}`)).toEqual([
      'reference_every must be 0 with lora: the reference is the model without its adapters',
    ]);
  });
});
