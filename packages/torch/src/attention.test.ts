import { describe, expect, it } from 'vitest';
import {
  type DType,
  getThreads,
  grad,
  groupedAttention,
  groupedAttentionReference,
  latentAttention,
  latentAttentionReference,
  manualSeed,
  noGrad,
  op,
  randn,
  ropePart,
  ropePartReference,
  scope,
  setThreads,
  type Tensor,
  tensor,
  zeros,
} from './index.js';

/** Relative error ‖a − b‖ / ‖b‖; where b is zero, the root mean square of a. */
function error(a: Tensor, b: Tensor): number {
  const difference = a.to('float64').sub(b.to('float64')).norm().item();
  const size = b.to('float64').norm().item();
  return difference / (size === 0 ? Math.sqrt(Math.max(1, b.numel)) : size);
}

function leaf(shape: number[]): Tensor {
  const x = randn(shape);
  x.requiresGrad = true;
  return x;
}

const TOLERANCE: Partial<Record<DType, number>> = { float64: 1e-10, float32: 1e-5, bfloat16: 2e-2, float16: 4e-3 };

type Attention = (...x: Tensor[]) => Tensor;

/** Forward and all gradients of `fused` against `reference` computed in float64 on the same (rounded) inputs. */
function compare(dtype: DType, inputs: Tensor[], fused: Attention, reference: Attention): void {
  const low = inputs.map((x) => x.to(dtype).detach().clone());
  const high = low.map((x) => x.to('float64').detach().clone());
  for (const x of [...low, ...high]) x.requiresGrad = true;
  const a = fused(...low);
  const b = reference(...high);
  const tolerance = TOLERANCE[dtype] ?? 0;
  expect(a.shape).toEqual(b.shape);
  expect(a.dtype).toBe(dtype);
  expect(error(a, b)).toBeLessThan(tolerance);
  const direction = randn(b.shape, { dtype: 'float64' }).to(dtype);
  const da = grad([a], low, { gradients: [direction] });
  const db = grad([b], high, { gradients: [direction.to('float64')] });
  for (let i = 0; i < da.length; i++) expect(error(da[i] as Tensor, db[i] as Tensor)).toBeLessThan(tolerance * 2);
}

/** Values and gradients as they are, to be compared bit by bit. */
function everything(inputs: Tensor[], attention: Attention): number[][] {
  return scope(() => {
    const leaves = inputs.map((x) => x.detach().clone());
    for (const x of leaves) x.requiresGrad = true;
    const output = attention(...leaves);
    manualSeed(77);
    const gradients = grad([output], leaves, { gradients: [randn(output.shape).to(output.dtype)] });
    return [output, ...gradients].map((x) => (x as Tensor).detach().to('float64').numbers());
  });
}

/** starts of segments of the given lengths; the lengths of a row add up to its time. */
const startsOf = (...rows: number[][]): Tensor => {
  const starts = rows.flatMap((lengths) => {
    let at = 0;
    return lengths.flatMap((length) => {
      at += length;
      return Array.from({ length }, () => at - length);
    });
  });
  return tensor(starts, { dtype: 'int64' });
};

interface Case {
  readonly name: string;
  readonly batch: number;
  readonly time: number;
  readonly starts: Tensor | null;
}

const cases: Case[] = [
  { name: 'a single token', batch: 3, time: 1, starts: null },
  { name: 'less than a block', batch: 2, time: 7, starts: null },
  { name: 'a whole block', batch: 1, time: 64, starts: null },
  { name: 'several blocks and a rest', batch: 2, time: 300, starts: null },
  { name: 'empty starts', batch: 2, time: 9, starts: zeros([0], { dtype: 'int64' }) },
  { name: 'segments', batch: 2, time: 12, starts: startsOf([5, 1, 6], [12]).view([2, 12]) },
  { name: 'segments in int32', batch: 1, time: 8, starts: startsOf([3, 5]).to('int32') },
  { name: 'every token alone', batch: 1, time: 70, starts: startsOf(Array.from({ length: 70 }, () => 1)) },
  {
    name: 'segments over several blocks',
    batch: 2,
    time: 300,
    starts: startsOf([130, 2, 1, 100, 67], [10, 64, 64, 162]),
  },
];

