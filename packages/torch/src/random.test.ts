import { afterAll, describe, expect, it } from 'vitest';
import {
  empty,
  Generator,
  getRandomState,
  manualSeed,
  op,
  rand,
  randint,
  randn,
  randnLike,
  randperm,
  setRandomState,
  tensor,
  zeros,
} from './index.js';
import { HANDLE, native } from './native.js';
import { gc } from './testing/collect.js';
import { closeTo } from './testing/golden.js';

describe('the default generator', () => {
  it('gives the numbers that PyTorch gives for a seed', () => {
    manualSeed(1234);
    expect(randn([4]).numbers()).toEqual(closeTo([0.04613046, 0.40240282, -1.01152909, 0.21673824]));
    expect(rand([2]).numbers()).toEqual(closeTo([0.67380613, 0.33146197]));
    expect(randperm(6).numbers()).toEqual([3, 2, 4, 1, 5, 0]);
  });

  it('replays from a saved state, in the middle of a stream', () => {
    manualSeed(7);
    randn([3]); // an odd number: a normal is left over inside the generator
    const state = getRandomState();
    expect(state.dtype).toBe('uint8');
    const first = [randn([3]), rand([2]), randint(0, 100, [4])].map((x) => x.numbers());
    const different = randn([3]).numbers();
    setRandomState(state);
    const second = [randn([3]), rand([2]), randint(0, 100, [4])].map((x) => x.numbers());
    expect(second).toEqual(first);
    expect(different).not.toEqual(first[0]);
  });

  it('survives a trip of the state through bytes', () => {
    const bytes = getRandomState().bytes();
    const first = rand([5]).numbers();
    setRandomState(tensor(bytes));
    expect(rand([5]).numbers()).toEqual(first);
  });

  it('refuses what is no state, and goes on as before', () => {
    manualSeed(3);
    expect(() => setRandomState(zeros([4], { dtype: 'uint8' }))).toThrow();
    expect(() => setRandomState(zeros([4]))).toThrow();
    const after = rand([2]).numbers();
    manualSeed(3);
    expect(rand([2]).numbers()).toEqual(after);
  });
});

describe('Generator', () => {
  it('is a stream of its own', () => {
    using a = new Generator(1);
    using b = new Generator(1);
    using c = new Generator(2);
    manualSeed(5);
    const fromDefault = rand([2]).numbers();
    manualSeed(5);
    const x = rand([3], { generator: a }).numbers();
    expect(rand([3], { generator: b }).numbers()).toEqual(x);
    expect(rand([3], { generator: c }).numbers()).not.toEqual(x);
    expect(rand([2]).numbers()).toEqual(fromDefault); // untouched by the others
  });

  it('saves and restores its state', () => {
    using a = new Generator(11);
    rand([3], { generator: a });
    const { state } = a;
    const next = rand([3], { generator: a }).numbers();
    a.state = state;
    expect(rand([3], { generator: a }).numbers()).toEqual(next);
  });

  it('is taken by every random operator', () => {
    const draws = (generator: Generator): number[][] => {
      const weights = tensor([0.1, 0.2, 0.7]);
      return [
        randn([2], { generator }),
        randint(5, 9, [3], { generator }),
        randperm(5, { generator }),
        empty([2]).normal_(3, 0.5, { generator }),
        empty([2]).uniform_(-1, 1, { generator }),
        empty([4]).bernoulli_(0.5, { generator }),
        empty([2]).exponential_(2, { generator }),
        empty([2], { dtype: 'int64' }).random_({ generator }),
        weights.multinomial(4, true, { generator }),
        weights.bernoulli({ generator }),
      ].map((x) => x.numbers());
    };
    using a = new Generator(3);
    using b = new Generator(3);
    const values = draws(a);
    expect(draws(b)).toEqual(values);
    expect(values[1]?.every((v) => v >= 5 && v < 9)).toBe(true);
    expect([...(values[2] ?? [])].sort()).toEqual([0, 1, 2, 3, 4]);
    expect(values[4]?.every((v) => v >= -1 && v < 1)).toBe(true);
    expect(values[6]?.every((v) => v > 0)).toBe(true);
  });

  it('has the moments that it should have', () => {
    using generator = new Generator(21);
    const n = 100_000;
    const normal = empty([n]).normal_(3, 0.5, { generator });
    expect(Math.abs(normal.mean().item() - 3)).toBeLessThan(4 * (0.5 / Math.sqrt(n)));
    expect(Math.abs(normal.std().item() - 0.5)).toBeLessThan(0.005);
    expect(
      Math.abs(tensor([0.2, 0.8]).multinomial(n, true, { generator }).to('float32').mean().item() - 0.8),
    ).toBeLessThan(0.006);
    expect(
      Math.abs(
        randnLike(zeros([n]))
          .mean()
          .item(),
      ),
    ).toBeLessThan(0.015);
  });

  it('is freed by the collector when it is forgotten', async () => {
    const handleOf = (generator: Generator): number =>
      (generator as unknown as Record<symbol, number>)[HANDLE] as number;
    const handle = (() => handleOf(new Generator(5)))();
    const stale = { [HANDLE]: handle };
    await gc();
    expect(() => native.randomState(stale)).toThrow('generator used after it was freed');
  });

  it('is an error after it was freed, and where no generator is expected', () => {
    const gone = new Generator(1);
    gone.dispose();
    gone.dispose();
    expect(() => rand([1], { generator: gone })).toThrow(
      "argument 'generator' (Generator?): generator used after it was freed",
    );
    expect(() => gone.state).toThrow('generator used after it was freed');
    expect(() => op('aten::rand.generator')([1], 5)).toThrow('expected a Generator');
  });
});

afterAll(() => manualSeed(0));
