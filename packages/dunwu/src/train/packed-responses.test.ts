import { noGrad, scope, type Tensor, tensor, tokenLogprobs } from '@dunwu/torch';
import { describe, expect, it } from 'vitest';
import { setComputeType } from '../model/compute-type.js';
import { difference, gradientDifference, takeGradients, tinyDense, tinyModel } from '../model/testing/tiny.js';
import type { TrainingSequence } from './packed.js';
import { byPrompt, packResponses, responseTensors, splitResponses } from './packed-responses.js';

const numbers = (packed: ReturnType<typeof packResponses>) =>
  Object.fromEntries(Object.entries(packed).map(([name, array]) => [name, [...array]]));

describe('packResponses', () => {
  it('by hand: a shared prompt stands once, without its last token, and no sequence’s last token stands', () => {
    const packed = packResponses([
      { tokens: [10, 11, 12, 13, 14], promptLength: 3 },
      { tokens: [20, 21, 22], promptLength: 2 },
      { tokens: [10, 11, 12, 15], promptLength: 3 },
    ]);
    expect(numbers(packed)).toEqual({
      tokens: [10, 11, 12, 13, 12, 20, 21],
      positions: [0, 1, 2, 3, 2, 0, 1],
      starts: [0, 0, 2, 2, 4, 0, 0],
      counts: [2, 2, 1, 1, 1, 1, 1],
      bounds: [0, 5, 7],
      shared: [2, 0],
      places: [2, 3, 6, 4],
      owners: [0, 0, 1, 2],
      targets: [13, 14, 22, 15],
    });
  });

  it('by hand: a response without a token, a prompt of one token, one sequence twice', () => {
    const twice = { tokens: [5, 6, 7], promptLength: 2 };
    const packed = packResponses([
      { tokens: [5, 6], promptLength: 2 },
      twice,
      { tokens: [9, 1], promptLength: 1 },
      twice,
      { tokens: [9, 2], promptLength: 1 },
    ]);
    expect(numbers(packed)).toEqual({
      tokens: [5, 6, 6, 6, 9, 9],
      positions: [0, 1, 1, 1, 0, 0],
      starts: [0, 1, 2, 3, 0, 1],
      counts: [3, 0, 1, 1, 1, 1],
      bounds: [0, 4, 6],
      shared: [1, 0],
      places: [2, 4, 3, 5],
      owners: [1, 2, 3, 4],
      targets: [7, 1, 7, 2],
    });
  });

  it('what shares nothing is put together up to 128 tokens', () => {
    const long = (first: number, length: number): TrainingSequence => ({
      tokens: Array.from({ length }, (_, i) => first + i),
      promptLength: 4,
    });
    const { bounds, shared } = packResponses([long(0, 60), long(1, 60), long(2, 60), long(3, 300)]);
    expect([...bounds]).toEqual([0, 118, 177, 476]);
    expect([...shared]).toEqual([0, 0, 0]);
  });

  it('a sequence without a prompt is refused by name', () => {
    expect(() =>
      packResponses([
        { tokens: [1, 2], promptLength: 1 },
        { tokens: [1, 2], promptLength: 0 },
      ]),
    ).toThrow('sequence 1 has no prompt');
  });

  it('bundles keep the order of their first sequences', () => {
    const sequence = (prompt: number, response: number) => ({ tokens: [prompt, response], promptLength: 1 });
    const [a, b, c, d] = [sequence(7, 1), sequence(3, 2), sequence(7, 3), sequence(70, 1)];
    expect(byPrompt([a, b, c, d])).toEqual([[a, c], [b], [d]]);
  });
});