const latentWidths = [
  { heads: 2, nope: 5, rope: 4, v: 3 },
  { heads: 4, nope: 32, rope: 16, v: 32 },
];
const grouped = [
  { heads: 4, groups: 1, width: 6 },
  { heads: 4, groups: 2, width: 16 },
  { heads: 3, groups: 3, width: 64 },
];

function latentInputs(rows: number, { heads, nope, rope, v }: (typeof latentWidths)[number]): Tensor[] {
  return [randn([rows, heads, nope + rope]), randn([rows, heads, nope + v]), randn([rows, rope])];
}

describe('attention agrees with its plain reference, forward and backward', () => {
  for (const dtype of ['float64', 'float32', 'bfloat16', 'float16'] as const) {
    for (const { name, batch, time, starts } of cases) {
      it(`latent_attention ${dtype}: ${name}`, () =>
        scope(() => {
          for (const widths of latentWidths) {
            manualSeed(1);
            compare(
              dtype,
              latentInputs(batch * time, widths),
              (q, kv, k) => latentAttention(q as Tensor, kv as Tensor, k as Tensor, starts, time, 0.3),
              (q, kv, k) => latentAttentionReference(q as Tensor, kv as Tensor, k as Tensor, starts, time, 0.3),
            );
          }
        }));
      it(`grouped_attention ${dtype}: ${name}`, () =>
        scope(() => {
          for (const { heads, groups, width } of grouped) {
            manualSeed(2);
            compare(
              dtype,
              [randn([batch * time, heads + 2 * groups, width])],
              (x) => groupedAttention(x as Tensor, heads, groups, starts, time, 0.25),
              (x) => groupedAttentionReference(x as Tensor, heads, groups, starts, time, 0.25),
            );
          }
        }));
    }
  }

  it('the composition for other devices is the same function', () =>
    scope(() => {
      for (const { time, batch, starts } of cases) {
        manualSeed(3);
        compare(
          'float64',
          latentInputs(batch * time, { heads: 2, nope: 5, rope: 4, v: 3 }),
          (...x) => op('dunwu::latent_attention_composed')(...x, starts, time, 0.3) as Tensor,
          (q, kv, k) => latentAttentionReference(q as Tensor, kv as Tensor, k as Tensor, starts, time, 0.3),
        );
        compare(
          'float64',
          [randn([batch * time, 8, 6])],
          (x) => op('dunwu::grouped_attention_composed')(x as Tensor, 4, 2, starts, time, 0.25) as Tensor,
          (x) => groupedAttentionReference(x as Tensor, 4, 2, starts, time, 0.25),
        );
      }
    }));

  it('prompts that are split between threads', () =>
    scope(() => {
      manualSeed(4);
      const starts = startsOf([700, 450]);
      for (const dtype of ['float32', 'bfloat16'] as const) {
        for (const segments of [null, starts]) {
          const x = randn([1150, 4, 16]).to(dtype);
          const a = groupedAttention(x, 2, 1, segments, 1150, 0.25);
          const b = groupedAttentionReference(x.to('float64'), 2, 1, segments, 1150, 0.25);
          expect(error(a, b)).toBeLessThan(TOLERANCE[dtype] as number);
        }
      }
    }));

  it('scores far apart: the largest is taken off before the exponential', () =>
    scope(() => {
      manualSeed(5);
      compare(
        'float32',
        // Whole numbers: the scores are exact, whatever their size.
        [randn([300, 3, 8]).mul(4).round()],
        (x) => groupedAttention(x as Tensor, 1, 1, null, 300, 1),
        (x) => groupedAttentionReference(x as Tensor, 1, 1, null, 300, 1),
      );
    }));

  it('hand-computed: two tokens, one head', () => {
    // Token 1 scores 1 · 2 · ½ = 1 against token 0 and 1 · 4 · ½ = 2 against itself.
    const qkv = tensor([
      [[9], [2], [10]],
      [[1], [4], [20]],
    ]);
    const [first, second] = groupedAttention(qkv, 1, 1, null, 2, 0.5).numbers() as [number, number];
    expect(first).toBe(10);
    expect(second).toBeCloseTo((10 * Math.exp(1) + 20 * Math.exp(2)) / (Math.exp(1) + Math.exp(2)), 5);
    // The same through the rotary key: query [nope | rope], kv [nope | v].
    const query = tensor([[[0, 9]], [[0, 1]]]);
    const latent = latentAttention(query, tensor([[[7, 10]], [[7, 20]]]), tensor([[2], [4]]), null, 2, 0.5).numbers();
    expect(latent[0]).toBe(10);
    expect(latent[1]).toBeCloseTo(second, 5);
  });

  it('gradients are those of finite differences', () =>
    scope(() => {
      manualSeed(6);
      const starts = startsOf([4, 1, 4]);
      const check = (inputs: Tensor[], attention: Attention): void => {
        const direction = randn(attention(...inputs).shape, { dtype: 'float64' });
        const value = (): number =>
          scope(() =>
            noGrad(() =>
              attention(...inputs)
                .mul(direction)
                .sum()
                .item(),
            ),
          );
        for (const x of inputs) x.requiresGrad = true;
        const gradients = grad(
          [
            attention(...inputs)
              .mul(direction)
              .sum(),
          ],
          inputs,
        );
        inputs.forEach((x, i) => {
          const flat = x.detach().view([-1]);
          const expected = (gradients[i] as Tensor).reshape([-1]).numbers();
          for (let j = 0; j < expected.length; j++) {
            const at = flat.narrow(0, j, 1);
            const step = (by: number): number =>
              scope(() =>
                noGrad(() => {
                  at.add_(by);
                  return value();
                }),
              );
            const up = step(1e-5);
            const down = step(-2e-5);
            step(1e-5);
            expect((up - down) / 2e-5).toBeCloseTo(expected[j] as number, 7);
          }
        });
      };
      const wide = (x: Tensor): Tensor => x.to('float64');
      check(latentInputs(9, { heads: 2, nope: 3, rope: 2, v: 2 }).map(wide), (q, kv, k) =>
        latentAttention(q as Tensor, kv as Tensor, k as Tensor, starts, 9, 0.4),
      );
      check([wide(randn([9, 4, 3]))], (x) => groupedAttention(x as Tensor, 2, 1, starts, 9, 0.4));
      const angles = randn([5, 2], { dtype: 'float64' });
      check([wide(randn([5, 3, 6]))], (x) => ropePart(x as Tensor, angles.cos(), angles.sin(), true, 1, 1));
    }));
});

