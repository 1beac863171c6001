import { liveTensors, noGrad, scope } from '@dunwu/torch';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { CausalModel } from '../model/causal-model.js';
import { Decoder } from '../model/decoder.js';
import { PagedCache } from '../model/paged-cache.js';
import { ids, type TinyOverrides, tinyModel } from '../model/testing/tiny.js';
import { RolloutEngine, type RolloutOptions, type RolloutPrompt } from './engine.js';
import { SequenceRandom, sampleTokens } from './sampling.js';

afterEach(() => {
  vi.restoreAllMocks();
});

const PROMPTS: RolloutPrompt[] = [
  { tokens: [3, 9, 14, 2, 7, 11], samples: 3, key: 'a' },
  { tokens: [5], samples: 4, key: 'b' },
  { tokens: [8, 8, 21, 17], samples: 1, key: 'c' },
  { tokens: [3, 9, 14], samples: 2, key: 'd' },
];

const options = (
  sampling: Partial<RolloutOptions['sampling']> = {},
  rest: Partial<RolloutOptions> = {},
): RolloutOptions => ({
  sampling: { temperature: 1, top_p: 1, top_k: 0, max_tokens: 24, ...sampling },
  seed: 5,
  stop: [],
  ...rest,
});

/** What the engine must give, one sequence at a time and without a cache: every step computes all tokens again. */
function recompute(model: CausalModel, prompts: readonly RolloutPrompt[], { sampling, seed, stop }: RolloutOptions) {
  return prompts.flatMap(({ tokens: prompt, samples, key }, p) =>
    Array.from({ length: samples }, (_, s) => {
      const random = new SequenceRandom(seed, `${key}/${s}`);
      const tokens: number[] = [];
      const logprobs: number[] = [];
      while (tokens.length < sampling.max_tokens && !stop.includes(tokens.at(-1) ?? -1)) {
        scope(() =>
          noGrad(() => {
            const all = [...prompt, ...tokens];
            const { hidden } = model.forward({ tokens: ids([all]) });
            const logits = model.logits(hidden.narrow(0, all.length - 1, 1));
            const drawn = sampleTokens(logits, sampling.temperature === 0 ? [] : [random.next()], sampling);
            tokens.push(drawn.tokens.item());
            logprobs.push(drawn.logprobs.item());
          }),
        );
      }
      return { prompt: p, sample: s, tokens, logprobs };
    }),
  );
}

const largestDifference = (a: readonly { logprobs: number[] }[], b: readonly { logprobs: number[] }[]): number =>
  Math.max(...a.flatMap(({ logprobs }, i) => logprobs.map((x, j) => Math.abs(x - (b[i]?.logprobs[j] as number)))));

const VARIANTS: [string, TinyOverrides][] = [
  ['mixture of experts', {}],
  ['dense', { first_k_dense_replace: 3 }],
  [
    'no q compression, YaRN, biases, half rotary layout',
    {
      q_lora_rank: null,
      attention_bias: true,
      rope_interleave: false,
      rope_scaling: { type: 'yarn', factor: 4, original_max_position_embeddings: 16, mscale_all_dim: 1 },
    },
  ],
];

describe('cached decoding is recomputing', () => {
  it.each(VARIANTS)('%s: the same tokens, log-probabilities within 1e-4', async (_, overrides) => {
    const model = tinyModel(31, overrides);
    const engine = new RolloutEngine(model);
    for (const sampling of [{ temperature: 0 }, { temperature: 1 }, { temperature: 0.7, top_p: 0.9, top_k: 12 }]) {
      // Five ids that end a text: about one token in five, so rows end at all times and the batch is compacted.
      const given = options(sampling, sampling.temperature === 0 ? {} : { stop: [1, 4, 6, 12, 20] });
      const samples = await engine.generate(PROMPTS, given);
      const expected = recompute(model, PROMPTS, given);
      expect(samples.map(({ prompt, sample, tokens }) => ({ prompt, sample, tokens }))).toEqual(
        expected.map(({ prompt, sample, tokens }) => ({ prompt, sample, tokens })),
      );
      expect(largestDifference(samples, expected)).toBeLessThan(1e-4);
    }
    model.dispose();
  });
});

