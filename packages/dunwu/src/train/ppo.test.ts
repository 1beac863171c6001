import { liveTensors, manualSeed, scope } from '@dunwu/torch';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { CausalModel } from '../model/causal-model.js';
import { parseConfig } from '../model/config.js';
import { ScalarModel } from '../model/scalar-model.js';
import { tinyModel } from '../model/testing/tiny.js';
import type { Tokenizer } from '../text/tokenizer.js';
import type { ResponseScorer } from './model-rewards.js';
import { type PpoSampleRow, ppo } from './ppo.js';
import { type PpoConfig, ppoConfig } from './ppo-config.js';
import { type MetricRow, TestHost } from './testing/host.js';
import { pickBase, pickTask } from './testing/pick.js';

let tokenizer: Tokenizer;
let base: CausalModel;

beforeAll(async () => {
  ({ tokenizer, base } = await pickBase());
});

/** Likes the answer 3, and nothing else. */
const likesThree: ResponseScorer = {
  reads: 'whole',
  score: (items) => items.map(({ response }) => (response === '3' ? 1 : -1)),
};

const config = (overrides: Record<string, unknown> = {}): PpoConfig =>
  ppoConfig.parse({
    steps: 2,
    questions_per_step: 48,
    sampling: { max_tokens: 5 },
    kl: { coefficient: 0.02 },
    value: { init: 'policy', optimizer: { kind: 'adamw', learning_rate: 0.01, weight_decay: 0 } },
    observe: { rules: { accuracy: { weight: 1, require_tags: false } } },
    optimizer: { kind: 'adamw', learning_rate: 0.003, weight_decay: 0, eps: 1e-4 },
    save_every: 1000,
    ...overrides,
  });

const hosts: TestHost[] = [];
afterEach(() => {
  for (const host of hosts.splice(0)) host.dispose();
});

const copyOf = (model: CausalModel): CausalModel => {
  const copy = new CausalModel(parseConfig(model.config));
  copy.copyFrom(model);
  return copy;
};

/** Trains a copy of the base (or of `from`) against the base. */
async function train(
  overrides: Record<string, unknown> = {},
  options: { host?: TestHost; rewardModel?: ResponseScorer; from?: CausalModel; seed?: number } = {},
) {
  const { host = new TestHost(), rewardModel = likesThree, from = base, seed = 3 } = options;
  hosts.push(host);
  const [policy, reference] = [copyOf(from), copyOf(base)];
  manualSeed(seed);
  const value = new ScalarModel(copyOf(from));
  await ppo(host, { policy, reference, value, rewardModel }, tokenizer, pickTask('3'), config(overrides));
  const weightsOf = (model: CausalModel | ScalarModel) =>
    scope(() => model.parameters().flatMap(({ tensor }) => tensor.detach().numbers()));
  const weights = { policy: weightsOf(policy), value: weightsOf(value), reference: weightsOf(reference) };
  for (const model of [policy, reference, value]) model.dispose();
  return { host, weights };
}

const mean = (list: readonly number[]): number => list.reduce((a, b) => a + b, 0) / list.length;
const rows = (host: TestHost, step: number) => host.sampled[step] as unknown as PpoSampleRow[];

describe('learning', () => {
  it('by score alone: what the reward model likes becomes frequent, and the value function knows it', async () => {
    const { host } = await train({ steps: 20, mini_batches: 2, validation: { every: 10, n: 6 } });
    const score = host.series('score');
    expect(mean(score.slice(0, 2))).toBeLessThan(-0.4);
    expect(mean(score.slice(-3))).toBeGreaterThan(0.7);
    expect(mean(host.series('accuracy').slice(-3))).toBeGreaterThan(0.85);
    expect(host.series('kl').at(-1)).toBeGreaterThan(0.05);
    expect(host.series('clip/high').some((share) => share > 0)).toBe(true);
    expect(host.series('value/clip').some((share) => share > 0)).toBe(true);
    expect(mean(host.series('explained_variance').slice(4, 10))).toBeGreaterThan(
      host.series('explained_variance')[0] as number,
    );
    expect(host.series('validation/accuracy').filter((value) => value !== undefined)).toHaveLength(2);
  });

  it('a stronger penalty keeps it nearer to the reference', async () => {
    const klAt = async (coefficient: number): Promise<number> => {
      const { host } = await train({ steps: 8, mini_batches: 2, kl: { coefficient } });
      return mean(host.series('kl').slice(-2));
    };
    expect(await klAt(3)).toBeLessThan((await klAt(0)) / 3);
  });
});

