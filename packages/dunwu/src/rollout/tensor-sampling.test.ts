import { op, scope, type Tensor, tensor } from '@dunwu/torch';
import { describe, expect, it } from 'vitest';
import { drawTokens } from './sampling.js';
import { banTokens, drawSettings, drawTensors } from './tensor-sampling.js';

const PLAIN = { temperature: 1, top_k: 0, top_p: 1 };
type Sampling = typeof PLAIN;
const NO = Number.NEGATIVE_INFINITY;
/** The largest uniform that SequenceRandom can give: 1 − 2^−24. */
const LAST = 0.99999994;

function drawn(logits: Tensor, uniforms: readonly number[], samplings: readonly Sampling[]) {
  const vocabulary = logits.size(1);
  const settings = tensor(drawSettings(uniforms, samplings, vocabulary), { shape: [4, uniforms.length] });
  const cut = samplings.some(({ top_k, top_p }) => top_k > 0 || top_p < 1);
  const { tokens, told } = drawTensors(logits, settings, cut);
  const [again = [], logprobs = [], raw = []] = [0, 1, 2].map((row) => told.select(0, row).numbers());
  expect(again).toEqual(tokens.numbers());
  return { tokens: again, logprobs, raw };
}

describe('drawTensors', () => {
  // 700 is not a whole number of pieces; 512 is, and 3 is less than one.
  it.each([3, 512, 700])('draws what drawTokens draws, each draw with settings of its own: %d tokens', (vocabulary) => {
    const samplings: Sampling[] = [
      PLAIN,
      { ...PLAIN, temperature: 0 },
      { ...PLAIN, temperature: 0.6 },
      { ...PLAIN, top_k: 20 },
      { ...PLAIN, top_p: 0.3 },
      { temperature: 1.4, top_k: 50, top_p: 0.8 },
      { ...PLAIN, temperature: 1e-9 },
    ];
    const rows = samplings.map((_, r) => Array.from({ length: vocabulary }, (_, v) => 3 * Math.sin(v * (r + 1.7) + r)));
    scope(() => {
      const logits = tensor(rows);
      for (const some of [samplings, samplings.slice(0, 3)]) {
        const own = logits.narrow(0, 0, some.length);
        for (let i = 0; i < 60; i++) {
          const uniforms = some.map((_, r) => (i === 0 ? 0 : i === 1 ? LAST : ((i * 7 + r) % 41) / 41 + 0.004));
          const places = some.map((_, r) => r);
          const expected = drawTokens(own, places, uniforms, some);
          const found = drawn(own, uniforms, some);
          expect(found.tokens).toEqual(expected.tokens);
          for (const kind of ['logprobs', 'raw'] as const) {
            found[kind].forEach((value, r) => {
              expect(value).toBeCloseTo(expected[kind][r] as number, 5);
            });
          }
        }
      }
    });
  });

  it('ties at top_k stay, ties at the top go to the first; no token of no probability', () => {
    scope(() => {
      const tied = tensor([
        [1, 2, 2, 0],
        [5, 7, 7, 1],
      ]);
      const samplings = [
        { ...PLAIN, top_k: 1 },
        { ...PLAIN, temperature: 0 },
      ];
      expect(drawn(tied, [0.51, 0], samplings).tokens).toEqual([2, 1]);
      expect(drawn(tied, [0.49, 0], samplings).tokens).toEqual([1, 1]);
      for (const uniform of [0, 0.5, LAST]) {
        const { tokens } = drawn(tensor([[NO, 0, NO, 0, NO]]), [uniform], [PLAIN]);
        expect(tokens).toEqual([uniform < 0.5 ? 1 : 3]);
      }
      expect(drawn(tensor([[-100, 100, -100]]), [LAST], [PLAIN])).toEqual({ tokens: [1], logprobs: [0], raw: [0] });
    });
  });

  it('−1 where logits are not finite', () => {
    scope(() => {
      const broken = [
        [0, 1, Number.NaN],
        [NO, NO, NO],
        [0, Number.POSITIVE_INFINITY, 0],
        [0, NO, NO],
      ];
      const samplings = broken.map(() => PLAIN);
      expect(drawn(tensor(broken), [0, 0, 0, 0], samplings).tokens).toEqual([-1, -1, -1, 0]);
    });
  });

  it('idle draws fill up to a number', () => {
    expect([...drawSettings([0.5], [{ temperature: 0.25, top_k: 3, top_p: 0.75 }], 8, 2)]).toEqual([
      ...[0.5, 0],
      ...[0.25, 0],
      ...[3, 8],
      ...[0.75, 1],
    ]);
  });
});

it('banTokens: each row its own, repeated or none', () => {
  const logits = tensor([
    [1, 2, 3],
    [4, 5, 6],
    [7, 8, 9],
  ]);
  const banned = tensor(BigInt64Array.of(1n, 2n, -1n, -1n, 0n, 0n), { shape: [3, 2] });
  expect(banTokens(logits, banned).numbers()).toEqual([1, NO, NO, 4, 5, 6, NO, 8, 9]);
});

it('on a device: the same tokens, and nothing is waited for', () => {
  const device = op('dunwu::stand_in')() as string;
  scope(() => {
    const rows = Array.from({ length: 21 }, (_, i) => Math.sin(i * i));
    const logits = tensor(
      rows.map((value) => 3 * value),
      { shape: [3, 7] },
    );
    const banned = tensor(BigInt64Array.of(1n, 2n, -1n, -1n, 0n, 0n), { shape: [3, 2] });
    const samplings = [PLAIN, { ...PLAIN, top_k: 2 }, { temperature: 0, top_k: 0, top_p: 0.5 }];
    const settings = tensor(drawSettings([0.3, 0.8, 0], samplings, 7), { shape: [4, 3] });
    const there = [logits, banned, settings].map((one) => one.toDevice(device, one.dtype)) as [Tensor, Tensor, Tensor];
    for (const cut of [false, true]) {
      const expected = drawTensors(banTokens(logits, banned), settings, cut);
      op('dunwu::stand_in_waits')();
      const found = drawTensors(banTokens(there[0], there[1]), there[2], cut);
      expect(op('dunwu::stand_in_waits')()).toBe(0);
      expect(found.tokens.numbers()).toEqual(expected.tokens.numbers());
      expect(found.told.numbers()).toEqual(expected.told.numbers());
    }
  });
});