describe('the same numbers', () => {
  const threads = getThreads();
  for (const dtype of ['float32', 'bfloat16'] as const) {
    it(`with one thread and two, and again (${dtype})`, () => {
      manualSeed(7);
      const starts = startsOf([130, 170], [300]);
      const latent = latentInputs(600, { heads: 4, nope: 8, rope: 4, v: 12 }).map((x) => x.to(dtype));
      const qkv = randn([600, 8, 16]).to(dtype);
      const long = randn([1150, 4, 16]).to(dtype);
      const run = (): number[][] => [
        ...everything(latent, (q, kv, k) => latentAttention(q as Tensor, kv as Tensor, k as Tensor, starts, 300, 0.3)),
        ...everything([qkv], (x) => groupedAttention(x as Tensor, 4, 2, starts, 300, 0.3)),
        ...everything([long], (x) => groupedAttention(x as Tensor, 2, 1, null, 1150, 0.3)),
      ];
      try {
        setThreads(1);
        const one = run();
        expect(run()).toEqual(one);
        setThreads(2);
        expect(run()).toEqual(one);
      } finally {
        setThreads(threads);
      }
    });

    it(`for an entry of the batch alone (${dtype})`, () => {
      manualSeed(8);
      const latent = latentInputs(300, { heads: 2, nope: 8, rope: 4, v: 12 }).map((x) => x.to(dtype));
      const qkv = randn([300, 8, 16]).to(dtype);
      const second = (x: Tensor): Tensor => x.narrow(0, 100, 100);
      const attend: [Tensor[], Attention][] = [
        [latent, (q, kv, k) => latentAttention(q as Tensor, kv as Tensor, k as Tensor, null, 100, 0.3)],
        [[qkv], (x) => groupedAttention(x as Tensor, 4, 2, null, 100, 0.3)],
      ];
      for (const [inputs, attention] of attend) {
        const alone = attention(...inputs.map(second))
          .to('float64')
          .numbers();
        expect(
          second(attention(...inputs))
            .to('float64')
            .numbers(),
        ).toEqual(alone);
      }
    });

    it(`for a segment as for a row of its own, up to rounding (${dtype})`, () => {
      manualSeed(9);
      const qkv = randn([100, 4, 16]).to(dtype);
      const packed = groupedAttention(qkv, 2, 1, startsOf([40, 60]), 100, 0.3).narrow(0, 40, 60);
      const alone = groupedAttention(qkv.narrow(0, 40, 60), 2, 1, null, 60, 0.3);
      expect(error(packed, alone)).toBeLessThan(TOLERANCE[dtype] as number);
    });
  }
});