describe('the log', () => {
  it('reward = score − β·KL of every response; before the first update the policy is the reference', async () => {
    const { host } = await train({ steps: 3, mini_batches: 4, kl: { coefficient: 0.5 } });
    expect(Math.abs(host.series('kl')[0] as number)).toBeLessThan(1e-5);
    expect(host.series('logprob_difference/max').every((value) => value < 1e-4)).toBe(true);
    host.rows.forEach((row, step) => {
      const samples = rows(host, step);
      for (const { score, kl, reward } of samples) expect(reward).toBeCloseTo(score - 0.5 * kl, 10);
      expect(row.score).toBeCloseTo(mean(samples.map(({ score }) => score)), 10);
      expect(row.reward).toBeCloseTo(mean(samples.map(({ reward }) => reward)), 10);
      expect(row['kl/sequence']).toBeCloseTo(mean(samples.map(({ kl }) => kl)), 10);
      const tokens = samples.reduce((sum, { length }) => sum + length, 0);
      expect(row.kl).toBeCloseTo(samples.reduce((sum, { kl }) => sum + kl, 0) / tokens, 10);
    });
    // The last step's policy has moved.
    expect(Math.abs(host.series('kl')[2] as number)).toBeGreaterThan(1e-4);
  });

  it('what the rules see is logged under observed, and nothing is learnt from it', async () => {
    const one = await train({ steps: 2 });
    const other = await train({ steps: 2, observe: { rules: { format: 3, length: { max: 4 } } } });
    expect(other.weights).toEqual(one.weights);
    expect(one.host.rows[0]).toHaveProperty('observed/accuracy');
    expect(one.host.rows[0]).not.toHaveProperty('reward/accuracy');
    expect(other.host.rows[0]).toHaveProperty('observed/format');
    expect(one.host.series('reward')).toEqual(other.host.series('reward'));
  });

  it('one update per rollout: said once; nothing is clipped', async () => {
    const { host } = await train();
    expect(host.lines.filter((line) => line.includes('one update per rollout'))).toHaveLength(1);
    expect(host.series('clip/low')).toEqual([0, 0]);
    expect(host.series('ratio/max').every((ratio) => Math.abs(ratio - 1) < 1e-4)).toBe(true);
  });

  it('whitened advantages have mean 0 over the tokens; without whitening they are those of GAE', async () => {
    const tokenMean = (host: TestHost): number => {
      const samples = rows(host, 0);
      const tokens = samples.reduce((sum, { length }) => sum + length, 0);
      return samples.reduce((sum, { advantage, length }) => sum + advantage * length, 0) / tokens;
    };
    expect(tokenMean((await train({ steps: 1 })).host)).toBeCloseTo(0, 9);
    const plain = await train({ steps: 1, whiten_advantages: false, lambda: 1 });
    expect(Math.abs(tokenMean(plain.host))).toBeGreaterThan(0.05);
  });

  it('responses that were cut off get truncated_score', async () => {
    const { host } = await train({ steps: 1, sampling: { max_tokens: 2 }, truncated_score: -7 });
    const cut = rows(host, 0).filter(({ reason }) => reason === 'length');
    expect(cut.length).toBeGreaterThan(0);
    expect(cut.every(({ score }) => score === -7)).toBe(true);
    expect(rows(host, 0).some(({ score }) => score !== -7)).toBe(true);
  });
});