describe('what a sample does not depend on', () => {
  it('the rest of the batch, maxRows, the order of the prompts', async () => {
    const model = tinyModel(32);
    const engine = new RolloutEngine(model);
    const given = options({}, { stop: [1, 4] });
    const all = await engine.generate(PROMPTS, given);
    for (const maxRows of [1, 3, 5]) {
      const again = await engine.generate(PROMPTS, { ...given, maxRows });
      expect(again.map(({ tokens }) => tokens)).toEqual(all.map(({ tokens }) => tokens));
      expect(largestDifference(again, all)).toBe(0);
    }
    const alone = await engine.generate([PROMPTS[1] as RolloutPrompt], given);
    expect(alone.map(({ tokens }) => tokens)).toEqual(all.slice(3, 7).map(({ tokens }) => tokens));
    const reversed = await engine.generate([...PROMPTS].reverse(), given);
    expect(reversed.filter(({ prompt }) => prompt === 2).map(({ tokens }) => tokens)).toEqual(
      all.slice(3, 7).map(({ tokens }) => tokens),
    );
    model.dispose();
  });

  it('the samples of a group differ from each other; the same seed and keys give the same again, other seeds do not', async () => {
    const model = tinyModel(33);
    const engine = new RolloutEngine(model);
    const group = [{ tokens: [5, 6], samples: 16, key: 'g' }];
    const texts = async (seed: number): Promise<string[]> =>
      (await engine.generate(group, options({}, { seed }))).map(({ tokens }) => tokens.join(' '));
    const first = await texts(1);
    expect(new Set(first).size).toBe(16);
    expect(await texts(1)).toEqual(first);
    expect((await texts(2)).filter((text) => first.includes(text))).toEqual([]);
    model.dispose();
  });
});

describe('how a response ends', () => {
  it('stop: the end token is its last; length: max_tokens and no end token', async () => {
    const model = tinyModel(34);
    const stop = [1, 4, 6];
    const samples = await new RolloutEngine(model).generate(
      [{ tokens: [2, 3], samples: 64, key: 'x' }],
      options({ max_tokens: 6 }, { stop }),
    );
    const ended = samples.filter(({ reason }) => reason === 'stop');
    expect(ended.length).toBeGreaterThan(10);
    expect(ended.length).toBeLessThan(60);
    for (const { tokens, logprobs, reason } of samples) {
      expect(tokens.filter((token) => stop.includes(token))).toEqual(reason === 'stop' ? [tokens.at(-1)] : []);
      if (reason === 'length') expect(tokens.length).toBe(6);
      expect(logprobs.length).toBe(tokens.length);
      expect(Math.max(...logprobs)).toBeLessThanOrEqual(0);
    }
    model.dispose();
  });

  it('finished sequences cost nothing: each token but a last one is computed once, a prompt once for all', async () => {
    const model = tinyModel(35);
    const columns: number[] = [];
    const step = Decoder.prototype.step;
    vi.spyOn(Decoder.prototype, 'step').mockImplementation(function (this: Decoder, ...given) {
      columns.push(given[0].tokens.length);
      return step.apply(this, given);
    });
    const samples = await new RolloutEngine(model).generate(
      [{ tokens: [2, 3], samples: 64, key: 'x' }],
      options({ max_tokens: 40 }, { stop: [1, 4, 6] }),
    );
    const expected = Array.from({ length: 39 }, (_, i) => samples.filter(({ tokens }) => tokens.length > i + 1).length);
    expect(columns).toEqual([2, ...expected.filter((count) => count > 0)]);
    expect(expected.some((count) => count > 0 && count < 10)).toBe(true);
    model.dispose();
  });

  it('a group keeps the whole pages of its prompt once, and gives all pages back', async () => {
    const model = tinyModel(36);
    const used: number[] = [];
    const caches = new Set<PagedCache>();
    const take = PagedCache.prototype.take;
    vi.spyOn(PagedCache.prototype, 'take').mockImplementation(function (this: PagedCache) {
      const page = take.call(this);
      caches.add(this);
      used.push(this.used);
      return page;
    });
    // 35 tokens: two whole pages, and three tokens in a third, which each of the 5 samples has for itself.
    const tokens = Array.from({ length: 35 }, (_, i) => i % 24);
    await new RolloutEngine(model).generate([{ tokens, samples: 5, key: 'x' }], options({ max_tokens: 13 }));
    expect(Math.max(...used)).toBe(2 + 5);
    expect([...caches].map((cache) => cache.used)).toEqual([0]);
    model.dispose();
  });

  it('one token is the least', async () => {
    const model = tinyModel(36);
    const [sample] = await new RolloutEngine(model).generate(
      [{ tokens: [2], samples: 1, key: 'x' }],
      options({ max_tokens: 1 }),
    );
    expect([sample?.tokens.length, sample?.reason]).toEqual([1, 'length']);
    model.dispose();
  });

  it('up to the very end of the model’s positions', async () => {
    const model = tinyModel(37);
    const tokens = Array.from({ length: 40 }, (_, i) => i % 24);
    const [sample] = await new RolloutEngine(model).generate([{ tokens, samples: 1, key: 'x' }], options());
    expect(sample?.tokens.length).toBe(24);
    model.dispose();
  });
});

