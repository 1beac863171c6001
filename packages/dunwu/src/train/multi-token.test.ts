import { noGrad, scope, type Tensor } from '@dunwu/torch';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Loader } from '../data/loader.js';
import { type PackedBatch, Packer, type TokenDocument } from '../data/packing.js';
import type { CausalModel } from '../model/causal-model.js';
import { gradientDifference, ids, type TinyOverrides, takeGradients, tinyModel } from '../model/testing/tiny.js';
import { combineMetrics } from '../objective/metrics.js';
import { RolloutEngine } from '../rollout/engine.js';
import { SpeculativeEngine } from '../rollout/speculative.js';
import { Random } from '../util/random.js';
import { countFlops, countPredictionFlops } from './flops.js';
import { followingTokens, multiTokenObjective } from './multi-token.js';
import { multiTokenSchema, multiTokenWeight } from './multi-token-config.js';
import { packedTensors } from './packed.js';
import type { PackedStep } from './packed-training.js';
import { pretrain } from './pretrain.js';
import { type PretrainConfig, pretrainConfig } from './pretrain-config.js';
import { sft } from './sft.js';
import { sftConfig } from './sft-config.js';
import { TestHost } from './testing/host.js';

const mtpModel = (seed: number, depth = 1, more: TinyOverrides = {}): CausalModel =>
  tinyModel(seed, { num_nextn_predict_layers: depth, ...more });

function pack(documents: readonly TokenDocument[], batch: number, time: number): PackedBatch {
  const waiting = [...documents];
  const packed = new Packer({ batch, time, overflow: 'fit' }).next(() => waiting.shift());
  if (packed === undefined) throw new Error('nothing to pack');
  expect(packed.tokenCount).toBe(documents.reduce((sum, { tokens }) => sum + tokens.length, 0));
  return packed;
}

/** A step of one micro-batch. Call inside a scope. */
function stepOf(model: CausalModel, batch: PackedBatch, targetsInBatch?: number): PackedStep {
  const rows = packedTensors(batch, 'cpu');
  const { hidden } = model.forward(rows);
  return { batch, rows, hidden, targetsInBatch: targetsInBatch ?? batch.lossMask.reduce((a, b) => a + b, 0) };
}

const lossOf = (model: CausalModel, batch: PackedBatch, lambda = 1, targets?: number): number =>
  scope(() => noGrad(() => multiTokenObjective(model, stepOf(model, batch, targets), lambda)?.loss.item() as number));

const DOCUMENTS: TokenDocument[] = [
  { tokens: [3, 9, 14, 2, 7, 11, 1] },
  { tokens: [5, 6] },
  { tokens: [8, 8, 21, 17, 4], mask: [1, 1, 0.5, 0, 1] },
  { tokens: [3, 9, 14] },
];

describe('followingTokens', () => {
  it('by hand: two documents and padding', () => {
    // Row: a a a a | b b b | padding, of nine tokens; eight places.
    const batch = pack([{ tokens: [10, 11, 12, 13] }, { tokens: [20, 21, 22], mask: [1, 1, 0.25] }], 1, 8);
    expect([...batch.tokens]).toEqual([10, 11, 12, 13, 20, 21, 22, 0, 0]);
    const one = followingTokens(batch, 1);
    expect([...one.tokens]).toEqual([11, 12, 13, 20, 21, 22, 0, 0]);
    expect([...one.targets]).toEqual([12, 13, 20, 21, 22, 0, 0, 0]);
    // Place 0 predicts 12, place 1 13; of b only place 4 has a token two places further on, with its own weight.
    expect([...one.weights]).toEqual([1, 1, 0, 0, 0.25, 0, 0, 0]);
    expect([...one.counted]).toEqual([1, 1, 0, 0, 1, 0, 0, 0]);
    const two = followingTokens(batch, 2);
    expect([...two.tokens]).toEqual([12, 13, 20, 21, 22, 0, 0, 0]);
    expect([...two.targets]).toEqual([13, 20, 21, 22, 0, 0, 0, 0]);
    expect([...two.weights]).toEqual([1, 0, 0, 0, 0, 0, 0, 0]);
  });

  it('a full row: what would lie beyond it has no target', () => {
    const batch = pack([{ tokens: [10, 11, 12, 13] }], 1, 3);
    expect([...followingTokens(batch, 1).tokens]).toEqual([11, 12, 13]);
    expect([...followingTokens(batch, 1).targets]).toEqual([12, 13, 0]);
    expect([...followingTokens(batch, 1).weights]).toEqual([1, 1, 0]);
  });

  it('a weight of 0 is no target, yet the token was asked of the module: it is load', () => {
    const batch = pack([{ tokens: [10, 11, 12, 13], mask: [1, 1, 0, 1] }], 1, 3);
    expect([...followingTokens(batch, 1).weights]).toEqual([0, 1, 0]);
    expect([...followingTokens(batch, 1).counted]).toEqual([1, 1, 0]);
  });
});

