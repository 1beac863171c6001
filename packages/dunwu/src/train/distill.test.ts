import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync, statSync, truncateSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { openSafetensors, scope, type Tensor, tensor, writeSafetensors } from '@dunwu/torch';
import { afterAll, describe, expect, it } from 'vitest';
import type { TokenDocument } from '../data/packing.js';
import type { CausalModel } from '../model/causal-model.js';
import { ids, type TinyOverrides, tinyModel } from '../model/testing/tiny.js';
import { distillationLoss, teacherTargets } from '../objective/distillation.js';
import { Random } from '../util/random.js';
import { distillFromRows } from './distill.js';
import { distillFromRowsConfig } from './distill-config.js';
import { liveTeacher } from './teacher.js';
import { StoredTeacher, type StorePlan, weightsFingerprint, writeTeacherStore } from './teacher-store.js';
import { TestHost } from './testing/host.js';

const V = 24;
const SMALL: TinyOverrides = { hidden_size: 12, num_hidden_layers: 2, moe_intermediate_size: 8 };

const rows: TokenDocument[] = Array.from({ length: 14 }, (_, i) => {
  const rng = new Random(`row ${i}`);
  const tokens = [0, ...Array.from({ length: rng.int(3, 9) }, () => rng.int(2, V - 1)), 1];
  return { tokens, mask: tokens.map((_, at) => (at > 2 ? 1 : 0)) };
});

const config = (loss: Record<string, unknown> = {}, overrides: Record<string, unknown> = {}) =>
  distillFromRowsConfig.parse({
    epochs: 2,
    packing: { batch: 2, time: 20 },
    optimizer: { kind: 'adamw', learning_rate: 0.01 },
    balance: { sequence_loss: 0 },
    save_every: 100,
    loss,
    ...overrides,
  });

const weights = (model: CausalModel): number[] =>
  model.parameters().flatMap(({ tensor: weight }) => weight.detach().numbers());

const hosts: TestHost[] = [];
const newHost = (host = new TestHost()): TestHost => {
  hosts.push(host);
  return host;
};
const folder = mkdtempSync(path.join(tmpdir(), 'dunwu-teacher-'));
const teacher = tinyModel(81);
teacher.setTrainable(false);
afterAll(() => {
  for (const host of hosts) host.dispose();
  rmSync(folder, { recursive: true });
  teacher.dispose();
});

const live = (top?: number, temperature = 1) => liveTeacher(teacher, { temperature, topK: top, vocabulary: V });