describe('errors, progress, memory', () => {
  it('names the prompt that cannot be', async () => {
    const model = tinyModel(38);
    const engine = new RolloutEngine(model);
    const good = { tokens: [1], samples: 1, key: '' };
    await expect(engine.generate([good, { ...good, tokens: [] }], options())).rejects.toThrow('prompt 1 is empty');
    await expect(engine.generate([{ ...good, samples: 0 }], options())).rejects.toThrow(
      'prompt 0: samples must be at least 1, got 0',
    );
    await expect(engine.generate([{ ...good, tokens: new Array(41).fill(1) }], options())).rejects.toThrow(
      "prompt 0 has 41 tokens; with max_tokens 24 that exceeds the model's max_position_embeddings 64",
    );
    expect(await engine.generate([], options())).toEqual([]);
    model.dispose();
  });

  it('an aborted signal ends it, and nothing stays in memory', async () => {
    const model = tinyModel(39);
    const engine = new RolloutEngine(model);
    const controller = new AbortController();
    const before = liveTensors();
    const steps: number[] = [];
    const running = engine.generate(PROMPTS, {
      ...options(),
      signal: controller.signal,
      onProgress: (_finished, _total, tokens) => {
        steps.push(tokens);
        if (tokens >= 30) controller.abort();
      },
    });
    await expect(running).rejects.toThrow('generation was interrupted');
    expect(steps).toEqual([10, 20, 30]);
    expect(liveTensors()).toBe(before);
    model.dispose();
  });

  it('progress counts sequences and tokens to the end; no tensor is left over', async () => {
    const model = tinyModel(40);
    const engine = new RolloutEngine(model);
    await engine.generate(PROMPTS, options()); // makes what is made once
    const before = liveTensors();
    const seen: number[][] = [];
    const samples = await engine.generate(PROMPTS, {
      ...options({ max_tokens: 10 }, { stop: [1, 4], maxRows: 4 }),
      onProgress: (...values) => seen.push(values),
    });
    expect(liveTensors()).toBe(before);
    expect(seen.at(-1)).toEqual([10, 10, samples.reduce((sum, { tokens }) => sum + tokens.length, 0)]);
    expect(seen.every(([finished], i) => (finished as number) >= (seen[i - 1]?.[0] ?? 0))).toBe(true);
    model.dispose();
  });
});