describe('the loss', () => {
  it.each([1, 2])('%i deep: eqs. 24 and 25, document by document, in plain operators', (depth) => {
    const model = mtpModel(81, depth);
    const batch = pack(DOCUMENTS, 2, 10);
    expect(batch.batch).toBe(2);
    const targets = batch.lossMask.reduce((a, b) => a + b, 0);
    // Next-token targets: 6 + 1 + (1 + 0.5 + 0 + 1) + 2.
    expect(targets).toBe(11.5);
    let sum = 0;
    noGrad(() => {
      for (const { tokens, mask } of DOCUMENTS) {
        const input = { tokens: ids([tokens]) };
        const { hidden } = model.forward(input);
        const following = Array.from({ length: depth }, (_, k) => ids([tokens.map((_, i) => tokens[i + k + 1] ?? 0)]));
        model.predictions(hidden, input, following).forEach((prediction, k) => {
          const logits = model.logits(prediction.hidden).to('float64').numbers();
          for (let i = 0; i + k + 2 < tokens.length; i++) {
            const row = logits.slice(i * 24, (i + 1) * 24);
            const total = Math.log(row.reduce((a, x) => a + Math.exp(x), 0));
            sum -= (mask?.[i + k + 2] ?? 1) * ((row[tokens[i + k + 2] as number] as number) - total);
          }
        });
      }
    });
    expect(lossOf(model, batch, 0.3)).toBeCloseTo(((0.3 / depth) * sum) / targets, 4);
    model.dispose();
  });

  it('does not depend on what stands beside a document, nor on the number of micro-batches', () => {
    const model = mtpModel(82);
    const together = pack(DOCUMENTS, 1, 20);
    const apart = DOCUMENTS.map((document) => pack([document], 1, 12));
    const sum = apart.reduce((total, batch) => {
      const loss = lossOf(model, batch, 0.3, 11.5);
      return total + (Number.isNaN(loss) ? 0 : (loss ?? 0));
    }, 0);
    expect(lossOf(model, together, 0.3)).toBeCloseTo(sum, 5);
    model.dispose();
  });

  it('is null where no document reaches a target', () => {
    const model = mtpModel(83);
    scope(() => {
      expect(multiTokenObjective(model, stepOf(model, pack([{ tokens: [5, 6] }], 1, 8)), 0.3)).toBeNull();
    });
    model.dispose();
  });

  it('metrics: nats over a depth’s own targets, and how often the likeliest token is the target', () => {
    const model = mtpModel(84, 2);
    const batch = pack([{ tokens: [3, 9, 14, 2] }], 1, 6);
    scope(() => {
      const step = stepOf(model, batch);
      const objective = multiTokenObjective(model, step, 0.3);
      const metrics = combineMetrics([objective?.metrics ?? {}]);
      expect(Object.keys(metrics)).toEqual(['loss/mtp_1', 'mtp_1/accuracy', 'loss/mtp_2', 'mtp_2/accuracy']);
      // Two targets at depth 1, one at depth 2, three next-token targets.
      const [one, two] = [metrics['loss/mtp_1'] as number, metrics['loss/mtp_2'] as number];
      expect(objective?.loss.item()).toBeCloseTo((0.15 * (2 * one + two)) / 3, 5);
      const following = [ids([[9, 14, 2, 0, 0, 0]]), ids([[14, 2, 0, 0, 0, 0]])];
      const [first] = model.predictions(step.hidden, step.rows, following);
      const likeliest = model
        .logits((first as { hidden: Tensor }).hidden)
        .argmax(-1)
        .numbers();
      const right = [likeliest[0] === 14, likeliest[1] === 2].filter(Boolean).length;
      expect(metrics['mtp_1/accuracy']).toBe(right / 2);
    });
    model.dispose();
  });
});

