import { scope, tensor } from '@dunwu/torch';
import { describe, expect, it } from 'vitest';
import { drawTokens, SequenceRandom, sampleTokens, truncateLogits } from './sampling.js';
import { samplingSchema } from './sampling-config.js';

const P = [0.1, 0.4, 0.3, 0.2];
const log = (probabilities: readonly number[]): number[] => probabilities.map(Math.log);
const NO = Number.NEGATIVE_INFINITY;
const PLAIN = { temperature: 1, top_k: 0, top_p: 1 };
/** The largest uniform that SequenceRandom can give: 1 − 2^−24. */
const LAST = 0.99999994;

/** Indices of the tokens that stay. */
function kept(probabilities: readonly number[], top_k: number, top_p: number): number[] {
  const logits = tensor([log(probabilities)]);
  return truncateLogits(logits, { top_k, top_p })
    .numbers()
    .flatMap((value, i) => {
      if (value === NO) return [];
      expect(value).toBeCloseTo(Math.log(probabilities[i] as number), 6); // what stays is not changed
      return [i];
    });
}

const draw = (probabilities: readonly number[], uniforms: readonly number[], sampling = PLAIN): number[] =>
  scope(() => {
    const row = log(probabilities);
    return sampleTokens(tensor(uniforms.map(() => row)), uniforms, sampling).tokens.numbers();
  });

describe('truncateLogits', () => {
  it('top_k', () => {
    expect(kept(P, 0, 1)).toEqual([0, 1, 2, 3]);
    expect(kept(P, 1, 1)).toEqual([1]);
    expect(kept(P, 3, 1)).toEqual([1, 2, 3]);
    expect(kept(P, 9, 1)).toEqual([0, 1, 2, 3]);
  });

  it('top_p: the smallest set that reaches it, always one at least', () => {
    expect(kept(P, 0, 0.0001)).toEqual([1]);
    expect(kept(P, 0, 0.39)).toEqual([1]);
    expect(kept(P, 0, 0.41)).toEqual([1, 2]);
    expect(kept(P, 0, 0.69)).toEqual([1, 2]);
    expect(kept(P, 0, 0.71)).toEqual([1, 2, 3]);
    expect(kept(P, 0, 0.95)).toEqual([0, 1, 2, 3]);
  });

  it('top_k first: top_p counts the mass that is left', () => {
    // Of .4 .3 .2 the shares are .44 .33 .22: 0.76 is reached by two.
    expect(kept(P, 3, 0.76)).toEqual([1, 2]);
    expect(kept(P, 0, 0.76)).toEqual([1, 2, 3]);
  });

  it('every row by itself', () => {
    const logits = tensor([log([0.7, 0.2, 0.1]), log([0.3, 0.3, 0.4])]);
    expect(truncateLogits(logits, { top_k: 0, top_p: 0.65 }).numbers().map(Number.isFinite)).toEqual([
      true,
      false,
      false,
      true,
      false,
      true,
    ]);
  });
});

