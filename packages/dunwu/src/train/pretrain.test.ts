import { keep, type Tensor } from '@dunwu/torch';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Loader } from '../data/loader.js';
import type { PackedBatch } from '../data/packing.js';
import type { CausalModel } from '../model/causal-model.js';
import { tinyConfig, tinyModel } from '../model/testing/tiny.js';
import { Random } from '../util/random.js';
import { checkGradient, pretrain } from './pretrain.js';
import { type PretrainConfig, pretrainConfig } from './pretrain-config.js';
import { TestHost } from './testing/host.js';

/** Endless documents "a b a+b" over 24 tokens: the third follows from the first two. */
function source() {
  let at = 0;
  return {
    next: () => {
      const rng = new Random(`document ${at++}`);
      const [a, b] = [rng.int(2, 12), rng.int(0, 10)];
      return { tokens: [0, a, b, a + b, 1] };
    },
    get state() {
      return at;
    },
    restore(state: unknown) {
      at = Number(state);
    },
    close() {},
  };
}

const loader = (batch: number, time: number): Loader<{ tokens: number[] }> =>
  new Loader(source(), (document) => document, { batch, time, overflow: 'fit' });

const config = (overrides: Record<string, unknown> = {}): PretrainConfig =>
  pretrainConfig.parse({
    steps: 6,
    optimizer: { kind: 'adamw', learning_rate: 0.01 },
    schedule: { kind: 'cosine', warmup_steps: 2 },
    save_every: 3,
    ...overrides,
  });

/** All weights in one list. */
const weights = (model: CausalModel): number[] => model.parameters().flatMap(({ tensor }) => tensor.detach().numbers());

const largest = (a: readonly number[], b: readonly number[]): number => {
  expect(a.length).toBe(b.length);
  return a.reduce((max, value, i) => Math.max(max, Math.abs(value - (b[i] as number))), 0);
};

let hosts: TestHost[] = [];
const newHost = (host = new TestHost()): TestHost => {
  hosts.push(host);
  return host;
};
beforeEach(() => {
  hosts = [];
});
afterEach(() => {
  for (const host of hosts) host.dispose();
});

