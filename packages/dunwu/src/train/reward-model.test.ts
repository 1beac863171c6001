import { liveTensors, manualSeed, scope } from '@dunwu/torch';
import { afterEach, describe, expect, it } from 'vitest';
import { ScalarModel } from '../model/scalar-model.js';
import { tinyModel } from '../model/testing/tiny.js';
import { sequenceScores } from '../reward/reward-model.js';
import { Random } from '../util/random.js';
import { countFlops } from './flops.js';
import { type LabelExample, type PairExample, type RewardExamples, trainRewardModel } from './reward-model.js';
import { type RewardModelConfig, rewardModelConfig } from './reward-model-config.js';
import { splitByPrompt } from './row-training.js';
import { TestHost } from './testing/host.js';

/** The better one has the token 7 where the worse one has 8; lengths and all else vary. */
const pairs = (count: number): PairExample[] =>
  Array.from({ length: count }, (_, i) => {
    const rng = new Random(`pair ${i}`);
    const prompt = [0, rng.int(10, 20), rng.int(10, 20)];
    const tail = Array.from({ length: rng.int(0, 4) }, () => rng.int(10, 20));
    return {
      prompt: prompt.join(' '),
      chosen: [...prompt, 7, ...tail, 1],
      rejected: [...prompt, 8, ...tail, 1],
    };
  });

const labels = (count: number): LabelExample[] =>
  pairs(count).map(({ prompt, chosen, rejected }, i) => ({
    prompt,
    tokens: i % 3 === 0 ? rejected : chosen,
    safe: i % 3 !== 0,
  }));

const config = (overrides: Record<string, unknown> = {}): RewardModelConfig =>
  rewardModelConfig.parse({
    rows: 'preference',
    reads: 'whole',
    batch: 8,
    held_out: 0.2,
    optimizer: { kind: 'adamw', learning_rate: 0.01, weight_decay: 0 },
    evaluate_every: 5,
    save_every: 4,
    ...overrides,
  });

const hosts: TestHost[] = [];
const models: ScalarModel[] = [];
afterEach(() => {
  for (const host of hosts.splice(0)) host.dispose();
  for (const model of models.splice(0)) model.dispose();
});

function fresh(seed = 61): ScalarModel {
  const trunk = tinyModel(seed, { initializer_range: 0.1, num_hidden_layers: 2 });
  manualSeed(seed);
  const model = new ScalarModel(trunk);
  models.push(model);
  return model;
}

async function train(
  data: RewardExamples,
  overrides: Record<string, unknown> = {},
  { host = new TestHost(), model = fresh() }: { host?: TestHost; model?: ScalarModel } = {},
) {
  hosts.push(host);
  const summary = await trainRewardModel(host, model, data, config(overrides));
  const weights = scope(() => model.parameters().flatMap(({ tensor }) => tensor.detach().numbers()));
  return { summary, host, model, weights };
}

const PAIRS: RewardExamples = { rows: 'preference', examples: pairs(60) };
const LABELS: RewardExamples = { rows: 'safety', examples: labels(60) };

it('operations are counted for every token', async () => {
  const { summary, model } = await train(LABELS, { held_out: 0 });
  const flops = countFlops(model.trunk.config, 1);
  const lengths = LABELS.examples.map((row) => (row as LabelExample).tokens.length);
  expect(summary.tokens).toBe(lengths.reduce((sum, length) => sum + length, 0));
  expect(summary.flops).toBeCloseTo(
    lengths.reduce((sum, length) => sum + length * flops.training(length / 2), 0),
    3,
  );
});

