import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { CausalModel } from '../model/causal-model.js';
import { tinyDense, tinyModel } from '../model/testing/tiny.js';
import { cutAtStop } from '../text/stop-strings.js';
import { StreamingDecoder } from '../text/streaming-decoder.js';
import { ContinuousEngine, type DrawnToken, type GenerationRequest } from './continuous-engine.js';
import { RolloutEngine } from './engine.js';
import { request } from './testing/requests.js';

const MODELS: [name: string, make: () => CausalModel][] = [
  ['latent attention', () => tinyModel(3)],
  ['grouped queries', () => tinyDense('qwen3', 3)],
];

/** A hand-made reading of the 24 tokens: letters, pairs of them, and the bytes of 苹 and 果, one token each. */
const TOKENS = [...'abcdefgh', 'ab', 'ba', 'cab', 'hg', 'e ', ' f', 'dd', 'gab', '一', '二'].map((text) => [
  ...new TextEncoder().encode(text),
]);
for (const byte of new TextEncoder().encode('苹果')) TOKENS.push([byte]);
const SPELLED = {
  stream: () => new StreamingDecoder((id) => Uint8Array.from(TOKENS[id] ?? [])),
  decode(tokens: readonly number[]): string {
    const decoder = SPELLED.stream();
    return tokens.map((id) => decoder.push(id)).join('');
  },
};