describe('learning', () => {
  it('the loss falls from the uniform distribution’s to near what the corpus allows', async () => {
    const model = tinyModel(51, { initializer_range: 0.05 });
    const host = newHost();
    const { outcome, tokens, flops } = await pretrain(
      host,
      model,
      loader(16, 40),
      config({
        steps: 90,
        save_every: 1000,
        optimizer: { kind: 'muon', learning_rate: 0.02, adamw_learning_rate: 0.01 },
        schedule: { kind: 'trapezoid', warmup_steps: 5 },
      }),
    );
    const loss = host.series('loss');
    // Of four targets two are drawn from eleven values, the sum and the end follow: 2 ln 11 / 4 = 1.199 is the least.
    expect(loss[0]).toBeGreaterThan(Math.log(24) - 0.3);
    expect(Math.min(...loss.slice(-10))).toBeLessThan(1.6); // without the sum it is about 1.9
    expect(Math.min(...loss.slice(-10))).toBeGreaterThan(1.1);
    expect(outcome).toBe('done');
    expect([tokens, flops]).toEqual([host.series('tokens').at(-1), host.series('flops').at(-1)]);
    expect(host.saved).toEqual([90]);
    model.dispose();
  });

  it('what a step reports', async () => {
    const model = tinyModel(52);
    const host = newHost();
    await pretrain(host, model, loader(4, 24), config({ steps: 3 }));
    // Rows of 25 tokens hold five documents of 5 each: nothing is padded.
    expect(host.series('tokens')).toEqual([100, 200, 300]);
    expect(host.series('learning_rate')).toEqual([0.005, 0.01, expect.closeTo(0.001, 9)]);
    for (const row of host.rows) {
      for (const layer of [0, 1]) {
        const shares = row[`expert_load/${layer}`] as number[];
        expect(shares.length).toBe(8);
        expect(shares.reduce((a, b) => a + b, 0)).toBeCloseTo(1, 12);
      }
      expect(row.expert_imbalance).toBeGreaterThanOrEqual(1);
      expect(row.grad_norm).toBeGreaterThan(0);
      expect(row['time/flops_per_s']).toBeCloseTo(
        (row['time/tokens_per_s'] as number) * ((host.series('flops')[0] as number) / 100),
        -1,
      );
      expect(row['time/peak_share']).toBeGreaterThan(0);
    }
    model.dispose();
  });

  it('router biases move by bias_update_speed a step, and by nothing else', async () => {
    const biases = async (bias_update_speed: number): Promise<number[]> => {
      const model = tinyModel(53);
      const before = model.moeLayers.flatMap(({ router }) => router.bias.numbers());
      await pretrain(newHost(), model, loader(4, 24), config({ steps: 1, balance: { bias_update_speed } }));
      const after = model.moeLayers.flatMap(({ router }) => router.bias.numbers());
      model.dispose();
      return after.map((value, i) => Math.abs(value - (before[i] as number)));
    };
    expect(await biases(0)).toEqual(new Array(16).fill(0));
    const moved = await biases(0.01);
    expect(moved.every((value) => Math.abs(value - 0.01) < 1e-6 || value === 0)).toBe(true);
    expect(moved.filter((value) => value > 0).length).toBeGreaterThan(8);
  });

  it('a stronger sequence balance loss spreads the load', async () => {
    const imbalance = async (sequence_loss: number): Promise<number> => {
      const model = tinyModel(54, { n_group: 1 });
      const host = newHost();
      const balance = { bias_update_speed: 0, sequence_loss };
      await pretrain(host, model, loader(8, 40), config({ steps: 25, save_every: 100, balance }));
      model.dispose();
      return (
        host
          .series('expert_imbalance')
          .slice(-5)
          .reduce((a, b) => a + b) / 5
      );
    };
    expect(await imbalance(1)).toBeLessThan((await imbalance(0)) - 0.2);
  });
});

describe('the same numbers', () => {
  it('run again with the same seed: bit for bit', async () => {
    const run = async (): Promise<[object, number[]]> => {
      const model = tinyModel(55);
      const host = newHost();
      await pretrain(host, model, loader(4, 24), config());
      const all = weights(model);
      model.dispose();
      return [host.timeless(), all];
    };
    expect(await run()).toEqual(await run());
  });

  it.each([
    ['adamw', { kind: 'adamw', learning_rate: 0.01 }],
    ['muon', { kind: 'muon', learning_rate: 0.02, adamw_learning_rate: 0.01 }],
  ])('%s: stopped, saved, loaded into other weights: bit for bit', async (_, optimizer) => {
    const whole = newHost();
    const model = tinyModel(56);
    await pretrain(whole, model, loader(4, 24), config({ optimizer }));
    expect(whole.saved).toEqual([3, 6]);

    const first = newHost();
    first.stopAfter = 2;
    const stopped = tinyModel(56);
    const summary = await pretrain(first, stopped, loader(4, 24), config({ optimizer }));
    expect([summary.outcome, first.saved]).toEqual(['interrupted', [2]]);

    const second = newHost(TestHost.resuming(first, 2));
    const other = tinyModel(99);
    await pretrain(second, other, loader(4, 24), config({ optimizer }));
    expect([...first.timeless(), ...second.timeless()]).toEqual(whole.timeless());
    expect(weights(other)).toEqual(weights(model));
    for (const each of [model, stopped, other]) each.dispose();
  });

  it('accumulated gradients are those of one large batch', async () => {
    // Eight rows at once, or as four times two: the loader gives the same rows in the same order.
    const run = async (rows: number, gradient_accumulation: number): Promise<[TestHost, number[]]> => {
      const model = tinyModel(57);
      const host = newHost();
      // Plain enough steps that 1e-7 in a gradient does not become a whole Adam step.
      const optimizer = { kind: 'adamw', learning_rate: 1e-3, eps: 1e-3 };
      await pretrain(host, model, loader(rows, 26), config({ steps: 2, gradient_accumulation, optimizer }));
      const all = weights(model);
      model.dispose();
      return [host, all];
    };
    const [one, large] = await run(8, 1);
    const [four, small] = await run(2, 4);
    expect(four.series('tokens')).toEqual(one.series('tokens'));
    expect(largest(one.series('loss'), four.series('loss'))).toBeLessThan(1e-6);
    expect(largest(one.series('grad_norm'), four.series('grad_norm'))).toBeLessThan(1e-5);
    expect(one.rows.map((row) => row['expert_load/0'])).toEqual(four.rows.map((row) => row['expert_load/0']));
    expect(largest(large, small)).toBeLessThan(1e-6);
  });
});