describe('learning', () => {
  it('pairs: prompts never seen are ordered right, surely and rightly so; scores are centred', async () => {
    const { summary, host, model } = await train(PAIRS, { epochs: 6 });
    expect(host.series('loss').at(-1)).toBeLessThan((host.series('loss')[0] as number) / 4);
    expect(host.series('accuracy').at(-1)).toBe(1);
    const { heldOut, trained } = summary;
    expect(heldOut?.n).toBe(12);
    expect(trained).toBe(48);
    expect(heldOut?.accuracy).toBe(1);
    expect(heldOut?.margin).toBeGreaterThan(2);
    expect(heldOut?.loss).toBeLessThan(0.2);
    expect(heldOut?.calibration.error).toBeLessThan(0.15);
    expect(heldOut?.calibration.bins.reduce((sum, { count }) => sum + count, 0)).toBe(12);
    expect(host.rows.at(-1)).toMatchObject({ 'held_out/accuracy': 1, epoch: 6 });
    // Centring moves all scores alike.
    expect(host.series('held_out/margin').at(-1)).toBeCloseTo(heldOut?.margin as number, 4);
    const { training } = splitByPrompt(pairs(60), 0.2, new Random('1/held out'));
    const scores = sequenceScores(
      model,
      training.flatMap(({ chosen, rejected }) => [chosen, rejected]),
      1000,
    );
    expect(scores.reduce((a, b) => a + b, 0) / scores.length).toBeCloseTo(0, 4);
  });

  it('labels: the chance of being safe, its bias learnt', async () => {
    const { summary, host } = await train(LABELS, { rows: 'safety', epochs: 8 });
    expect(host.series('margin').at(-1)).toBeGreaterThan(2);
    expect(summary.heldOut?.accuracy).toBe(1);
    expect(summary.heldOut?.margin).toBeGreaterThan(2);
    expect(host.rows[0]).toMatchObject({ 'score/safe': expect.any(Number), 'score/unsafe': expect.any(Number) });
  });

  it('with wrong labels held possible it is less sure', async () => {
    const sure = await train(PAIRS, { epochs: 6 });
    const doubting = await train(PAIRS, { epochs: 6, label_smoothing: 0.3 });
    const margin = doubting.summary.heldOut?.margin as number;
    expect(margin).toBeLessThan((sure.summary.heldOut?.margin as number) / 1.5);
    expect(margin).toBeGreaterThan(0.4); // its least loss is at log(0.7/0.3) = 0.85
  });
});

it('nothing is left behind', async () => {
  const before = liveTensors();
  await train(PAIRS);
  for (const one of models.splice(0)) one.dispose();
  expect(liveTensors()).toBe(before);
});

describe('the same numbers', () => {
  it('in micro-batches of one pair as in the whole batch', async () => {
    // Plain enough steps that 1e-7 in a gradient does not become a whole Adam step.
    const optimizer = { kind: 'adamw', learning_rate: 1e-3, eps: 1e-3 };
    const whole = await train(PAIRS, { optimizer });
    const split = await train(PAIRS, { optimizer, micro_batch_tokens: 1 });
    for (const name of ['loss', 'accuracy', 'margin', 'score/chosen', 'grad_norm', 'tokens', 'held_out/loss']) {
      whole.host.series(name).forEach((value, i) => {
        if (value !== undefined) expect(split.host.series(name)[i], name).toBeCloseTo(value, 4);
      });
    }
    whole.weights.forEach((value, i) => {
      expect(Math.abs(value - (split.weights[i] as number))).toBeLessThan(1e-5);
    });
  });

  it.each([
    ['pairs', PAIRS, 'preference'],
    ['labels', LABELS, 'safety'],
  ] as const)('%s: stopped, saved, loaded into other weights: bit for bit', async (_, data, rows) => {
    const whole = await train(data, { rows, epochs: 2 });
    expect(whole.host.saved).toEqual([4, 8, 12]);
    const host = new TestHost();
    host.stopAfter = 7; // in the second epoch
    const stopped = await train(data, { rows, epochs: 2 }, { host });
    expect([stopped.summary.outcome, stopped.summary.heldOut, host.saved.at(-1)]).toEqual(['interrupted', null, 7]);
    const resumed = await train(data, { rows, epochs: 2 }, { host: TestHost.resuming(host, 7), model: fresh(99) });
    expect([...stopped.host.timeless(), ...resumed.host.timeless()]).toEqual(whole.host.timeless());
    expect(resumed.weights).toEqual(whole.weights);
    expect(resumed.summary).toEqual(whole.summary);
  });
});

it('all rows held out is an error', async () => {
  const one: RewardExamples = { rows: 'preference', examples: pairs(1) };
  await expect(train(one)).rejects.toThrow('1 rows, of which held_out keeps 1: nothing is left to train on');
});

it('label_smoothing of labels would be ignored', () => {
  const { error } = rewardModelConfig.safeParse({ ...config(), rows: 'safety', label_smoothing: 0.1 });
  expect(error?.issues[0]?.path).toEqual(['label_smoothing']);
});