/** A prompt's tokens, and those of the answers behind it. */
type Bundle = readonly [prompt: number, ...answers: number[]];

/** Bundles end to end; and the same as whole sequences: `expanded` places for them, of which `chosen` are one for each place. */
function bundled(bundles: readonly Bundle[]) {
  const starts: number[] = [];
  const bounds = [0];
  const expanded: number[] = [];
  const chosen: number[] = [];
  const wholeStarts: number[] = [];
  for (const [prompt, ...answers] of bundles) {
    const first = starts.length;
    for (let i = 0; i < prompt; i++) starts.push(0);
    for (const [n, answer] of answers.entries()) {
      const own = starts.length;
      const whole = wholeStarts.length;
      const places = [...Array(prompt).keys()].map((i) => first + i);
      for (let i = 0; i < answer; i++) {
        starts.push(own - first);
        places.push(own + i);
      }
      places.forEach((place, i) => {
        if (n === 0 || i >= prompt) chosen[place] = whole + i;
        expanded.push(place);
        wholeStarts.push(whole);
      });
    }
    bounds.push(starts.length);
  }
  const lengths = bounds.slice(1).map((end, i) => end - (bounds[i] as number));
  const int64 = { dtype: 'int64' } as const;
  return {
    rows: starts.length,
    starts: tensor(starts, int64),
    sequences: {
      bounds: tensor(bounds, { dtype: 'int32' }),
      longest: Math.max(...lengths),
      shared: tensor(
        bundles.map(([prompt]) => prompt),
        { dtype: 'int32' },
      ),
    },
    expanded: tensor(expanded, int64),
    chosen: tensor(chosen, int64),
    wholeStarts: tensor(wholeStarts, int64),
  };
}

