import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { manualSeed, noGrad, scope, tensor, tokenLogprobs } from '@dunwu/torch';
import { afterAll, describe, expect, it } from 'vitest';
import type { TokenDocument } from '../data/packing.js';
import type { CausalModel } from '../model/causal-model.js';
import { gradientDifference, ids, takeGradients, tinyModel } from '../model/testing/tiny.js';
import { Random } from '../util/random.js';
import { packedTensors } from './packed.js';
import { dialogueBatches, meanLoss, sft, targetObjective } from './sft.js';
import { type SftConfig, sftConfig } from './sft-config.js';
import { TestHost } from './testing/host.js';

/** Dialogues of 5 to 11 tokens over 24; what the assistant says (two turns in every third) is learnt. */
const dialogues = (count: number): TokenDocument[] =>
  Array.from({ length: count }, (_, i) => {
    const rng = new Random(`dialogue ${i}`);
    const [a, b] = [rng.int(4, 12), rng.int(4, 9)];
    const turn = [2, a, b, 3, (a + b) % 24, 1];
    const marks = [0, 0, 0, 0, 1, 1];
    return i % 3 === 0
      ? { tokens: [0, ...turn, 2, a, 3, a, 1], mask: [0, ...marks, 0, 0, 0, 1, 1] }
      : { tokens: [0, ...turn], mask: [0, ...marks] };
  });

const config = (overrides: Record<string, unknown> = {}): SftConfig =>
  sftConfig.parse({
    epochs: 2,
    packing: { batch: 2, time: 24 },
    optimizer: { kind: 'adamw', learning_rate: 0.01 },
    schedule: { kind: 'cosine', warmup_steps: 2 },
    save_every: 3,
    ...overrides,
  });

const weights = (model: CausalModel): number[] =>
  model.parameters().flatMap(({ tensor: weight }) => weight.detach().numbers());

const hosts: TestHost[] = [];
const newHost = (host = new TestHost()): TestHost => {
  hosts.push(host);
  return host;
};
afterAll(() => {
  for (const host of hosts) host.dispose();
});

describe('packed equals one by one', () => {
  it('loss and gradient of packed rows are those of the rows alone', () => {
    const model = tinyModel(61);
    const rows = dialogues(9);
    const { loader } = dialogueBatches(rows, config({ packing: { batch: 9, time: 24 }, epochs: 1 }), 1);
    const batch = loader.next();
    if (batch === undefined || loader.next() !== undefined) throw new Error('expected one batch');
    const targets = rows.reduce((sum, { mask }) => sum + (mask as number[]).reduce((a, b) => a + b, 0), 0);
    expect(targets).toBe(6 * 2 + 3 * 4);
    const packed = scope(() => {
      const on = packedTensors(batch, 'cpu');
      const { hidden } = model.forward(on);
      const { loss } = targetObjective(model, { batch, rows: on, hidden, targetsInBatch: targets });
      loss.backward();
      return loss.item();
    });
    const packedGradients = takeGradients(model);
    // No padding, no packing, no mask: each dialogue as a row of its own, its counted targets picked by hand.
    let alone = 0;
    for (const { tokens, mask } of rows) {
      alone += scope(() => {
        const { hidden } = model.forward({ tokens: ids([tokens.slice(0, -1)]) });
        const [logprobs] = tokenLogprobs(hidden, model.headWeight, ids([tokens.slice(1)]).reshape([-1]));
        const loss = logprobs
          .mul(tensor(Float32Array.from((mask as number[]).slice(1))))
          .sum()
          .neg()
          .div(targets);
        loss.backward();
        return loss.item();
      });
    }
    expect(packed).toBeCloseTo(alone, 5);
    expect(gradientDifference(takeGradients(model), packedGradients)).toBeLessThan(1e-5);
    expect(noGrad(() => meanLoss(model, [batch]))).toBeCloseTo(packed, 6);
    model.dispose();
  });
});

describe('training', () => {
  it('goes through every row once an epoch and learns the assistant’s part', async () => {
    const model = tinyModel(62);
    const host = newHost();
    const rows = dialogues(108);
    const { outcome, tokens } = await sft(
      host,
      model,
      rows,
      config({ epochs: 4, packing: { batch: 4, time: 24 }, validation: { every: 10, rows: 8 } }),
    );
    expect(outcome).toBe('done');
    const all = rows.reduce((sum, row) => sum + row.tokens.length, 0);
    // 100 of 108 rows are trained on, 4 times; which ones the seed draws decides the exact number of tokens.
    expect(tokens / 4).toBe(Math.round(tokens / 4));
    expect(tokens / 4).toBeLessThan(all);
    expect(host.series('epoch').at(-1)).toBe(4);
    const loss = host.series('loss');
    expect(loss.at(-1)).toBeLessThan(0.5 * (loss[0] as number));
    const held = host.rows.filter((row) => 'validation_loss' in row);
    expect(held.map(({ step }) => step)).toEqual(
      [...host.rows.keys()].map((i) => i + 1).filter((n) => n % 10 === 0 || n === host.rows.length),
    );
    expect(held.at(-1)?.validation_loss).toBeLessThan(held[0]?.validation_loss as number);
    model.dispose();
  });

  it.each([1, 3])('stopped and resumed with %i micro-batches: bit for bit', async (gradient_accumulation) => {
    const settings = config({ gradient_accumulation, validation: { every: 2, rows: 3 } });
    const whole = newHost();
    const model = tinyModel(63);
    await sft(whole, model, dialogues(24), settings);
    const first = newHost();
    first.stopAfter = 2;
    const stopped = tinyModel(63);
    expect((await sft(first, stopped, dialogues(24), settings)).outcome).toBe('interrupted');
    const second = newHost(TestHost.resuming(first, 2));
    const other = tinyModel(99);
    await sft(second, other, dialogues(24), settings);
    expect([...first.timeless(), ...second.timeless()]).toEqual(whole.timeless());
    expect(weights(other)).toEqual(weights(model));
    for (const each of [model, stopped, other]) each.dispose();
  });

  it('router biases stay unless asked for', async () => {
    const moved = async (overrides: Record<string, unknown>): Promise<number> => {
      const model = tinyModel(64);
      const before = model.moeLayers.flatMap(({ router }) => router.bias.numbers());
      await sft(newHost(), model, dialogues(8), config(overrides));
      const after = model.moeLayers.flatMap(({ router }) => router.bias.numbers());
      model.dispose();
      return after.filter((value, i) => value !== before[i]).length;
    };
    expect(await moved({ balance: { sequence_loss: 0.01 } })).toBe(0);
    expect(await moved({ balance: { bias_update_speed: 0.01 } })).toBeGreaterThan(4);
  });
});