describe('from rows', () => {
  it('a student that is its teacher has nothing to learn', async () => {
    const student = tinyModel(81);
    const host = newHost();
    await distillFromRows(host, student, live(), rows, config({}, { epochs: 1 }), V);
    expect(Math.abs(host.series('loss')[0] as number)).toBeLessThan(1e-6);
    expect(host.series('grad_norm')[0]).toBeLessThan(1e-5);
    expect(host.series('agreement')[0]).toBe(1);
    student.dispose();
  });

  it('the first step is the mean over the learnt tokens of the rows, one by one', async () => {
    const loss = { divergence: { kind: 'reverse' }, temperature: 1.5, hard_weight: 0.25 };
    const settings = config(loss, { packing: { batch: 16, time: 20 }, epochs: 1 });
    const student = tinyModel(82, SMALL);
    const learnt = rows.reduce((sum, { mask }) => sum + (mask as number[]).reduce((a, b) => a + b, 0), 0);
    const byHand = rows.reduce(
      (sum, { tokens, mask }) =>
        sum +
        scope(() => {
          const input = { tokens: ids([tokens.slice(0, -1)]) };
          const logits = (model: CausalModel): Tensor => model.logits(model.forward(input).hidden);
          return distillationLoss(
            {
              logits: logits(student),
              teacher: teacherTargets(logits(teacher), 1.5),
              targets: ids([tokens.slice(1)]).reshape([-1]),
              weights: tensor((mask as number[]).slice(1)),
              targetsInBatch: learnt,
            },
            settings.loss,
          ).loss.item();
        }),
      0,
    );
    const host = newHost();
    await distillFromRows(host, student, live(undefined, 1.5), rows, settings, V);
    expect(host.rows).toHaveLength(1);
    expect(host.series('loss')[0]).toBeCloseTo(byHand, 5);
    student.dispose();
  });

  it('a smaller student comes nearer to its teacher; heads may have more rows than the vocabulary', async () => {
    const student = tinyModel(83, { ...SMALL, vocab_size: 30 });
    const host = newHost();
    const settings = config({ temperature: 2 }, { epochs: 12, validation: { every: 10, rows: 2 } });
    const { outcome, flops } = await distillFromRows(host, student, live(undefined, 2), rows, settings, V);
    const divergence = host.series('divergence');
    expect(outcome).toBe('done');
    expect(divergence.at(-1)).toBeLessThan(0.6 * (divergence[0] as number));
    expect(host.series('validation_loss')[9]).toBeGreaterThan(0);
    // The teacher's forward passes are counted.
    const without = newHost();
    const other = tinyModel(83, { ...SMALL, vocab_size: 30 });
    const free = { ...live(undefined, 2), flops: () => 0 };
    expect((await distillFromRows(without, other, free, rows, settings, V)).flops).toBeLessThan(flops);
    student.dispose();
    other.dispose();
  });

  it('stopped and resumed: bit for bit', async () => {
    const settings = config({ divergence: { kind: 'jsd' }, top_k: 4 });
    const whole = newHost();
    const model = tinyModel(84, SMALL);
    await distillFromRows(whole, model, live(4), rows, settings, V);
    const first = newHost();
    first.stopAfter = 2;
    const stopped = tinyModel(84, SMALL);
    await distillFromRows(first, stopped, live(4), rows, settings, V);
    const second = newHost(TestHost.resuming(first, 2));
    const other = tinyModel(99, SMALL);
    await distillFromRows(second, other, live(4), rows, settings, V);
    expect([...first.timeless(), ...second.timeless()]).toEqual(whole.timeless());
    expect(weights(other)).toEqual(weights(model));
    for (const each of [model, stopped, other]) each.dispose();
  });
});