describe('sequences that share a beginning are what they are one by one, forward and backward', () => {
  const bundleCases: Record<string, Bundle[]> = {
    'a small one': [[3, 2, 1, 4]],
    'one answer, no prompt, one token': [
      [5, 3],
      [0, 4, 2],
      [1, 1, 1],
      [2, 7],
    ],
    'answers far from the prompt': [[10, 200, 3, 130]],
    'a prompt over several blocks': [
      [70, 100, 10, 150, 64],
      [129, 1, 1, 140],
    ],
    'whole blocks': [[64, 64, 64, 128]],
    'split between threads': [[20, 300, 290, 310]],
  };
  for (const dtype of ['float64', 'float32', 'bfloat16', 'float16'] as const) {
    it.each(Object.entries(bundleCases))(`${dtype}: %s`, (_, bundles) =>
      scope(() => {
        const { rows, starts, sequences, expanded, chosen, wholeStarts } = bundled(bundles);
        const whole = expanded.numel;
        const take = (x?: Tensor) => (x as Tensor).indexSelect(0, expanded);
        for (const widths of latentWidths) {
          manualSeed(21);
          compare(
            dtype,
            latentInputs(rows, widths),
            (q, kv, k) => latentAttention(q as Tensor, kv as Tensor, k as Tensor, starts, rows, 0.3, sequences),
            (q, kv, k) =>
              latentAttentionReference(take(q), take(kv), take(k), wholeStarts, whole, 0.3).indexSelect(0, chosen),
          );
        }
        for (const { heads, groups, width } of grouped) {
          manualSeed(22);
          compare(
            dtype,
            [randn([rows, heads + 2 * groups, width])],
            (x) => groupedAttention(x as Tensor, heads, groups, starts, rows, 0.25, sequences),
            (x) => groupedAttentionReference(take(x), heads, groups, wholeStarts, whole, 0.25).indexSelect(0, chosen),
          );
        }
      }),
    );
  }

  it('what stands beside a bundle does not change a bit of it, nor does the number of threads', () =>
    scope(() => {
      const threads = getThreads();
      const bundles: Bundle[] = [
        [30, 60, 61],
        [2, 90],
      ];
      const { rows, starts, sequences } = bundled(bundles);
      const alone = bundled([bundles[0] as Bundle]);
      for (const dtype of ['float32', 'bfloat16'] as const) {
        manualSeed(23);
        const x = randn([rows, 4, 16]).to(dtype);
        const first = x.narrow(0, 0, alone.rows);
        const one = groupedAttention(first, 2, 1, alone.starts, alone.rows, 0.25, alone.sequences).numbers();
        for (const count of [1, 2, 3]) {
          setThreads(count);
          const all = groupedAttention(x, 2, 1, starts, rows, 0.25, sequences);
          expect(all.narrow(0, 0, alone.rows).numbers()).toEqual(one);
        }
        setThreads(threads);
      }
    }));

  it('refuses what does not fit, naming it', () => {
    const x = randn([6, 4, 3]);
    const int32 = { dtype: 'int32' } as const;
    const starts = tensor([0, 0, 2, 2, 0, 0], { dtype: 'int64' });
    const attend = (bounds: number[], shared: number[], longest = 4, first = starts) =>
      groupedAttention(x, 2, 1, first, 6, 1, { bounds: tensor(bounds, int32), longest, shared: tensor(shared, int32) });
    expect(attend([0, 4, 6], [2, 0]).shape).toEqual([6, 6]);
    expect(() => attend([0, 4, 6], [2])).toThrow(/shared must be int32 \[sequences\], beside bounds/);
    expect(() => attend([0, 4, 5], [2, 0])).toThrow(/bounds must go from 0 to 6, got 0 and 5/);
    expect(attend([0, 4, 6], [2, 0], 2 ** 40).shape).toEqual([6, 6]);
    expect(() => attend([0, 6, 6], [2, 0], 6)).toThrow(/sequence 1 of bounds has 0 tokens/);
    expect(() => attend([0, 4, 6], [2, 3])).toThrow(/shared\[1\] is 3, but sequence 1 has 2 tokens/);
    expect(() => attend([0, 4, 6], [3, 0])).toThrow(
      /starts\[2\] is 2, but the first 3 tokens of sequence 0 are seen by all/,
    );
    expect(() => attend([0, 3, 6], [2, 0], 3)).toThrow(/starts\[3\] is 2, but token 0 of a row can see 0 to 0/);
  });
});

