import { noGrad, scope, type Tensor, tensor } from '@dunwu/torch';
import { describe, expect, it } from 'vitest';
import {
  type DistillationConfig,
  distillationLoss,
  distillationSchema,
  divergencePerToken,
  type TeacherTargets,
  teacherTargets,
} from './distillation.js';
import { combineMetrics } from './metrics.js';

const config = (overrides: Record<string, unknown> = {}): DistillationConfig => distillationSchema.parse(overrides);
const logs = (...rows: number[][]): Tensor => tensor(rows.map((row) => row.map(Math.log)));
const ids = (values: readonly number[]): Tensor => tensor(Int32Array.from(values)).to('int64');

const N = 4;
const V = 6;
/** Logits [4, 6] of a model. */
const made = (seed: number, spread = 2): number[][] =>
  Array.from({ length: N }, (_, n) =>
    Array.from({ length: V }, (_, v) => spread * Math.sin(seed + 3.7 * n + 1.3 * v + 0.31 * v * v)),
  );
const WEIGHTS = [1, 1, 0.5, 0];
const TARGETS = [3, 0, 5, 2];

/** Loss and gradient in the student's logits. */
function compute(
  student: readonly (readonly number[])[],
  teacher: TeacherTargets,
  settings: DistillationConfig,
  weights = WEIGHTS,
  targetsInBatch = 2.5,
) {
  return scope(() => {
    const logits = tensor(student as number[][], { dtype: 'float64' });
    logits.requiresGrad = true;
    const { loss, metrics } = distillationLoss(
      { logits, teacher, targets: ids(TARGETS.slice(0, student.length)), weights: tensor(weights), targetsInBatch },
      settings,
    );
    loss.backward();
    return { loss: loss.item(), gradient: (logits.grad as Tensor).numbers(), metrics: combineMetrics([metrics]) };
  });
}

const teacherOf = (seed: number, settings: DistillationConfig): TeacherTargets =>
  teacherTargets(tensor(made(seed), { dtype: 'float64' }), settings.temperature, settings.top_k);

/** Every kind of loss there is. */
const ALL = ['forward', 'reverse', 'jsd'].flatMap((kind) =>
  [{}, { top_k: 3 }, { top_k: 3, tail: 'renormalise' }, { temperature: 2, hard_weight: 0.3 }].map((more) => ({
    divergence: { kind },
    ...more,
  })),
);

describe('the divergences', () => {
  const p = logs([0.5, 0.25, 0.25]);
  const q = logs([0.25, 0.25, 0.5]);

  it('by hand', () => {
    // Σ: 0.5 ln 2 + 0 + 0.25 ln ½ = 0.25 ln 2, either way round here.
    expect(divergencePerToken(p, q, { kind: 'forward' }).item()).toBeCloseTo(0.25 * Math.LN2, 6);
    expect(divergencePerToken(p, q, { kind: 'reverse' }).item()).toBeCloseTo(0.25 * Math.LN2, 6);
    const uneven = logs([0.8, 0.1, 0.1]);
    const forward = 0.8 * Math.log(0.8 / 0.25) + 0.1 * Math.log(0.1 / 0.25) + 0.1 * Math.log(0.1 / 0.5);
    const reverse = 0.25 * Math.log(0.25 / 0.8) + 0.25 * Math.log(0.25 / 0.1) + 0.5 * Math.log(0.5 / 0.1);
    expect(divergencePerToken(uneven, q, { kind: 'forward' }).item()).toBeCloseTo(forward, 6);
    expect(divergencePerToken(uneven, q, { kind: 'reverse' }).item()).toBeCloseTo(reverse, 6);
    // β = ¼: M = (0.3875, 0.2125, 0.4)
    const m = [0.3875, 0.2125, 0.4];
    const kl = (a: number[], b: number[]) => a.reduce((sum, x, i) => sum + x * Math.log(x / (b[i] as number)), 0);
    const jsd = 0.25 * kl([0.8, 0.1, 0.1], m) + 0.75 * kl([0.25, 0.25, 0.5], m);
    expect(divergencePerToken(uneven, q, { kind: 'jsd', beta: 0.25 }).item()).toBeCloseTo(jsd, 6);
  });

  it('jsd: at ½ symmetric and at most ln 2; for small β it is β · forward, for large (1−β) · reverse', () => {
    const [a, b] = [logs([0.9, 0.05, 0.05]), logs([0.1, 0.2, 0.7])].map((t) => t.to('float64')) as [Tensor, Tensor];
    const d = (x: Tensor, y: Tensor, beta: number) => divergencePerToken(x, y, { kind: 'jsd', beta }).item();
    expect(d(a, b, 0.5)).toBeCloseTo(d(b, a, 0.5), 6);
    expect(d(logs([1 - 2e-9, 1e-9, 1e-9]), logs([1e-9, 1e-9, 1 - 2e-9]), 0.5)).toBeCloseTo(Math.LN2, 5);
    expect(d(a, b, 1e-4) / 1e-4 / divergencePerToken(a, b, { kind: 'forward' }).item()).toBeCloseTo(1, 2);
    expect(d(a, b, 1 - 1e-4) / 1e-4 / divergencePerToken(a, b, { kind: 'reverse' }).item()).toBeCloseTo(1, 2);
  });
});