describe('batches', () => {
  const count = (overrides: Record<string, unknown>, seed = 1) => {
    const data = dialogueBatches(dialogues(20), config(overrides), seed);
    const seen: number[] = [];
    for (let batch = data.loader.next(); batch !== undefined && seen.length < 9000; batch = data.loader.next()) {
      seen.push(...batch.tokens);
    }
    return { data, seen };
  };

  it('steps are counted; another epoch and another seed have another order', () => {
    const { data, seen } = count({ epochs: 3 });
    expect(data.steps).toBe(seen.length / 50);
    expect(count({ epochs: 3, gradient_accumulation: 4 }).data.steps).toBe(Math.ceil(data.steps / 4));
    expect(count({ epochs: undefined, steps: 77 }).data.steps).toBe(77);
    expect(count({ epochs: 3 }).seen).toEqual(seen);
    expect(count({ epochs: 3 }, 2).seen).not.toEqual(seen);
  });

  it('what cannot be is refused', () => {
    const rows = dialogues(3);
    expect(() => dialogueBatches(rows, config({ packing: { batch: 1, time: 8 } }), 1)).toThrow(
      'row 1 has 12 tokens, packing.time 8 has room for 9',
    );
    expect(() => dialogueBatches(rows, config({ validation: { every: 1, rows: 3 } }), 1)).toThrow('nothing is left');
    for (const [wrong, message] of [
      [{ steps: 3 }, 'exclude each other'],
      [{ epochs: undefined }, 'give epochs, or steps'],
      [{ packing: { batch: 1, time: 8, overflow: 'split' } }, 'overflow'],
    ] as const) {
      expect(() => config(wrong)).toThrow(message);
    }
  });
});

describe('with LoRA', () => {
  const lora = { rank: 2, alpha: 8, target_modules: ['o_proj', 'kv_b_proj', 'gate_proj', 'down_proj'] };
  const adapters = (model: CausalModel): number[] =>
    model.trained().flatMap(({ tensor: weight }) => weight.detach().numbers());

  it('the loss falls, the weights stay bit for bit, and stopped and resumed it is the same', async () => {
    const run = async (host: TestHost): Promise<CausalModel> => {
      newHost(host);
      const model = tinyModel(64);
      manualSeed(host.seed);
      await sft(host, model, dialogues(12), config({ lora, epochs: 4 }));
      return model;
    };
    const whole = new TestHost();
    const trained = await run(whole);
    const fresh = tinyModel(64);
    expect(weights(trained)).toEqual(weights(fresh));
    expect(trained.lora).toMatchObject(lora);
    const losses = whole.series('loss');
    expect(losses.at(-1)).toBeLessThan((losses[0] as number) * 0.9);
    expect(whole.series('grad_norm').every((norm) => norm > 0)).toBe(true);

    const stopped = new TestHost();
    stopped.stopAfter = 4;
    (await run(stopped)).dispose();
    expect(readdirSync(join(stopped.dir, '4')).sort()).toEqual([
      'adapter_config.json',
      'adapter_model.safetensors',
      'optimizer.safetensors',
      'state.json',
    ]);
    const resumed = TestHost.resuming(stopped, 4);
    const again = await run(resumed);
    expect(adapters(again)).toEqual(adapters(trained));
    expect(resumed.timeless()).toEqual(whole.timeless().slice(4));
    for (const model of [trained, fresh, again]) model.dispose();
  });

  it('what would move other weights is refused', () => {
    const problem = sftConfig.safeParse({ ...config(), lora, balance: { bias_update_speed: 0.001 } });
    expect(problem.error?.issues.map(({ path, message }) => `${path.join('.')} ${message}`)).toEqual([
      'balance.bias_update_speed must be 0 with lora: it would move weights of the model that the adapters are put on',
    ]);
    expect(sftConfig.safeParse({ ...config(), lora: { ...lora, dropout: 0.1 } }).success).toBe(false);
  });
});