describe('sampleTokens', () => {
  it('inverts the cumulative distribution .1 .5 .8 1', () => {
    expect(draw(P, [0, 0.0999, 0.1001, 0.4999, 0.5001, 0.7999, 0.8001, LAST])).toEqual([0, 0, 1, 1, 2, 2, 3, 3]);
  });

  it('at temperature ½ the probabilities are squared', () => {
    // .01 .16 .09 .04 of .3: .0333 .5667 .8667 1
    expect(draw(P, [0.033, 0.034, 0.566, 0.567, 0.866, 0.867], { ...PLAIN, temperature: 0.5 })).toEqual([
      0, 1, 1, 2, 2, 3,
    ]);
  });

  it('never takes a token of no probability, whatever the uniform', () => {
    for (const uniform of [0, 1e-7, 0.5, LAST]) {
      const [token] = draw([0, 0.5, 0, 0.5, 0], [uniform]);
      expect(token).toBe(uniform < 0.5 ? 1 : 3);
      expect([1, 2]).toContain(draw(P, [uniform], { ...PLAIN, top_k: 2 })[0]);
      expect([1, 2]).toContain(draw(P, [uniform], { ...PLAIN, top_p: 0.6 })[0]);
    }
    // Probabilities that round to nothing beside the largest.
    const far = [0, 200, 0, 0].map((logit) => logit - 100);
    expect(sampleTokens(tensor([far, far]), [0, LAST], PLAIN).tokens.numbers()).toEqual([1, 1]);
  });

  it('temperature 0 is argmax; log-probabilities are those of the untempered distribution', () => {
    const { tokens, logprobs } = sampleTokens(tensor([log(P), log([0.5, 0.2, 0.2, 0.1])]), [], {
      ...PLAIN,
      temperature: 0,
    });
    expect(tokens.numbers()).toEqual([1, 0]);
    logprobs.numbers().forEach((value, i) => {
      expect(value).toBeCloseTo(Math.log([0.4, 0.5][i] as number), 6);
    });
  });

  it('log-probabilities are those of the tempered distribution before it is cut', () => {
    const sampling = { temperature: 0.5, top_k: 2, top_p: 1 };
    const { tokens, logprobs } = sampleTokens(tensor([log(P), log(P)]), [0, LAST], sampling);
    expect(tokens.numbers()).toEqual([1, 2]);
    expect(logprobs.numbers()[0]).toBeCloseTo(Math.log(0.16 / 0.3), 6);
    expect(logprobs.numbers()[1]).toBeCloseTo(Math.log(0.09 / 0.3), 6);
  });

  it.each([1e-4, 1e-8, 1e-37, 1e-40, 1e-300])('temperature %d: the likeliest, and no NaN', (temperature) => {
    const rows = [[1, 5, 5.5, -3], [30, -20, 29.9, 1], [-4000, -3999, -5000, NO], log(P)];
    for (const [top_k, top_p] of [
      [0, 1],
      [2, 0.9],
    ] as const) {
      for (const uniform of [0, 0.5, LAST]) {
        const { tokens, logprobs } = sampleTokens(
          tensor(rows),
          rows.map(() => uniform),
          { temperature, top_k, top_p },
        );
        expect(tokens.numbers()).toEqual([2, 0, 1, 1]);
        expect(logprobs.numbers()).toEqual([0, 0, 0, 0]);
      }
    }
    // The limit of a tie: each of the likeliest, with its share.
    const tie = sampleTokens(tensor([1, 2, 3].map(() => [7, 7, 1])), [0.49, 0.51, LAST], { ...PLAIN, temperature });
    expect(tie.tokens.numbers()).toEqual([0, 1, 1]);
    for (const value of tie.logprobs.numbers()) expect(value).toBeCloseTo(Math.log(0.5), 6);
  });

  it.each([
    ['as they are', PLAIN, P],
    ['temperature 2', { ...PLAIN, temperature: 2 }, P.map(Math.sqrt)],
    ['temperature ½', { ...PLAIN, temperature: 0.5 }, P.map((p) => p * p)],
    ['top_k 2', { ...PLAIN, top_k: 2 }, [0, 0.4, 0.3, 0]],
    ['top_p 0.8', { ...PLAIN, top_p: 0.8 }, [0, 0.4, 0.3, 0.2]],
    [
      'top_k 3, top_p 0.7, temperature 2',
      { temperature: 2, top_k: 3, top_p: 0.7 },
      [0, Math.sqrt(0.4), Math.sqrt(0.3), 0],
    ],
  ])('frequencies of 50,000 draws: %s', (name, sampling, shares) => {
    const n = 50_000;
    const random = new SequenceRandom(11, name);
    const counts = [0, 0, 0, 0];
    for (const token of draw(
      P,
      Array.from({ length: n }, () => random.next()),
      sampling,
    )) {
      counts[token] = (counts[token] as number) + 1;
    }
    const total = shares.reduce((a, b) => a + b, 0);
    shares.forEach((share, i) => {
      const p = share / total;
      // Four standard deviations of a binomial count: one failure in 16,000, and the seed is fixed.
      expect(Math.abs((counts[i] as number) - n * p)).toBeLessThanOrEqual(4 * Math.sqrt(n * p * (1 - p)));
    });
  });
});