describe('gradients', () => {
  it('of embedding, head, trunk and module are those of finite differences', () => {
    const model = mtpModel(85, 2);
    const batch = pack(DOCUMENTS, 2, 10);
    scope(() => multiTokenObjective(model, stepOf(model, batch), 0.3)?.loss.backward());
    const gradients = takeGradients(model);
    for (const [name, at] of [
      ['model.embed_tokens.weight', 9 * 16 + 3],
      ['lm_head.weight', 14 * 16 + 5],
      ['model.norm.weight', 2],
      ['model.layers.0.self_attn.kv_b_proj.weight', 11],
      ['model.layers.3.eh_proj.weight', 40],
      ['model.layers.3.hnorm.weight', 7],
      ['model.layers.3.self_attn.o_proj.weight', 21],
      ['model.layers.4.enorm.weight', 1],
      ['model.layers.4.shared_head.norm.weight', 4],
    ] as const) {
      const weight = model.parameters().find((one) => one.name === name)?.tensor as Tensor;
      const moved = (by: number): number =>
        noGrad(() => {
          scope(() => weight.view([-1]).narrow(0, at, 1).add_(by));
          return lossOf(model, batch, 0.3);
        });
      const step = 2e-3;
      const slope = (moved(step) - moved(-2 * step)) / (2 * step);
      moved(step);
      const gradient = gradients.get(name)?.[at] as number;
      expect(Math.abs(slope - gradient), `${name}: ${slope} and ${gradient}`).toBeLessThan(
        2e-3 + 0.02 * Math.abs(slope),
      );
    }
    model.dispose();
  });

  it('packed rows: those of every document alone', () => {
    const model = mtpModel(86, 2);
    scope(() => multiTokenObjective(model, stepOf(model, pack(DOCUMENTS, 2, 10)), 0.3)?.loss.backward());
    const together = takeGradients(model);
    for (const document of DOCUMENTS) {
      scope(() => multiTokenObjective(model, stepOf(model, pack([document], 1, 7), 11.5), 0.3)?.loss.backward());
    }
    expect(gradientDifference(together, takeGradients(model))).toBeLessThan(1e-5);
    model.dispose();
  });
});

describe('λ', () => {
  it('0.3, then 0.1 after 10 T of 14.8 T tokens', () => {
    const config = multiTokenSchema.parse({});
    const weights = Array.from({ length: 148 }, (_, i) => multiTokenWeight(config, i + 1, 148));
    expect(weights.filter((weight) => weight === 0.3).length).toBe(100);
    expect(weights.slice(100)).toEqual(new Array(48).fill(0.1));
    expect(() => multiTokenSchema.parse({ loss_weight: 0 })).toThrow();
  });
});

/** Endless documents "a b a+b" over 24 tokens. */
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
const loader = (batch: number, time: number) =>
  new Loader(source(), (document: { tokens: number[] }) => document, { batch, time, overflow: 'fit' });
const config = (overrides: Record<string, unknown> = {}): PretrainConfig =>
  pretrainConfig.parse({
    steps: 6,
    optimizer: { kind: 'adamw', learning_rate: 0.01 },
    schedule: { kind: 'cosine', warmup_steps: 2 },
    save_every: 3,
    ...overrides,
  });