describe('stored outputs', () => {
  const plan: StorePlan = { temperature: 2, topK: 5, vocabulary: V, time: 20, rowsPerShard: 6 };
  const store = path.join(folder, 'store');
  const shard = (n: number, dir = store) => path.join(dir, `teacher-0000${n}.safetensors`);

  it.each([5, V])('equal the live teacher, top %i', async (topK) => {
    const own = path.join(folder, `equal-${topK}`);
    await writeTeacherStore(newHost(), own, teacher, rows, { ...plan, topK });
    const stored = new StoredTeacher(own, { ...plan, topK });
    const settings = config({ temperature: 2, top_k: topK });
    const run = async (from: Parameters<typeof distillFromRows>[2]) => {
      const host = newHost();
      const student = tinyModel(85, SMALL);
      await distillFromRows(host, student, from, rows, settings, V);
      student.dispose();
      return host;
    };
    const [a, b] = [await run(stored), await run(live(topK, 2))];
    for (const name of ['loss', 'divergence', 'agreement', 'grad_norm']) {
      a.series(name).forEach((value, i) => {
        expect(value).toBeCloseTo(b.series(name)[i] as number, 4);
      });
    }
    expect(a.series('flops').at(-1)).toBeLessThan(b.series('flops').at(-1) as number);
    stored.close();
  });

  it('are written file by file; an interrupted call goes on where it was, and what fits stays', async () => {
    const host = newHost();
    // A test host is asked to stop after its step; here nothing has steps, so it stops at once.
    host.stopAfter = 0;
    expect(await writeTeacherStore(host, store, teacher, rows, plan)).toMatchObject({ outcome: 'interrupted' });
    expect([existsSync(shard(1)), existsSync(shard(2))]).toEqual([true, false]);
    const before = statSync(shard(1)).mtimeMs;
    const { outcome, flops } = await writeTeacherStore(newHost(), store, teacher, rows, plan);
    expect([outcome, statSync(shard(1)).mtimeMs]).toEqual(['done', before]);
    expect(existsSync(shard(3))).toBe(true);
    expect(flops).toBeGreaterThan(0);
    // What another call left behind goes.
    copyFileSync(shard(1), shard(9));
    await writeTeacherStore(newHost(), store, teacher, rows, plan);
    expect(existsSync(shard(9))).toBe(false);
    // Another teacher: written anew.
    const other = tinyModel(86);
    expect(weightsFingerprint(other)).not.toBe(weightsFingerprint(teacher));
    expect(weightsFingerprint(tinyModel(81))).toBe(weightsFingerprint(teacher));
    await writeTeacherStore(newHost(), path.join(folder, 'other'), other, rows, plan);
    copyFileSync(shard(1, path.join(folder, 'other')), shard(1));
    await writeTeacherStore(newHost(), store, teacher, rows, plan);
    using file = openSafetensors(shard(1));
    expect(file.metadata.teacher).toBe(weightsFingerprint(teacher));
    other.dispose();
  });

  it('are not taken at their word', () => {
    const open = (dir = store, more: Partial<StorePlan> = {}) => new StoredTeacher(dir, { ...plan, ...more }).close();
    expect(() => open()).not.toThrow();
    expect(() => open(path.join(folder, 'none'))).toThrow('no teacher outputs in there');
    expect(() => open(store, { temperature: 1 })).toThrow(
      /teacher-00001\.safetensors: not usable as teacher outputs: temperature is "2", "1" is wanted/,
    );
    expect(() => open(store, { topK: 4 })).toThrow('top_k is "5", "4" is wanted');

    /** The first file with something changed, alone in a folder with the others. */
    const changed = (change: (tensors: Record<string, Tensor>, metadata: Record<string, string>) => void): string => {
      const dir = mkdtempSync(path.join(folder, 'changed-'));
      for (const n of [2, 3]) copyFileSync(shard(n), shard(n, dir));
      scope(() => {
        using file = openSafetensors(shard(1));
        const tensors = Object.fromEntries(file.names.map((name) => [name, file.tensor(name).clone()]));
        const metadata = { ...file.metadata };
        change(tensors, metadata);
        writeSafetensors(shard(1, dir), tensors, metadata);
      });
      return dir;
    };
    const cases: [Parameters<typeof changed>[0], string][] = [
      [(tensors) => void tensors.indices?.narrow(0, 0, 1).fill_(V), `indices from 0 to ${V} in a vocabulary of ${V}`],
      [(tensors) => void tensors.indices?.narrow(0, 0, 1).fill_(-1), 'indices from -1'],
      [(tensors) => void tensors.tail?.narrow(0, 0, 1).fill_(0), 'probabilities that do not sum to 1'],
      [(tensors) => void tensors.logprobs?.narrow(0, 0, 1).fill_(Number.NaN), 'probabilities that do not sum to 1'],
      [(tensors) => delete tensors.tail, 'tail is missing'],
      [(_, metadata) => (metadata.rows = '[["x", 1]]'), 'its list of rows'],
      [(_, metadata) => (metadata.rows = '[]'), 'expected int32 [0,5]'],
      [(_, metadata) => (metadata.shards = '9'), 'shards is "9", "3" is wanted'],
    ];
    for (const [change, message] of cases) expect(() => open(changed(change))).toThrow(message);
    const cut = changed(() => {});
    truncateSync(shard(1, cut), 500);
    expect(() => open(cut)).toThrow('teacher-00001.safetensors');
    const hole = changed(() => {});
    rmSync(shard(2, hole));
    expect(() => open(hole)).toThrow('shards is "3", "2" is wanted');
    copyFileSync(shard(2), shard(4, hole));
    expect(() => open(hole)).toThrow('teacher-00003.safetensors: expected teacher-00002.safetensors in its place');
    mkdirSync(path.join(folder, 'empty'));
    expect(() => open(path.join(folder, 'empty'))).toThrow('no teacher outputs');
  });

  it('of other rows, or of another mask, are refused', async () => {
    const stored = new StoredTeacher(store, plan);
    const settings = config({ temperature: 2, top_k: 5 });
    const student = tinyModel(87, SMALL);
    const train = (data: TokenDocument[]) => distillFromRows(newHost(), student, stored, data, settings, V);
    await expect(train([{ tokens: [0, 2, 3, 1] }])).rejects.toThrow('nothing stored for a row of 4 tokens');
    const [first] = rows as [TokenDocument];
    await expect(train([{ tokens: first.tokens }])).rejects.toThrow('the mask has changed');
    stored.close();
    student.dispose();
  });
});