describe('the same numbers', () => {
  it('in micro-batches of one response', async () => {
    // Plain enough steps that 1e-7 in a gradient does not become a whole Adam step.
    const optimizer = { kind: 'adamw', learning_rate: 1e-3, eps: 1e-3 };
    const overrides = { steps: 1, questions_per_step: 12, mini_batches: 3, inner_epochs: 2, optimizer };
    const value = { init: 'policy', optimizer };
    const whole = await train({ ...overrides, value });
    const split = await train({ ...overrides, value, micro_batch_tokens: 1 });
    for (const [name, number] of Object.entries(whole.host.timeless()[0] ?? {})) {
      [number].flat().forEach((each, k) => {
        expect([split.host.rows[0]?.[name] ?? []].flat()[k], name).toBeCloseTo(each as number, 3);
      });
    }
    for (const which of ['policy', 'value'] as const) {
      whole.weights[which].forEach((each, i) => {
        expect(Math.abs(each - (split.weights[which][i] as number))).toBeLessThan(1e-4);
      });
    }
  });

  it('stopped, saved, loaded into other weights: bit for bit; the reference stays as it was', async () => {
    const overrides = { steps: 4, questions_per_step: 12, mini_batches: 2, save_every: 3 };
    const whole = await train(overrides);
    const host = new TestHost();
    host.stopAfter = 2;
    const stopped = await train(overrides, { host });
    expect(host.saved).toEqual([2]);
    const elsewhere = tinyModel(99, base.config);
    const resumed = await train(overrides, { host: TestHost.resuming(host, 2), from: elsewhere, seed: 77 });
    elsewhere.dispose();
    expect([...stopped.host.timeless(), ...resumed.host.timeless()]).toEqual(whole.host.timeless());
    expect([...stopped.host.sampled, ...resumed.host.sampled]).toEqual(whole.host.sampled);
    expect(resumed.weights).toEqual(whole.weights);
    expect(whole.weights.reference).toEqual(
      scope(() => base.parameters().flatMap(({ tensor }) => tensor.detach().numbers())),
    );
  });
});

it('a step leaves no tensor behind', async () => {
  const live: number[] = [];
  class Counting extends TestHost {
    override metrics(step: number, values: MetricRow): void {
      live.push(liveTensors());
      super.metrics(step, values);
    }
  }
  await train({ steps: 5, questions_per_step: 6, mini_batches: 2 }, { host: new Counting() });
  // The collector may take away what was left before; nothing may be added.
  for (let step = 1; step < 5; step++) expect(live[step]).toBeLessThanOrEqual(live[step - 1] as number);
});

describe('errors', () => {
  it('a score that is no number, and a value function of another vocabulary', async () => {
    const broken: ResponseScorer = { reads: 'whole', score: (items) => items.map(() => Number.NaN) };
    await expect(train({}, { rewardModel: broken })).rejects.toThrow('the reward model gave the score NaN');
    const host = new TestHost();
    hosts.push(host);
    const value = new ScalarModel(tinyModel(1));
    const [policy, reference] = [copyOf(base), copyOf(base)];
    const models = { policy, reference, value, rewardModel: likesThree };
    await expect(ppo(host, models, tokenizer, pickTask('3'), config())).rejects.toThrow(
      /the value function has a vocabulary of 24 .* it cannot look at the policy's tokens/,
    );
    for (const model of [policy, reference, value]) model.dispose();
  });

  it.each([
    [{ mini_batches: 49 }, 'mini_batches', 'cannot exceed the 48 responses'],
    [{ sampling: { max_tokens: 4, temperature: 0 } }, 'sampling.temperature', 'must be above 0'],
    [{ value: { clip: 0 } }, 'value.clip', ''],
    [{ kl: { coefficient: 0.1, estimator: 'k3' } }, 'kl', ''],
    [{ lambda: 1.5 }, 'lambda', ''],
  ])('%o is refused at its key', (over, key, message) => {
    const issues = ppoConfig.safeParse({ ...config(), ...over }).error?.issues ?? [];
    expect(issues.map(({ path }) => path.join('.'))).toEqual([key]);
    expect(issues[0]?.message).toContain(message);
  });
});