describe.each(MODELS)('%s', (_name, make) => {
  let model: CausalModel;
  beforeAll(() => {
    model = make();
  });
  afterAll(() => model.dispose());

  const engine = (maxRows = 4, maxTokens = 1000) => new ContinuousEngine(model, { maxRows, maxTokens });
  /** What the engine for rollouts says to the same request alone. */
  const alone = async (one: GenerationRequest) =>
    (
      await new RolloutEngine(model).generate([{ tokens: one.tokens, samples: one.samples ?? 1, key: one.key }], {
        sampling: one.sampling,
        seed: one.seed,
        stop: one.stop,
        ...(one.tokenizer === undefined ? {} : { tokenizer: one.tokenizer }),
      })
    ).map(({ tokens, logprobs, reason }) => ({ tokens, logprobs, reason }));
  const plain = (generated: readonly { tokens: readonly number[]; logprobs: readonly number[]; reason: string }[]) =>
    generated.map(({ tokens, logprobs, reason }) => ({ tokens, logprobs, reason }));

  it('a request gets what it gets alone, to the last bit, whatever else is in the batch and whenever it comes', async () => {
    const served = engine();
    const all = Array.from({ length: 12 }, (_, i) =>
      request(i, i % 3 === 0 ? { sampling: { temperature: 0.7, top_p: 0.9, top_k: 5, max_tokens: 10 } } : {}),
    );
    const answers = await Promise.all(
      all.map(async (one, i) => {
        for (let wait = 0; wait < 3 * i; wait++) await new Promise((resolve) => setImmediate(resolve));
        return served.generate(one);
      }),
    );
    for (const [i, one] of all.entries()) expect(plain(answers[i] ?? [])).toEqual(await alone(one));
    expect(served.load).toEqual({ waiting: 0, active: 0 });
  });

  it('several samples of one prompt, told token by token with their log-probabilities', async () => {
    const told: [number, number, number][] = [];
    const one = request(1, {
      samples: 3,
      top: 2,
      onToken: ({ token, logprob, top }, sample) => {
        told.push([sample, token, logprob]);
        expect(top).toHaveLength(2);
        expect(top[0]?.[1]).toBeGreaterThanOrEqual(top[1]?.[1] as number);
        expect(logprob).toBeLessThanOrEqual((top[0]?.[1] as number) + 1e-6);
      },
    });
    const answers = await engine().generate(one);
    expect(plain(answers)).toEqual(await alone({ ...one, samples: 3 }));
    for (const [sample, { tokens, logprobs }] of answers.entries()) {
      const own = told.filter(([s]) => s === sample);
      expect(own.map(([, token]) => token)).toEqual(tokens);
      expect(own.map(([, , logprob]) => logprob)).toEqual(logprobs);
    }
  });

  it.each([0, 0.4, 1, 2])(
    'at temperature %d: the tempered log-probability, and the model’s own',
    async (temperature) => {
      const told: DrawnToken[] = [];
      const vocabulary = model.config.vocab_size;
      await engine().generate(
        request(1, {
          sampling: { temperature, top_p: 1, top_k: 3, max_tokens: 4 },
          stop: [],
          top: vocabulary,
          onToken: (drawn) => {
            told.push(drawn);
          },
        }),
      );
      expect(told).toHaveLength(4);
      for (const { token, logprob, own, top } of told) {
        expect(own).toBeCloseTo(new Map(top).get(token) as number, 5);
        const heat = temperature === 0 ? 1 : temperature;
        const mass = top.reduce((sum, [, value]) => sum + Math.exp(value / heat), 0);
        expect(logprob).toBeCloseTo(own / heat - Math.log(mass), 4);
      }
    },
  );

  it('waits for room, in the order of coming, and never holds more than it may', async () => {
    const served = engine(2, 60);
    const order: number[] = [];
    let most = 0;
    const watch = (i: number) =>
      request(i, {
        sampling: { temperature: 1, top_p: 1, top_k: 0, max_tokens: 12 },
        stop: [],
        onToken: () => {
          if (!order.includes(i)) order.push(i);
          most = Math.max(most, served.load.active);
        },
      });
    await Promise.all([0, 1, 2, 3, 4, 5].map((i) => served.generate(watch(i))));
    expect(order).toEqual([0, 1, 2, 3, 4, 5]);
    expect(most).toBe(2);
  });

  it('a signal takes a request out, waiting or not, and the others go on', async () => {
    const served = engine(2);
    const [gone, late] = [new AbortController(), new AbortController()];
    const first = served.generate(request(0));
    const second = served.generate(request(1, { stop: [], signal: gone.signal, onToken: () => gone.abort() }));
    const third = served.generate(request(2, { signal: late.signal }));
    late.abort();
    expect(plain(await first)).toEqual(await alone(request(0)));
    const [cut] = await second;
    expect(cut?.reason).toBe('cancelled');
    expect(cut?.tokens.length).toBeLessThan(4);
    expect(await third).toEqual([{ tokens: [], logprobs: [], reason: 'cancelled' }]);
    expect(plain(await served.generate(request(3)))).toEqual(await alone(request(3)));
  });

  it('a listener that throws, and a token that there is not, fail their own request alone', async () => {
    const served = engine();
    const bad = served.generate(
      request(0, {
        onToken: () => {
          throw new Error('mine');
        },
      }),
    );
    const wrong = served.generate(request(1, { tokens: [1, 9999] }));
    const good = served.generate(request(2));
    await Promise.all([
      expect(bad).rejects.toThrow('mine'),
      expect(wrong).rejects.toThrow("the prompt has the token 9999; the model's are 0 to 23"),
    ]);
    expect(plain(await good)).toEqual(await alone(request(2)));
    expect(served.load).toEqual({ waiting: 0, active: 0 });
  });

  it('a long prompt is read in pieces, while others go on', async () => {
    const served = engine(300, 20_000);
    const long = request(0, { tokens: Array.from({ length: 50 }, (_, i) => i % 24) });
    const many = Array.from({ length: 250 }, (_, i) => request(1, { key: `many${i}`, stop: [] }));
    const answers = await Promise.all([...many.map((one) => served.generate(one)), served.generate(long)]);
    expect(plain(answers.at(-1) ?? [])).toEqual(await alone(long));
    expect(plain(answers[7] ?? [])).toEqual(await alone(many[7] as GenerationRequest));
  });

  it('closed: those who wait are told, and nothing is taken any more', async () => {
    const served = engine();
    const told = expect(served.generate(request(0))).rejects.toThrow('the engine is closed');
    served.dispose();
    await told;
    await expect(served.generate(request(0))).rejects.toThrow('the engine is closed');
  });

  it.each([
    [{ tokens: [] }, 'the prompt is empty'],
    [{ samples: 0 }, 'samples must be at least 1'],
    [{ samples: 9 }, '9 samples at once are more than the 4'],
    [{ sampling: { temperature: 1, top_p: 1, top_k: 0, max_tokens: 62 } }, "exceed the model's 64 positions"],
    [{ samples: 4, sampling: { temperature: 1, top_p: 1, top_k: 0, max_tokens: 50 } }, 'are more than the 100'],
  ])('%j can never be served: %s', async (more, message) => {
    expect(engine(4, 100).problem(request(0, more))).toContain(message);
    await expect(engine(4, 100).generate(request(0, more))).rejects.toThrow(message);
  });

  it('stop strings: a response ends with the token that completes one, in any company', async () => {
    const sampling = { temperature: 1, top_p: 1, top_k: 0, max_tokens: 40 };
    const free = await alone(request(0, { sampling, samples: 3, stop: [] }));
    const text = SPELLED.decode(free[0]?.tokens ?? []);
    // Over several tokens; one that is near the beginning of all; one that no response has.
    for (const stop of [[text.slice(9, 13)], [text.slice(20, 22), text.slice(6, 8)], ['果'], ['nowhere']]) {
      const one = request(0, { sampling: { ...sampling, stop }, samples: 3, stop: [], tokenizer: SPELLED });
      const expected = free.map(({ tokens, logprobs }) => {
        const lengths = tokens.map((_, i) => i + 1);
        const length = lengths.find((n) => stop.some((one) => SPELLED.decode(tokens.slice(0, n)).includes(one)));
        return {
          tokens: tokens.slice(0, length),
          logprobs: logprobs.slice(0, length),
          reason: length === undefined ? 'length' : 'stop',
        };
      });
      const served = engine();
      const [answers] = await Promise.all([one, request(1), request(2)].map((each) => served.generate(each)));
      expect(plain(answers ?? [])).toEqual(expected);
      expect(await alone(one)).toEqual(expected);
    }
    const cut = await alone(
      request(0, { sampling: { ...sampling, stop: [text.slice(9, 13)] }, stop: [], tokenizer: SPELLED }),
    );
    expect(cut[0]?.reason).toBe('stop');
    expect(cutAtStop(SPELLED.decode(cut[0]?.tokens ?? []), [text.slice(9, 13)])).toBe(
      text.slice(0, text.indexOf(text.slice(9, 13))),
    );
    await expect(engine().generate(request(0, { sampling: { ...sampling, stop: ['a'] } }))).rejects.toThrow(
      'sampling.stop needs the tokenizer',
    );
  });

  it('what can be served has no problem', () => {
    expect(engine().problem(request(0))).toBeNull();
  });
});