describe('memory', () => {
  it('the [batch, time, vocabulary] logits are never held', async () => {
    // 8,192 positions × 32,768 words × 4 bytes are 1 GiB, and their gradient again as much.
    const model = tinyModel(58, { vocab_size: 16_384, num_hidden_layers: 1, initializer_range: 0.02 });
    const before = process.resourceUsage().maxRSS;
    const host = newHost();
    await pretrain(host, model, loader(128, 64), config({ steps: 1 }));
    expect(host.series('loss')[0]).toBeCloseTo(Math.log(16_384), 0);
    expect((process.resourceUsage().maxRSS - before) / 1024).toBeLessThan(350); // MiB
    model.dispose();
  });
});

describe('errors', () => {
  it('a corpus that ends', async () => {
    const model = tinyModel(59);
    const once: { batches: PackedBatch[] } = { batches: [loader(2, 24).next() as PackedBatch] };
    const { state } = loader(1, 8);
    const finite = { next: () => once.batches.pop(), state, restore: () => {} };
    await expect(pretrain(newHost(), model, finite, config())).rejects.toThrow('the corpus ended at step 2 of 6');
    model.dispose();
  });

  it('a gradient of nothing at the first step, and one that is not finite, are told', async () => {
    expect(() => checkGradient(0, 1)).toThrow('the gradient is exactly zero');
    expect(() => checkGradient(Number.NaN, 7)).toThrow('step 7: the gradient norm is NaN');
    expect(() => checkGradient(0, 2)).not.toThrow();
    const model = tinyModel(60);
    const { tensor } = model.parameters().find(({ name }) => name === 'model.norm.weight') as { tensor: Tensor };
    const poison = keep(tensor.detach());
    poison.fill_(Number.POSITIVE_INFINITY);
    const before = model.headWeight.detach().numbers();
    await expect(pretrain(newHost(), model, loader(2, 24), config())).rejects.toThrow(
      'step 1: the gradient norm is NaN',
    );
    expect(model.headWeight.detach().numbers()).toEqual(before);
    poison.dispose();
    model.dispose();
  });

  it('options that would mean nothing are refused', () => {
    const good = { steps: 1, optimizer: { kind: 'adamw', learning_rate: 1 }, schedule: { kind: 'constant' } };
    expect(pretrainConfig.safeParse(good).success).toBe(true);
    for (const wrong of [
      { momentum: 0.9 },
      { optimizer: { kind: 'adamw', learning_rate: 1, momentum: 0.9 } },
      { optimizer: { kind: 'muon', learning_rate: 1 } },
      { gradient_accumulation: 0 },
      { clip_grad: 0 },
    ]) {
      expect(pretrainConfig.safeParse({ ...good, ...wrong }).success, JSON.stringify(wrong)).toBe(false);
    }
    expect(tinyConfig().n_routed_experts).toBe(8);
  });
});
