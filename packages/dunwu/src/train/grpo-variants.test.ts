import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { CausalModel } from '../model/causal-model.js';
import { parseConfig } from '../model/config.js';
import { registerRule } from '../reward/user-rules.js';
import type { Task } from '../task/problem.js';
import type { Tokenizer } from '../text/tokenizer.js';
import { type GrpoSampleRow, grpo } from './grpo.js';
import { type GrpoConfig, grpoConfig } from './grpo-config.js';
import type { ModelReward, ResponseScorer } from './model-rewards.js';
import { TestHost } from './testing/host.js';
import { pickBase, pickTask } from './testing/pick.js';

let tokenizer: Tokenizer;
let base: CausalModel;
beforeAll(async () => {
  ({ tokenizer, base } = await pickBase());
  // Every digit is a step; a 3 is a good one.
  registerRule('threes', (_problem, response) => {
    const steps = [...response.matchAll(/\d/g)].map(({ 0: digit, index }) => ({
      span: [index, index + 1] as const,
      points: digit === '3' ? 1 : 0,
    }));
    const points = steps.reduce((sum, step) => sum + step.points, 0) / Math.max(1, steps.length);
    return { points, steps };
  });
});

const config = (overrides: Record<string, unknown> = {}): GrpoConfig =>
  grpoConfig.parse({
    steps: 2,
    questions_per_step: 6,
    group_size: 4,
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

interface Options {
  readonly host?: TestHost;
  readonly on?: Task;
  readonly models?: readonly ModelReward[];
}

async function train(
  overrides: Record<string, unknown>,
  { host = new TestHost(), on = pickTask('3'), models = [] }: Options = {},
): Promise<{ host: TestHost; weights: number[] }> {
  hosts.push(host);
  const policy = new CausalModel(parseConfig(base.config));
  policy.copyFrom(base);
  try {
    await grpo(host, policy, tokenizer, on, config(overrides), models);
    return { host, weights: policy.parameters().flatMap(({ tensor }) => tensor.detach().numbers()) };
  } finally {
    policy.dispose();
  }
}

/** Stopped after one step and gone on with, a run has the metrics, samples and weights of an unbroken one. */
async function expectResumable(overrides: Record<string, unknown>, options: Options = {}, at = 1): Promise<void> {
  const whole = await train(overrides, options);
  const first = new TestHost();
  first.stopAfter = at;
  await train(overrides, { ...options, host: first });
  const second = await train(overrides, { ...options, host: TestHost.resuming(first, at) });
  expect([...first.timeless(), ...second.host.timeless()]).toEqual(whole.host.timeless());
  expect([...first.sampled, ...second.host.sampled]).toEqual(whole.host.sampled);
  expect(second.weights).toEqual(whole.weights);
}

const mean = (list: readonly number[]): number => list.reduce((a, b) => a + b, 0) / list.length;
const groupsOf = (rows: readonly GrpoSampleRow[], size: number): GrpoSampleRow[][] =>
  Array.from({ length: rows.length / size }, (_, i) => rows.slice(i * size, (i + 1) * size));

describe('process supervision', () => {
  const process = {
    rewards: { rules: { threes: 0.5 } },
    advantage: { kind: 'process', scale: 'std', epsilon: 0, outcome: { join: 'none' } },
  };

  it('step rewards are normalised over the group’s steps; the row has them, and the mean over its tokens', async () => {
    const { host } = await train({ ...process, steps: 1 });
    const rows = host.sampled[0] ?? [];
    expect(rows.some(({ trace }) => (trace.steps?.length ?? 0) > 1)).toBe(true);
    for (const group of groupsOf(rows, 4)) {
      const rewards = group.flatMap(({ trace }) => (trace.steps ?? []).map(({ points }) => 0.5 * points));
      const spread = Math.sqrt(mean(rewards.map((r) => (r - mean(rewards)) ** 2)));
      for (const { trace, step_advantages = [], response, advantage, length } of group) {
        const expected = (trace.steps ?? []).map(({ points }) =>
          spread === 0 ? 0 : (0.5 * points - mean(rewards)) / spread,
        );
        expect(step_advantages).toEqual(expected.map((value) => expect.closeTo(value, 9)));
        if (!/^\d+$/.test(response)) continue;
        // Digits are single tokens: token t is told of the steps from t on. EOS, if there is one, of none.
        const perToken = [...response].map((_, t) => expected.slice(t).reduce((a, b) => a + b, 0));
        expect(advantage).toBeCloseTo(perToken.reduce((a, b) => a + b, 0) / length, 9);
      }
    }
  });

  it('learns from points for steps alone: nearly every digit becomes a 3', async () => {
    const { host } = await train({ ...process, steps: 12, mini_batches: 2 });
    const share = host.series('reward/threes');
    expect(share[0]).toBeLessThan(0.6);
    expect(mean(share.slice(-2))).toBeGreaterThan(0.85);
  });

  it('outcome and steps together, with a rule that has no steps', async () => {
    const { host } = await train({
      steps: 1,
      rewards: { rules: { threes: 1, accuracy: { weight: 1, require_tags: false } } },
      advantage: { kind: 'process', scale: 'none', outcome: { join: 'add', step_weight: 0.1 } },
    });
    for (const group of groupsOf(host.sampled[0] ?? [], 4)) {
      const right = group.map(({ response }) => (response === '3' ? 1 : 0));
      group.forEach(({ advantage, step_advantages = [], response, length }, i) => {
        if (!/^\d+$/.test(response)) return;
        const sums = step_advantages.map((_, t) => step_advantages.slice(t).reduce((a, b) => a + b, 0));
        const steps = sums.reduce((a, b) => a + b, 0) / length;
        expect(advantage).toBeCloseTo((right[i] as number) - mean(right) + 0.1 * steps, 9);
      });
    }
  });

  it('stops and resumes bit for bit', async () => {
    await expectResumable({ ...process, steps: 3, mini_batches: 2 }, {}, 2);
  });

  it.each([
    [{ advantage: { kind: 'process' } }, 'add `steps` to rewards.rules'],
    [{ advantage: { kind: 'process' }, rewards: { rules: { accuracy: 1, steps: 0 } } }, 'add `steps`'],
    [{ ...process, loss: { ratio: 'sequence', kl: { estimator: 'none' } } }, 'use ratio token'],
    [{ ...process, loss: { ratio: 'sequence-normalised', kl: { estimator: 'none' } } }, 'use ratio token'],
  ])('%j is refused', (overrides, message) => {
    const parsed = grpoConfig.safeParse({ ...config(), ...overrides });
    expect(parsed.error?.issues[0]?.path.join('.')).toBe('advantage.kind');
    expect(parsed.error?.issues[0]?.message).toContain(message);
  });
});

describe('variants learn', () => {
  it.each([
    ['Dr. GRPO', { advantage: { scale: 'none' }, loss: { ratio: 'token', aggregate: 'sequence-mean-max-tokens' } }],
    [
      'DAPO',
      { loss: { ratio: 'token', aggregate: 'token-mean', clip_high: 0.28 }, dynamic_sampling: { max_rounds: 2 } },
    ],
    ['GSPO', { loss: { ratio: 'sequence-normalised', clip_low: 0.1, clip_high: 0.1 } }],
  ])('%s', async (_, { loss, ...rest }) => {
    const { host } = await train({
      steps: 14,
      group_size: 8,
      mini_batches: 2,
      ...rest,
      loss: { ...loss, kl: { estimator: 'k3-unbiased', coefficient: 0.01 } },
    });
    const accuracy = host.series('accuracy');
    expect(accuracy[0]).toBeLessThan(0.35);
    expect(mean(accuracy.slice(-2))).toBeGreaterThan(0.7);
  });

  it('Dr. GRPO’s loss is −ΣA|o|/(S · max_tokens), by hand', async () => {
    const { host } = await train({
      steps: 1,
      advantage: { scale: 'none' },
      loss: { ratio: 'token', aggregate: 'sequence-mean-max-tokens', kl: { estimator: 'none' } },
      optimizer: { kind: 'adamw', learning_rate: 1e-12, weight_decay: 0 },
    });
    const rows = host.sampled[0] ?? [];
    const expected = -rows.reduce((sum, { length, advantage }) => sum + length * advantage, 0) / (24 * 5);
    expect(Math.abs(expected)).toBeGreaterThan(1e-3);
    expect(host.series('loss/policy')[0]).toBeCloseTo(expected, 6);
  });
});

describe('dynamic sampling', () => {
  const dynamic = (max_rounds: number): Record<string, unknown> => ({ dynamic_sampling: { max_rounds } });
  const spread = (group: readonly GrpoSampleRow[]): boolean => new Set(group.map(({ trace }) => trace.total)).size > 1;

  it('groups without spread are thrown away, and others take their places', async () => {
    const { host } = await train({ steps: 2, ...dynamic(20) });
    for (const [i, rows] of host.sampled.entries()) {
      const kept = rows.filter(({ dropped }) => dropped !== true);
      const thrown = rows.filter(({ dropped }) => dropped === true);
      expect(kept).toHaveLength(24);
      expect(groupsOf(kept, 4).every(spread)).toBe(true);
      expect(thrown.length).toBeGreaterThan(0);
      expect(groupsOf(thrown, 4).some(spread)).toBe(false);
      expect(thrown.every(({ advantage }) => advantage === 0)).toBe(true);
      // Metrics are those of the policy: of all that was sampled, not of what was kept.
      const row = host.rows[i] ?? {};
      expect(row.accuracy).toBeCloseTo(mean(rows.map(({ response }) => (response === '3' ? 1 : 0))), 9);
      expect(row.zero_spread).toBeCloseTo(thrown.length / rows.length, 9);
      expect([row['dynamic_sampling/dropped'], row['dynamic_sampling/unfilled']]).toEqual([thrown.length / 4, 0]);
    }
    const sizes = host.sampled.map(({ length }) => length);
    expect(host.series('samples')).toEqual([sizes[0], (sizes[0] ?? 0) + (sizes[1] ?? 0)]);
  });

  it('the first round is the one that is sampled without it', async () => {
    const plain = await train({ steps: 1 });
    const { host } = await train({ steps: 1, ...dynamic(1) });
    const first = (plain.host.sampled[0] ?? []).map(({ id, response }) => `${id} ${response}`);
    const all = (host.sampled[0] ?? []).map(({ id, response }) => `${id} ${response}`);
    expect([...all].sort()).toEqual(expect.arrayContaining([...first].sort()));
    expect(all.length).toBeGreaterThan(first.length);
  });

  it('is bounded: what never has spread stays, and nothing breaks', async () => {
    const { host } = await train({ steps: 1, ...dynamic(3) }, { on: pickTask('7777') });
    expect(host.sampled[0]).toHaveLength(24 * 4);
    expect(host.rows[0]).toMatchObject({
      'dynamic_sampling/dropped': 18,
      'dynamic_sampling/unfilled': 6,
      zero_spread: 1,
      samples: 96,
      grad_norm: 0,
    });
  });

  it('stops and resumes bit for bit', async () => {
    await expectResumable({ ...dynamic(2), steps: 3, mini_batches: 2 }, {}, 2);
  });
});

describe('reward models', () => {
  /** Likes short responses; remembers what it was asked. */
  function scorer(asked: string[] = []): ResponseScorer {
    return {
      reads: 'whole',
      score: (items) => {
        asked.push(...items.map(({ prompt }) => prompt));
        return items.map(({ response }) => 2 - response.length);
      },
    };
  }
  const model = (overrides: Partial<ModelReward> = {}): ModelReward => ({
    name: 'helpful',
    scorer: scorer(),
    weight: 0.5,
    sources: ['general'],
    from: 0,
    ...overrides,
  });
  const on = (): Task => pickTask('3', ['sums', 'general']);

  it('are parts of the trace: the total stays the exact sum', async () => {
    const { host } = await train({ steps: 1 }, { on: on(), models: [model()] });
    const rows = host.sampled[0] ?? [];
    const judged = rows.filter(({ trace }) => trace.parts.some(({ name }) => name === 'helpful'));
    expect(judged.length).toBeGreaterThan(0);
    expect(judged.length).toBeLessThan(rows.length);
    for (const { trace, response } of judged) {
      const part = trace.parts.at(-1);
      const score = 2 - response.length;
      expect(part?.points).toBeCloseTo(1 / (1 + Math.exp(-score)), 12);
      expect(part).toMatchObject({ name: 'helpful', weight: 0.5, max: 1, status: score >= 0 ? 'ok' : 'wrong' });
    }
    for (const { trace } of rows) {
      expect(trace.total).toBe(trace.parts.reduce((sum, { weight, points }) => sum + weight * points, 0));
    }
    expect(host.series('reward/helpful')[0]).toBeCloseTo(
      mean(judged.map(({ trace }) => trace.parts.at(-1)?.points ?? 0)),
      9,
    );
  });

  it('metrics per source; accuracy is that of problems with an answer', async () => {
    const sums = on();
    const unanswered: Task = {
      ...sums,
      sample: (random, split) => {
        const { answer, ...rest } = sums.sample(random, split);
        return rest.source === 'general' || answer === undefined ? rest : { ...rest, answer };
      },
    };
    const { host } = await train({ steps: 1 }, { on: unanswered, models: [model()] });
    const rows = host.sampled[0] ?? [];
    const of = (answered: boolean): GrpoSampleRow[] => rows.filter(({ answer }) => (answer !== undefined) === answered);
    const [row = {}] = host.rows;
    const reward = (list: readonly GrpoSampleRow[]): number => mean(list.map(({ trace }) => trace.total));
    expect(row['source/sums/reward']).toBeCloseTo(reward(of(true)), 9);
    expect(row['source/general/reward']).toBeCloseTo(reward(of(false)), 9);
    expect(row.accuracy).toBeCloseTo(mean(of(true).map(({ response }) => (response === '3' ? 1 : 0))), 9);
    expect(row['source/sums/accuracy']).toBe(row.accuracy);
    expect(row).not.toHaveProperty('source/general/accuracy');
    expect(row).not.toHaveProperty('reward/accuracy/bad-gold');
  });

  it('before `from` their problems are not drawn, and nobody is asked', async () => {
    const asked: string[] = [];
    const { host } = await train({ steps: 4 }, { on: on(), models: [model({ from: 0.5, scorer: scorer(asked) })] });
    const general = host.sampled.map((rows) => rows.filter(({ prompt }) => /[bdf]/.test(prompt.slice(5))).length);
    expect(general.slice(0, 2)).toEqual([0, 0]);
    expect((general[2] ?? 0) + (general[3] ?? 0)).toBeGreaterThan(0);
    expect(asked).toHaveLength(general.reduce((a, b) => a + b, 0));
    expect(host.lines.filter((line) => line.includes('until step 3: problems of general'))).toHaveLength(1);
    expect(host.rows.every(({ tokens }) => (tokens as number) > 0)).toBe(true);
  });

  it('stop and resume bit for bit, in the middle of what is held back too', async () => {
    await expectResumable({ steps: 3 }, { on: on(), models: [model({ from: 0.6 })] }, 1);
  });

  it('a source that the task does not have is an error, and so is holding all of them back', async () => {
    await expect(train({}, { on: on(), models: [model({ sources: ['genral'] })] })).rejects.toThrow(
      "helpful judges the source 'genral', but the task's problems are of general, sums",
    );
    await expect(train({}, { on: pickTask('3', ['general']), models: [model({ from: 0.5 })] })).rejects.toThrow(
      'every source of the task is held back at first',
    );
  });
});

it('validation: also sampled, where samples are asked for', async () => {
  const { host } = await train({ steps: 2, validation: { every: 2, n: 6, samples: 4 } });
  expect(host.rows[0]).not.toHaveProperty('validation/accuracy');
  const [, row = {}] = host.rows;
  expect(row['validation/sampled/accuracy']).toBeGreaterThanOrEqual(0);
  expect(row).toHaveProperty('validation/sampled/language_consistency');
  const greedy = await train({ steps: 2, validation: { every: 2, n: 6 } });
  expect(greedy.host.rows[1]).not.toHaveProperty('validation/sampled/accuracy');
  expect(greedy.host.rows[1]?.['validation/accuracy']).toBe(row['validation/accuracy']);
  expect(greedy.weights).toHaveLength(base.parameters().flatMap(({ tensor }) => tensor.numbers()).length);
});