describe('pretraining', () => {
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

  const weights = (model: CausalModel): number[] =>
    model.parameters().flatMap(({ tensor: weight }) => weight.detach().numbers());

  it('the module learns what can be known: the sum from its two terms, one place earlier', async () => {
    const model = mtpModel(87, 1, { initializer_range: 0.05 });
    const host = newHost();
    await pretrain(
      host,
      model,
      loader(16, 40),
      config({
        steps: 140,
        save_every: 1000,
        optimizer: { kind: 'muon', learning_rate: 0.02, adamw_learning_rate: 0.01 },
        schedule: { kind: 'trapezoid', warmup_steps: 5 },
        mtp: { loss_weight: 1, final_loss_weight: 1 },
      }),
    );
    const loss = host.series('loss/mtp_1');
    // Of three targets b is drawn from ten values, a + b from a and b, and the end follows: ln 10 / 3 = 0.77 is the least.
    expect(loss[0]).toBeGreaterThan(Math.log(24) - 0.4);
    expect(Math.min(...loss.slice(-10))).toBeLessThan(1.2); // without the sum it is about 1.5
    expect(Math.min(...loss.slice(-10))).toBeGreaterThan(0.7);
    expect(Math.max(...host.series('mtp_1/accuracy').slice(-10))).toBeGreaterThan(0.5);
    expect(new Set(host.series('mtp_loss_weight'))).toEqual(new Set([1]));
    // What it learnt is good for drafting, and drafting changes no token.
    const prompts = Array.from({ length: 8 }, (_, i) => ({
      tokens: i < 4 ? [0, 2 + i] : [0, 2 + i, i],
      samples: 1,
      key: String(i),
    }));
    const sampling = { temperature: 0, top_p: 1, top_k: 0, max_tokens: 16 };
    const engine = new SpeculativeEngine(model);
    const drafted = await engine.generate(prompts, { sampling, seed: 1, stop: [1] });
    expect(drafted).toMatchObject(
      (await new RolloutEngine(model).generate(prompts, { sampling, seed: 1, stop: [1] })).map(({ tokens }) => ({
        tokens,
      })),
    );
    expect(engine.stats.accepted / engine.stats.drafted).toBeGreaterThan(0.4);
    model.dispose();
  });

  it('what a step reports; by default the weights of DeepSeek-V3', async () => {
    const model = mtpModel(88);
    const host = newHost();
    await pretrain(host, model, loader(4, 24), config());
    expect(host.series('mtp_loss_weight')).toEqual([0.3, 0.3, 0.3, 0.3, 0.1, 0.1]);
    for (const row of host.rows) {
      // Two layers of the model, then the module's.
      const shares = row['expert_load/2'] as number[];
      expect(shares.reduce((a, b) => a + b, 0)).toBeCloseTo(1, 12);
      expect(row['expert_load/3']).toBeUndefined();
    }
    const perToken = countFlops(model.config).training(12) + countPredictionFlops(model.config).training(12);
    expect(host.series('flops')[0]).toBe(100 * perToken);
    model.dispose();
  });

  it('the module’s router is balanced too; its padding and last tokens are no load', async () => {
    const model = mtpModel(89);
    const bias = (): number[] => model.predictionMoeLayers[0]?.router.bias?.numbers() ?? [];
    const before = bias();
    const host = newHost();
    await pretrain(host, model, loader(4, 24), config({ steps: 1, balance: { bias_update_speed: 0.01 } }));
    const moved = bias().map((value, e) => value - (before[e] as number));
    const shares = host.rows[0]?.['expert_load/2'] as number[];
    shares.forEach((share, e) => {
      expect(moved[e]).toBeCloseTo(0.01 * Math.sign(1 / 8 - share), 6);
    });
    // Twenty documents of five tokens: three places each, two experts a place.
    for (const share of shares) expect(share * 120).toBeCloseTo(Math.round(share * 120), 9);
    model.dispose();
  });

  it('stopped, saved, loaded into other weights: bit for bit', async () => {
    const whole = newHost();
    const model = mtpModel(90, 2);
    await pretrain(whole, model, loader(4, 24), config());
    const first = newHost();
    first.stopAfter = 2;
    const stopped = mtpModel(90, 2);
    await pretrain(first, stopped, loader(4, 24), config());
    const second = newHost(TestHost.resuming(first, 2));
    const other = mtpModel(99, 2);
    await pretrain(second, other, loader(4, 24), config());
    expect([...first.timeless(), ...second.timeless()]).toEqual(whole.timeless());
    expect(weights(other)).toEqual(weights(model));
    for (const each of [model, stopped, other]) each.dispose();
  });

  it('accumulated gradients are those of one large batch', async () => {
    const run = async (rows: number, gradient_accumulation: number): Promise<[TestHost, number[]]> => {
      const model = mtpModel(91);
      const host = newHost();
      const optimizer = { kind: 'adamw', learning_rate: 1e-3, eps: 1e-3 };
      await pretrain(host, model, loader(rows, 26), config({ steps: 2, gradient_accumulation, optimizer }));
      const all = weights(model);
      model.dispose();
      return [host, all];
    };
    const [one, large] = await run(8, 1);
    const [four, small] = await run(2, 4);
    const worst = (a: readonly number[], b: readonly number[]): number =>
      a.reduce((max, value, i) => Math.max(max, Math.abs(value - (b[i] as number))), 0);
    expect(worst(one.series('loss/mtp_1'), four.series('loss/mtp_1'))).toBeLessThan(1e-5);
    expect(one.rows.map((row) => row['expert_load/2'])).toEqual(four.rows.map((row) => row['expert_load/2']));
    expect(worst(large, small)).toBeLessThan(1e-6);
  });

  it('mtp for a model without modules is refused', async () => {
    const model = tinyModel(92);
    await expect(pretrain(newHost(), model, loader(4, 24), config({ mtp: {} }))).rejects.toThrow(
      'mtp: the model has no modules of multi-token prediction',
    );
    model.dispose();
  });

  it('fine-tuning leaves the modules as they are, weight decay too', async () => {
    const model = mtpModel(93);
    const own = (): number[] =>
      model
        .parameters()
        .filter(({ name }) => name.startsWith('model.layers.3.'))
        .flatMap(({ tensor: weight }) => weight.detach().numbers());
    const [before, head] = [own(), model.headWeight.detach().numbers()];
    const rows = Array.from({ length: 8 }, (_, i) => ({ tokens: [0, 2 + i, 3, 5 + i, 1] }));
    const given = sftConfig.parse({
      epochs: 1,
      packing: { batch: 2, time: 12 },
      optimizer: { kind: 'adamw', learning_rate: 0.01, weight_decay: 0.1 },
      schedule: { kind: 'constant' },
      balance: { bias_update_speed: 0.01 },
    });
    await sft(newHost(), model, rows, given);
    expect(own()).toEqual(before);
    expect(model.headWeight.detach().numbers()).not.toEqual(head);
    model.dispose();
  });
});

it('FLOPs by hand: a block with two of eight experts, the projection, and the head again', () => {
  const shape = mtpModel(94);
  // hidden 16, 2 heads of 6 + 4, values 5, latents 10 and 8; experts of 12, 2 + 1 used; vocabulary 24.
  const attention = 10 * (16 + 20) + 16 * 12 + 8 * 2 * 11 + 2 * 5 * 16;
  const block = attention + 3 * (3 * 16 * 12) + 8 * 16;
  const active = block + 2 * 16 * 16 + 24 * 16;
  expect(countPredictionFlops(shape.config).activeParameters).toBe(active);
  expect(countPredictionFlops(shape.config).forward(10)).toBe(2 * active + 10 * 2 * 2 * (10 + 5));
  shape.dispose();
});
