import { noGrad, scope, type Tensor, tensor, tokenLogprobs } from '@dunwu/torch';
import { describe, expect, it } from 'vitest';
import {
  difference,
  gradientDifference,
  ids,
  type TinyOverrides,
  takeGradients,
  tinyModel,
} from '../model/testing/tiny.js';
import { RolloutEngine } from '../rollout/engine.js';
import { packedTensors, packSequences, segmentStarts, sequenceBounds } from './packed.js';

describe('segmentStarts', () => {
  it('by hand: two sequences and padding; a row does not look at the one before', () => {
    const segments = Int32Array.from([0, 0, 1, 1, -1, -1, 0, 0, 0, 0]);
    expect([...segmentStarts(segments, 2, 5)]).toEqual([0, 0, 2, 2, 4, 0, 1, 1, 1, 1]);
  });
});

describe('sequenceBounds', () => {
  it('by hand: what starts at itself begins, also in padding; the end is the last bound', () => {
    const starts = Int32Array.from([0, 0, 2, 2, 4, 0, 1, 1, 1, 1]);
    expect(sequenceBounds(starts, 5)).toEqual({ bounds: Int32Array.from([0, 2, 4, 5, 6, 10]), longest: 4 });
  });
});

describe('packSequences', () => {
  it('by hand: longest first into the first row with room', () => {
    const packed = packSequences(
      [
        { tokens: [10, 11, 12], promptLength: 1 },
        { tokens: [20, 21, 22, 23, 24], promptLength: 3 },
        { tokens: [30, 31], promptLength: 1 },
        { tokens: [40, 41, 42, 43], promptLength: 2 },
      ],
      7,
    );
    // Rows of 8 tokens: 20.. (5) + 10.. (3); then 40.. (4) + 30.. (2).
    expect([packed.batch, packed.time]).toEqual([2, 7]);
    expect([...packed.tokens]).toEqual([20, 21, 22, 23, 24, 10, 11, 12, 40, 41, 42, 43, 30, 31, 0, 0]);
    expect([...packed.segments]).toEqual([0, 0, 0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 1, 1, -1, -1]);
    expect([...packed.positions]).toEqual([0, 1, 2, 3, 4, 0, 1, 2, 0, 1, 2, 3, 0, 1, 0, 0]);
    // Flat places of 7 a row whose next token is a response token, in the order of the sequences given.
    expect([...packed.places]).toEqual([5, 6, 2, 3, 11, 8, 9]);
    expect([...packed.owners]).toEqual([0, 0, 1, 1, 2, 3, 3]);
    const { tokens, targets, predicts } = packedTensors(packed, 'cpu');
    expect(targets.indexSelect(0, tensor(packed.places).to('int64')).numbers()).toEqual([11, 12, 23, 24, 31, 42, 43]);
    expect(tokens.numbers()).toEqual([20, 21, 22, 23, 24, 10, 11, 40, 41, 42, 43, 30, 31, 0]);
    expect(predicts.numbers()).toEqual([1, 1, 1, 1, 0, 1, 1, 1, 1, 1, 0, 1, 0, 0]);
  });

  it('rows are trimmed to the longest one', () => {
    const packed = packSequences([{ tokens: [1, 2, 3], promptLength: 1 }], 100);
    expect([packed.batch, packed.time]).toEqual([1, 2]);
  });

  it('a sequence longer than a row is an error with both lengths', () => {
    expect(() => packSequences([{ tokens: [1, 2, 3, 4], promptLength: 1 }], 2)).toThrow(
      'a sequence of 4 tokens does not fit rows of 2 positions',
    );
    expect(packSequences([{ tokens: [1, 2, 3], promptLength: 1 }], 2).time).toBe(2);
  });
});

const SEQUENCES = [
  { tokens: [3, 9, 14, 2, 7, 11, 1], promptLength: 3 },
  { tokens: [5, 6], promptLength: 1 },
  { tokens: [8, 8, 21, 17, 4, 19, 20, 2, 10, 1], promptLength: 4 },
  { tokens: [3, 9, 14, 16], promptLength: 3 },
];

describe.each<[string, TinyOverrides]>([
  ['mixture of experts', {}],
  ['dense', { first_k_dense_replace: 3, q_lora_rank: null }],
])('%s: sequences packed into rows compute what they compute alone', (_, overrides) => {
  it('log-probabilities and gradients', () => {
    const model = tinyModel(41, overrides);
    const weights = Float32Array.from({ length: 12 }, (_, i) => Math.cos(i));
    const packed = packSequences(SEQUENCES, 13);
    expect(packed.batch).toBe(2);
    const together = scope(() => {
      const on = packedTensors(packed, 'cpu');
      const places = tensor(packed.places).to('int64');
      const hidden = model.forward(on).hidden.indexSelect(0, places);
      const [logprobs] = tokenLogprobs(hidden, model.headWeight, on.targets.indexSelect(0, places));
      logprobs.mul(tensor(weights)).sum().backward();
      return logprobs.detach();
    });
    const gradients = takeGradients(model);
    let at = 0;
    for (const { tokens, promptLength } of SEQUENCES) {
      const count = tokens.length - promptLength;
      scope(() => {
        const { hidden } = model.forward({ tokens: ids([tokens.slice(0, -1)]) });
        const [logprobs] = tokenLogprobs(
          hidden.narrow(0, promptLength - 1, count),
          model.headWeight,
          ids([tokens.slice(promptLength)]).reshape([-1]),
        );
        logprobs
          .mul(tensor(weights.slice(at, at + count)))
          .sum()
          .backward();
        expect(difference(logprobs, together.narrow(0, at, count))).toBeLessThan(1e-5);
      });
      at += count;
    }
    expect(at).toBe(12);
    expect(gradientDifference(gradients, takeGradients(model))).toBeLessThan(1e-5);
    model.dispose();
  });

  it.each([1, 0.7])(
    'the rollout’s log-probabilities at temperature %f are the trainer’s within 1e-4',
    async (temperature) => {
      const model = tinyModel(42, overrides);
      const prompts = SEQUENCES.map(({ tokens }, i) => ({ tokens, samples: 4, key: String(i) }));
      const samples = await new RolloutEngine(model).generate(prompts, {
        sampling: { temperature, top_k: 0, top_p: 1, max_tokens: 30 },
        seed: 1,
        stop: [1, 4],
      });
      const packed = packSequences(
        samples.map((sample) => ({
          tokens: [...(prompts[sample.prompt]?.tokens ?? []), ...sample.tokens],
          promptLength: prompts[sample.prompt]?.tokens.length ?? 0,
        })),
        60,
      );
      const trainer: Tensor = scope(() =>
        noGrad(() => {
          const on = packedTensors(packed, 'cpu');
          const places = tensor(packed.places).to('int64');
          const hidden = model.forward(on).hidden.indexSelect(0, places);
          return tokenLogprobs(hidden, model.headWeight, on.targets.indexSelect(0, places), { temperature })[0];
        }),
      );
      const rollout = tensor(samples.flatMap(({ logprobs }) => logprobs));
      expect(rollout.numel).toBeGreaterThan(100);
      expect(difference(trainer, rollout)).toBeLessThan(1e-4);
      expect(difference(trainer, rollout.mul(0))).toBeGreaterThan(1);
      model.dispose();
    },
  );
});