describe('the loss', () => {
  it.each(ALL)('gradient against finite differences: %j', (settings) => {
    const parsed = config(settings);
    const teacher = teacherOf(5, parsed);
    const student = made(1);
    const { gradient } = compute(student, teacher, parsed);
    const step = 1e-5;
    for (let n = 0; n < N; n++) {
      for (let v = 0; v < V; v++) {
        const moved = (by: number) =>
          compute(
            student.map((row, i) => row.map((value, j) => (i === n && j === v ? value + by : value))),
            teacher,
            parsed,
          ).loss;
        expect(gradient[n * V + v]).toBeCloseTo((moved(step) - moved(-step)) / (2 * step), 7);
      }
    }
    expect(Math.max(...gradient.map(Math.abs))).toBeGreaterThan(0.01);
    expect(gradient.slice(3 * V)).toEqual(new Array(V).fill(0)); // its weight is 0
  });

  it.each(ALL.filter((settings) => !('hard_weight' in settings)))(
    'nothing where the student is its teacher: %j',
    (settings) => {
      const parsed = config(settings);
      const { loss, gradient, metrics } = compute(made(5), teacherOf(5, parsed), parsed);
      expect(Math.abs(loss)).toBeLessThan(1e-6);
      expect(Math.max(...gradient.map(Math.abs))).toBeLessThan(1e-6);
      expect(metrics.agreement).toBe(1);
    },
  );

  it('the value by hand: temperature, T², hard labels, weights', () => {
    // One place, three tokens; at T = 2 the student has softmax(0, ln 2, 0) = ¼ ½ ¼, the teacher ½ ¼ ¼.
    const student = [[0, 2 * Math.LN2, 0]];
    const logits = tensor([[2 * Math.LN2, 0, 0]]);
    const loss = (overrides: Record<string, unknown>) => {
      const parsed = config({ temperature: 2, ...overrides });
      return scope(() =>
        noGrad(() =>
          distillationLoss(
            {
              logits: tensor(student),
              teacher: teacherTargets(logits, 2),
              targets: ids([1]),
              weights: tensor([1]),
              targetsInBatch: 1,
            },
            parsed,
          ).loss.item(),
        ),
      );
    };
    const d = 0.5 * Math.log(0.5 / 0.25) + 0.25 * Math.log(0.25 / 0.5);
    const hard = -Math.log(4 / 6); // at T = 1: softmax(0, ln 4, 0)
    expect(loss({ temperature_scale: 'none' })).toBeCloseTo(d, 6);
    expect(loss({})).toBeCloseTo(4 * d, 6);
    expect(loss({ hard_weight: 0.25 })).toBeCloseTo(0.75 * 4 * d + 0.25 * hard, 6);
    expect(loss({ hard_weight: 1 })).toBeCloseTo(hard, 6);
  });

  it('micro-batches add up to the batch', () => {
    const teacher = teacherTargets(tensor(made(5)), 1, 2);
    const soft = config({ divergence: { kind: 'reverse' }, top_k: 2 });
    const all = compute(made(1), teacher, soft);
    const cut = (from: number, to: number) =>
      compute(
        made(1).slice(from, to),
        {
          logprobs: teacher.logprobs.narrow(0, from, to - from),
          indices: teacher.indices?.narrow(0, from, to - from) ?? null,
          tail: teacher.tail?.narrow(0, from, to - from) ?? null,
        },
        soft,
        WEIGHTS.slice(from, to),
      );
    const [a, b] = [cut(0, 1), cut(1, 4)];
    expect(a.loss + b.loss).toBeCloseTo(all.loss, 6);
    [...a.gradient, ...b.gradient].forEach((value, i) => {
      expect(value).toBeCloseTo(all.gradient[i] as number, 6);
    });
  });
});