describe('splitResponses', () => {
  /** `count` responses of `response` tokens to a prompt of `prompt`. */
  const bundle = (first: number, prompt: number, response: number, count: number): TrainingSequence[] =>
    Array.from({ length: count }, () => ({
      tokens: [...new Array<number>(prompt).fill(first), ...new Array<number>(response).fill(0)],
      promptLength: prompt,
    }));
  const shapes = (parts: readonly TrainingSequence[][]) =>
    parts.map((part) => byPrompt(part).map((one) => [one[0]?.tokens[0], one.length]));

  it('by hand: bundles stay together where a part has room, and are cut only where none has', () => {
    // 9 shared + 4 · 5 = 29, 4 shared + 3 · 10 = 34, one of 5 + 5 − 1 = 9, and 9 shared + 8 · 5 = 49 tokens.
    const all = [...bundle(1, 10, 5, 4), ...bundle(2, 5, 10, 3), ...bundle(3, 5, 5, 1), ...bundle(4, 10, 5, 8)];
    expect(shapes(splitResponses(all, 43))).toEqual([
      [[1, 4]],
      [
        [2, 3],
        [3, 1],
      ],
      [[4, 6]],
      [[4, 2]],
    ]);
    expect(shapes(splitResponses(all, 63))).toEqual([
      [
        [1, 4],
        [2, 3],
      ],
      [
        [3, 1],
        [4, 8],
      ],
    ]);
    expect(
      shapes(splitResponses(all, 1))
        .flat()
        .map(([, count]) => count),
    ).toEqual(new Array(16).fill(1));
  });

  it('no part is laid longer than the limit but single sequences, and nothing is lost', () => {
    for (const limit of [1, 50, 100, 150, 400, 1000]) {
      const parts = splitResponses(sequences, limit);
      expect(new Set(parts.flat()).size).toBe(sequences.length);
      for (const part of parts) {
        if (part.length > 1) expect(packResponses(part).tokens.length).toBeLessThanOrEqual(limit);
      }
    }
  });
});

/** Responses of several lengths to prompts of several lengths, some of them alone. */
const sequences: TrainingSequence[] = [
  [7, 9],
  [1, 4],
  [7, 1],
  [90, 30],
  [3, 12],
  [7, 5],
  [90, 2],
  [7, 40],
  [90, 61],
].map(([prompt, response]) => ({
  tokens: [
    ...Array.from({ length: prompt as number }, (_, i) => (3 * i + (prompt as number)) % 24),
    ...Array.from({ length: response as number }, (_, i) => (5 * i * i + (response as number)) % 24),
  ],
  promptLength: prompt as number,
}));

const families = {
  deepseek: () => tinyModel(42, { v_head_dim: 6, max_position_embeddings: 160 }),
  qwen3: () => tinyDense('qwen3', 1, { max_position_embeddings: 160 }),
};

describe.each(Object.entries(families))('%s', (_, create) => {
  it.each([
    ['float32', 1e-5],
    ['bfloat16', 3e-2],
  ] as const)('in %s log-probabilities and gradients are those of the sequences one by one', (type, tolerance) => {
    const before = setComputeType(type);
    const model = create();
    const logprobs = (some: readonly TrainingSequence[]): Tensor => {
      const packed = packResponses(some);
      const hidden = model
        .forward(responseTensors(packed, 'cpu'))
        .hidden.indexSelect(0, tensor(packed.places).to('int64'));
      return tokenLogprobs(hidden, model.headWeight, tensor(packed.targets).to('int64'))[0];
    };
    const whole = ({ tokens, promptLength }: TrainingSequence): Tensor => {
      const row = tensor(Int32Array.from(tokens), { shape: [1, tokens.length] }).to('int64');
      const hidden = model.forward({ tokens: row.narrow(1, 0, tokens.length - 1) }).hidden;
      const targets = row.reshape([-1]).narrow(0, promptLength, tokens.length - promptLength);
      return tokenLogprobs(
        hidden.narrow(0, promptLength - 1, tokens.length - promptLength),
        model.headWeight,
        targets,
      )[0];
    };
    try {
      const together = scope(() => {
        const found = logprobs(sequences);
        found.square().sum().backward();
        return found.numbers();
      });
      const gradients = takeGradients(model);
      let at = 0;
      for (const one of sequences) {
        scope(() => {
          const expected = whole(one);
          expected.square().sum().backward();
          const part = tensor(together.slice(at, at + expected.numel));
          expect(difference(part, expected)).toBeLessThan(2 * tolerance);
        });
        at += one.tokens.length - one.promptLength;
      }
      expect(at).toBe(together.length);
      expect(gradientDifference(gradients, takeGradients(model))).toBeLessThan(tolerance);
    } finally {
      setComputeType(before);
      model.dispose();
    }
  });

  it('together they may be longer than the model’s limit, one of them not', () => {
    const model = create();
    const one = { tokens: new Array<number>(160).fill(3), promptLength: 100 };
    const read = (some: readonly TrainingSequence[]) =>
      scope(() => noGrad(() => model.forward(responseTensors(packResponses(some), 'cpu')).hidden.shape));
    expect(read([one, one, one])).toEqual([99 + 3 * 60, model.config.hidden_size]);
    const longer = { ...one, tokens: new Array<number>(162).fill(3) };
    expect(() => read([longer])).toThrow('sequences of 161 tokens exceed max_position_embeddings 160 of this model');
    model.dispose();
  });
});