describe('SequenceRandom', () => {
  it('depends on seed and key alone', () => {
    const take = (seed: number, key: string): number[] => {
      const random = new SequenceRandom(seed, key);
      return [random.next(), random.next(), random.next()];
    };
    expect(take(1, 'a/0')).toEqual(take(1, 'a/0'));
    expect(new Set([...take(1, 'a/0'), ...take(1, 'a/1'), ...take(2, 'a/0'), ...take(1, 'b/0')]).size).toBe(12);
  });

  it('gives multiples of 2^−24 below 1, so that float32 holds them', () => {
    const random = new SequenceRandom(3, 'x');
    let sum = 0;
    for (let i = 0; i < 20_000; i++) {
      const value = random.next();
      if (!(value >= 0 && value < 1 && Math.fround(value) === value)) throw new Error(`${value}`);
      sum += value;
    }
    // Mean of 20,000 uniforms: ½ ± 4 · √(1/12/20000)
    expect(Math.abs(sum / 20_000 - 0.5)).toBeLessThan(4 * Math.sqrt(1 / 12 / 20_000));
  });
});

it('the schema has the defaults of the field and refuses what cannot be', () => {
  expect(samplingSchema.parse({ max_tokens: 5 })).toEqual({ temperature: 1, top_p: 1, top_k: 0, max_tokens: 5 });
  for (const wrong of [
    { top_p: 0 },
    { top_p: 1.1 },
    { temperature: -1 },
    { top_k: 1.5 },
    { max_tokens: 0 },
    { beam: 2 },
    { stop: [''] },
  ]) {
    expect(samplingSchema.safeParse({ max_tokens: 5, ...wrong }).success).toBe(false);
  }
});

describe('drawTokens', () => {
  const rows = Array.from({ length: 7 }, (_, r) =>
    Array.from({ length: 700 }, (_, v) => 3 * Math.sin(v * (r + 1.7) + r)),
  );
  it.each([
    [PLAIN],
    [{ ...PLAIN, temperature: 0 }],
    [{ ...PLAIN, temperature: 0.6 }],
    [{ ...PLAIN, top_k: 20 }],
    [{ ...PLAIN, top_p: 0.3 }],
    [{ temperature: 1.4, top_k: 50, top_p: 0.8 }],
  ])('draws what sampleTokens draws: %j', (sampling) => {
    scope(() => {
      const logits = tensor(rows);
      for (let i = 0; i < 40; i++) {
        const uniforms = rows.map((_, r) => ((i * 7 + r) % 41) / 41 + 0.004);
        const plain = sampleTokens(logits, uniforms, sampling);
        const drawn = drawTokens(
          logits,
          rows.map((_, r) => r),
          uniforms,
          rows.map(() => sampling),
        );
        expect(drawn.tokens).toEqual(plain.tokens.numbers());
        const logprobs = plain.logprobs.numbers();
        const raw = logits.logSoftmax(-1).numbers();
        drawn.tokens.forEach((token, r) => {
          expect(drawn.logprobs[r]).toBeCloseTo(logprobs[r] as number, 5);
          expect(drawn.raw[r]).toBeCloseTo(raw[r * 700 + token] as number, 5);
        });
      }
    });
  });

  it('each draw has its own row and settings', () => {
    scope(() => {
      const logits = tensor([log(P), log([0.7, 0.1, 0.1, 0.1])]);
      const { tokens, logprobs } = drawTokens(
        logits,
        [1, 0, 0],
        [0.71, 0, 0.95],
        [PLAIN, { ...PLAIN, temperature: 0 }, { ...PLAIN, top_k: 2 }],
      );
      expect(tokens).toEqual([1, 1, 2]);
      expect(logprobs.map(Math.exp)).toEqual([0.1, 0.4, 0.3].map((p) => expect.closeTo(p, 6)));
    });
  });

  it('nearly no temperature is none; no token of no probability; what is not finite is told', () => {
    scope(() => {
      expect(drawTokens(tensor([log(P)]), [0], [0.99], [{ ...PLAIN, temperature: 1e-9 }])).toMatchObject({
        tokens: [1],
        logprobs: [0],
      });
      for (const uniform of [0, 0.5, LAST]) {
        expect(drawTokens(tensor([[NO, 0, NO, 0, NO]]), [0], [uniform], [PLAIN]).tokens).toEqual([
          uniform < 0.5 ? 1 : 3,
        ]);
      }
      expect(() =>
        drawTokens(
          tensor([
            [0, 1],
            [0, Number.NaN],
          ]),
          [0, 1],
          [0, 0],
          [PLAIN, PLAIN],
        ),
      ).toThrow('the logits of row 1 are not finite');
      expect(() => drawTokens(tensor([[NO, NO]]), [0], [0], [PLAIN])).toThrow('row 0 are not finite');
    });
  });
});