describe('the k likeliest', () => {
  it('are the teacher’s, with the log-probability of all others together', () => {
    const { logprobs, indices, tail } = teacherTargets(logs([0.1, 0.4, 0.2, 0.3]), 1, 2);
    expect(indices?.numbers()).toEqual([1, 3]);
    expect(logprobs.exp().numbers()).toEqual([expect.closeTo(0.4, 6), expect.closeTo(0.3, 6)]);
    expect(tail?.exp().item()).toBeCloseTo(0.3, 6);
    // A tail far too small for 1 − Σ: e^−40 among float32's 6e−8.
    expect(teacherTargets(tensor([[0, -40, -40]]), 1, 1).tail?.item()).toBeCloseTo(Math.LN2 - 40, 4);
  });

  it.each(['forward', 'reverse', 'jsd'])('k = V is the whole vocabulary: %s', (kind) => {
    for (const more of [{}, { temperature: 3 }]) {
      const whole = config({ divergence: { kind }, ...more });
      const full = compute(made(1), teacherOf(5, whole), whole);
      for (const top_k of [V, V + 10]) {
        for (const tail of ['bucket', 'renormalise']) {
          const some = config({ divergence: { kind }, top_k, tail, ...more });
          const got = compute(made(1), teacherOf(5, some), some);
          expect(got.loss).toBeCloseTo(full.loss, 5);
          got.gradient.forEach((value, i) => {
            expect(value).toBeCloseTo(full.gradient[i] as number, 5);
          });
        }
      }
    }
  });

  it('bucket never exceeds the whole vocabulary’s divergence and rises with k; renormalise leaves the rest free', () => {
    for (const kind of ['forward', 'reverse', 'jsd']) {
      const whole = config({ divergence: { kind } });
      const full = compute(made(1), teacherOf(5, whole), whole).loss;
      const bucket = [1, 2, 3, 4, 5, 6].map((top_k) => {
        const some = config({ divergence: { kind }, top_k });
        return compute(made(1), teacherOf(5, some), some).loss;
      });
      bucket.forEach((value, i) => {
        expect(value).toBeGreaterThanOrEqual((bucket[i - 1] ?? 0) - 1e-6);
        expect(value).toBeLessThanOrEqual(full + 1e-6);
      });
      expect(bucket[0]).toBeLessThan(full - 0.05);
    }
    // By hand: the teacher's two likeliest of ½ ¼ ⅛ ⅛ are ⅔ ⅓ of themselves.
    const teacher = teacherTargets(logs([0.5, 0.25, 0.125, 0.125]), 1, 2);
    const of = (tail: string, ...q: number[]) =>
      scope(() =>
        distillationLoss(
          { logits: logs(q), teacher, targets: ids([0]), weights: tensor([1]), targetsInBatch: 1 },
          config({ top_k: 2, tail }),
        ).loss.item(),
      );
    expect(of('renormalise', 0.2, 0.1, 0.3, 0.4)).toBeCloseTo(0, 6);
    expect(of('bucket', 0.2, 0.1, 0.3, 0.4)).toBeCloseTo(0.75 * Math.log(0.5 / 0.2) + 0.25 * Math.log(0.25 / 0.7), 6);
    expect(of('bucket', 0.5, 0.25, 0.2, 0.05)).toBeCloseTo(0, 6);
  });

  it('teacher_mass is what they have', () => {
    const parsed = config({ top_k: 2 });
    const teacher = teacherTargets(logs([0.4, 0.3, 0.2, 0.1]), 1, 2);
    const { metrics } = distillationLoss(
      { logits: logs([0.1, 0.7, 0.1, 0.1]), teacher, targets: ids([0]), weights: tensor([1]), targetsInBatch: 1 },
      parsed,
    );
    expect(combineMetrics([metrics])).toMatchObject({ teacher_mass: expect.closeTo(0.7, 6), agreement: 0 });
  });
});

describe('errors', () => {
  it('a tail without top_k, other vocabularies, other counts', () => {
    expect(() => config({ tail: 'bucket' })).toThrow('without top_k there is no tail');
    const teacher = teacherTargets(logs([0.5, 0.5]), 1);
    const inputs = {
      logits: logs([0.2, 0.3, 0.5]),
      teacher,
      targets: ids([0]),
      weights: tensor([1]),
      targetsInBatch: 1,
    };
    expect(() => distillationLoss(inputs, config())).toThrow('the student has 3 tokens, the teacher 2');
    expect(() => distillationLoss({ ...inputs, weights: tensor([1, 1]) }, config())).toThrow('weights');
  });
});