describe('edges and refusals of attention', () => {
  it('no rows give no rows', () => {
    const empty = leaf([0, 4, 6]);
    const output = groupedAttention(empty, 2, 1, null, 5, 1);
    expect(output.shape).toEqual([0, 12]);
    expect(grad([output.sum()], [empty])[0]?.shape).toEqual([0, 4, 6]);
    const inputs = [leaf([0, 2, 5]), leaf([0, 2, 6]), leaf([0, 2])] as const;
    const latent = latentAttention(...inputs, null, 5, 1);
    expect(latent.shape).toEqual([0, 6]);
    expect(grad([latent.sum()], inputs).map((x) => x?.shape)).toEqual([
      [0, 2, 5],
      [0, 2, 6],
      [0, 2],
    ]);
  });

  it('names the operator and the shapes where they do not fit', () => {
    expect(() => latentAttention(randn([4, 2, 5]), randn([4, 3, 6]), randn([4, 2]), null, 2, 1)).toThrow(
      /latent_attention: query must be .* got \[4, 2, 5\], \[4, 3, 6\] and \[4, 2\]/,
    );
    expect(() => latentAttention(randn([4, 2, 5]), randn([4, 2, 3]), randn([4, 2]), null, 2, 1)).toThrow(
      /no|nope \+ v/,
    );
    expect(() => latentAttention(randn([4, 2, 5]), randn([4, 2, 6]), randn([4, 2]), null, 3, 1)).toThrow(
      /latent_attention: query must hold whole batch entries of time = 3 rows, got \[4, 2, 5\]/,
    );
    expect(() => latentAttention(randn([4, 2, 5]), randn([4, 2, 6]).to('float64'), randn([4, 2]), null, 2, 1)).toThrow(
      /latent_attention: query, kv and key must be of one type/,
    );
    expect(() => groupedAttention(randn([4, 5, 3]), 2, 1, null, 2, 1)).toThrow(
      /grouped_attention: qkv must be .* got \[4, 5, 3\] for 2 heads and 1 groups/,
    );
    expect(() => groupedAttention(randn([4, 5, 3]), 3, 2, null, 2, 1)).toThrow(
      /grouped_attention: heads must be a multiple of groups, got 3 and 2/,
    );
    const qkv = randn([4, 4, 3]);
    expect(() => groupedAttention(qkv, 2, 1, tensor([0, 0], { dtype: 'int64' }), 2, 1)).toThrow(
      /grouped_attention: starts must be empty or hold one number for each of 4 rows, got \[2\]/,
    );
    expect(() => groupedAttention(qkv, 2, 1, tensor([0, 0, 1, 1], { dtype: 'int64' }), 2, 1)).toThrow(
      /grouped_attention: starts\[2\] is 1, but token 0 of a row can see 0 to 0/,
    );
    expect(() => groupedAttention(qkv, 2, 1, tensor([0, 2 ** 32, 0, 0], { dtype: 'int64' }), 2, 1)).toThrow(
      /grouped_attention: starts\[1\] is 2147483647, but token 1 of a row can see 0 to 1/,
    );
    expect(() => groupedAttention(qkv, 2, 1, tensor([0, 0, 0, 0]), 2, 1)).toThrow(/starts must be int32 or int64/);
  });

  it('refuses second derivatives instead of giving wrong ones', () => {
    const qkv = leaf([4, 4, 3]);
    expect(() => grad([groupedAttention(qkv, 2, 1, null, 2, 1).sum()], [qkv], { createGraph: true })).toThrow(
      /dunwu::grouped_attention has no second derivative/,
    );
    const query = leaf([4, 2, 5]);
    const output = latentAttention(query, randn([4, 2, 6]), randn([4, 2]), null, 2, 1);
    expect(() => grad([output.sum()], [query], { createGraph: true })).toThrow(
      /dunwu::latent_attention has no second derivative/,
    );
  });
});

describe('rope_part', () => {
  for (const dtype of ['float64', 'float32', 'bfloat16', 'float16'] as const) {
    for (const interleaved of [true, false]) {
      it(`is rope where asked, a copy elsewhere: ${dtype} ${interleaved ? 'interleaved' : 'halves'}`, () =>
        scope(() => {
          manualSeed(10);
          const angles = randn([5, 4], { dtype: 'float64' });
          const [cosine, sine] = [angles.cos().to('float32'), angles.sin().to('float32')];
          const [wideCosine, wideSine] = [cosine.to('float64'), sine.to('float64')];
          for (const [heads, width, first, count] of [
            [3, 11, 0, 3],
            [5, 8, 0, 4],
            [4, 9, 1, 2],
            [2, 8, 1, 0],
          ] as const) {
            compare(
              dtype,
              [randn([5, heads, width])],
              (x) => ropePart(x as Tensor, cosine, sine, interleaved, first, count),
              (x) => ropePartReference(x as Tensor, wideCosine, wideSine, interleaved, first, count),
            );
          }
        }));
    }
  }

  it('names what does not fit', () => {
    const angles = zeros([2, 2]);
    expect(() => ropePart(randn([2, 3, 4]), angles, angles, true, 2, 2)).toThrow(
      /rope_part: heads 2 to 4 of x \[2, 3, 4\]/,
    );
    expect(() => ropePart(randn([2, 3, 3]), angles, angles, true, 0, 1)).toThrow(/rope_part: cosine and sine must be/);
    const x = leaf([2, 3, 4]);
    expect(() => grad([ropePart(x, angles, angles, true, 0, 1).sum()], [x], { createGraph: true })).toThrow(
      /dunwu::rope_part has no second derivative/,
    );
  });
});
