import { liveTensors, noGrad, op, scope, type Tensor } from '@dunwu/torch';
import { describe, expect, it } from 'vitest';
import type { CausalModel } from '../model/causal-model.js';
import { moved } from '../model/testing/moved.js';
import { ids, type TinyOverrides, tinyModel } from '../model/testing/tiny.js';
import { StreamingDecoder } from '../text/streaming-decoder.js';
import { RolloutEngine, type RolloutOptions, type RolloutPrompt, type Sample } from './engine.js';
import { samplingProbabilities } from './sampling.js';
import { SpeculativeEngine } from './speculative.js';

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
  sampling: { temperature: 0, top_p: 1, top_k: 0, max_tokens: 24, ...sampling },
  seed: 5,
  stop: [],
  ...rest,
});

const mtpModel = (seed: number, more: TinyOverrides = {}): CausalModel =>
  tinyModel(seed, { num_nextn_predict_layers: 1, ...more });

/**
 * Drafts that greedy decoding must have kept, worked out from whole rows without a cache: the module reads each token's
 * state and the token behind it, and its draft stands when it is the one that came.
 */
function draftsKept(model: CausalModel, samples: readonly Sample[]): number {
  return samples.reduce((sum, { prompt, tokens }) => {
    const all = [...(PROMPTS[prompt]?.tokens ?? []), ...tokens];
    const drafts = scope(() =>
      noGrad(() => {
        const input = { tokens: ids([all]) };
        const behind = ids([[...all.slice(1), 0]]);
        const [said] = model.predictions(model.forward(input).hidden, input, [behind]);
        return model
          .logits((said as { hidden: Tensor }).hidden)
          .argmax(-1)
          .numbers();
      }),
    );
    let kept = 0;
    for (let next = all.length - tokens.length + 1; next < all.length; next++) {
      if (drafts[next - 2] !== all[next]) continue;
      kept++;
      next++; // the token behind it came of the same step
    }
    return sum + kept;
  }, 0);
}

const largestDifference = (a: readonly Sample[], b: readonly Sample[]): number =>
  Math.max(...a.flatMap(({ logprobs }, i) => logprobs.map((x, j) => Math.abs(x - (b[i]?.logprobs[j] as number)))));

const plain = ({ prompt, sample, tokens, reason }: Sample) => ({ prompt, sample, tokens, reason });

describe('greedy decoding', () => {
  const models: [string, () => CausalModel][] = [
    ['experts', () => mtpModel(101)],
    ['other weights', () => mtpModel(102, { initializer_range: 0.2 })],
    ['two modules, of which the first drafts', () => mtpModel(103, { num_nextn_predict_layers: 2 })],
    ['no q compression, a dense block', () => mtpModel(104, { q_lora_rank: null, first_k_dense_replace: 9 })],
    ['tied', () => mtpModel(105, { tie_word_embeddings: true })],
    // Less far from uniform: more drafts are right.
    ['smaller weights', () => mtpModel(106, { initializer_range: 0.1 })],
  ];

  it.each(models)('%s: the tokens of plain decoding, one by one', async (_, make) => {
    const model = make();
    for (const stop of [[], [1, 4, 6, 12, 20]]) {
      const engine = new SpeculativeEngine(model);
      const given = options({}, { stop });
      const samples = await engine.generate(PROMPTS, given);
      const expected = await new RolloutEngine(model).generate(PROMPTS, given);
      expect(samples.map(plain)).toEqual(expected.map(plain));
      expect(largestDifference(samples, expected)).toBeLessThan(1e-4);
      const { drafted, accepted, steps, tokens } = engine.stats;
      expect(drafted).toBe(steps);
      expect(accepted).toBe(draftsKept(model, samples));
      // Every token but each row's first came of a step: one of each, and one more of those whose draft was kept, unless
      // the text had ended.
      expect(tokens).toBe(samples.reduce((sum, one) => sum + one.tokens.length - 1, 0));
      expect(tokens).toBeLessThanOrEqual(steps + accepted);
      expect(tokens).toBeGreaterThanOrEqual(steps + accepted - samples.length);
    }
    model.dispose();
  });

  it('a draft that is always right gives two tokens a step', async () => {
    const model = mtpModel(107);
    // A head of zeros: every logit ties, and both the model and the module say token 0.
    scope(() => noGrad(() => model.headWeight.zero_()));
    const engine = new SpeculativeEngine(model);
    const [sample] = await engine.generate([{ tokens: [5, 6], samples: 1, key: 'x' }], options({ max_tokens: 21 }));
    expect(sample?.tokens).toEqual(new Array(21).fill(0));
    expect(engine.stats).toEqual({ drafted: 10, accepted: 10, steps: 10, tokens: 20 });
    model.dispose();
  });

  it('one token, banned tokens, streamed tokens', async () => {
    const model = mtpModel(108);
    const seen: number[] = [];
    const given = options({ max_tokens: 9 }, { banned: [2, 3, 5, 7, 11] });
    const prompt = [PROMPTS[0] as RolloutPrompt].map((one) => ({ ...one, samples: 1 }));
    const [sample] = await new SpeculativeEngine(model).generate(prompt, {
      ...given,
      onToken: (token) => seen.push(token),
    });
    expect(seen).toEqual(sample?.tokens);
    expect(sample?.tokens.some((token) => given.banned?.includes(token))).toBe(false);
    const short = await new SpeculativeEngine(model).generate(prompt, options({ max_tokens: 1 }));
    expect(short[0]?.tokens.length).toBe(1);
    model.dispose();
  });

  it('stop strings end a response as they do without drafts', async () => {
    const model = mtpModel(105);
    const tokenizer = { stream: () => new StreamingDecoder((id) => Uint8Array.of(97 + id)) };
    const [free] = await new RolloutEngine(model).generate(PROMPTS, options());
    const letters = (free?.tokens ?? []).map((id) => String.fromCharCode(97 + id)).join('');
    const given = options({ stop: [letters.slice(7, 10)] }, { tokenizer });
    const samples = await new SpeculativeEngine(model).generate(PROMPTS, given);
    expect(samples.map(plain)).toEqual((await new RolloutEngine(model).generate(PROMPTS, given)).map(plain));
    expect(samples[0]).toMatchObject({
      reason: 'stop',
      tokens: free?.tokens.slice(0, letters.indexOf(letters.slice(7, 10)) + 3),
    });
    model.dispose();
  });

  it('up to the last position of the model', async () => {
    const model = mtpModel(109);
    const prompt = { tokens: [5, 6, 7, 8], samples: 2, key: 'x' };
    const given = options({ max_tokens: 60 });
    const samples = await new SpeculativeEngine(model).generate([prompt], given);
    expect(samples.map(plain)).toEqual((await new RolloutEngine(model).generate([prompt], given)).map(plain));
    await expect(new SpeculativeEngine(model).generate([prompt], options({ max_tokens: 61 }))).rejects.toThrow(
      "exceeds the model's max_position_embeddings 64",
    );
    model.dispose();
  });
});

describe('sampling', () => {
  it('does not depend on the rest of the batch; the same seed gives the same', async () => {
    const model = mtpModel(111);
    const given = options({ temperature: 1, top_p: 0.95 }, { stop: [1, 4] });
    const all = await new SpeculativeEngine(model).generate(PROMPTS, given);
    for (const maxRows of [1, 3]) {
      const again = await new SpeculativeEngine(model).generate(PROMPTS, { ...given, maxRows });
      expect(again.map(plain)).toEqual(all.map(plain));
    }
    const other = await new SpeculativeEngine(model).generate(PROMPTS, { ...given, seed: 6 });
    expect(other.map(plain)).not.toEqual(all.map(plain));
    expect(new Set(all.slice(3, 7).map(({ tokens }) => tokens.join(' '))).size).toBe(4);
    model.dispose();
  });

  it('the log-probabilities are those of the tempered distribution', async () => {
    const model = mtpModel(112);
    const prompt = PROMPTS[0] as RolloutPrompt;
    const samples = await new SpeculativeEngine(model).generate([prompt], options({ temperature: 0.7, top_k: 9 }));
    for (const { tokens, logprobs } of samples) {
      scope(() =>
        noGrad(() => {
          const logits = model.logits(model.forward({ tokens: ids([[...prompt.tokens, ...tokens]]) }).hidden).div(0.7);
          const all = logits.logSoftmax(-1).numbers();
          tokens.forEach((token, i) => {
            expect(all[(prompt.tokens.length - 1 + i) * 24 + token]).toBeCloseTo(logprobs[i] as number, 3);
          });
        }),
      );
    }
    model.dispose();
  });

  it.each([
    ['temperature 1', { temperature: 1 }],
    ['temperature 0.8, top-p 0.9, top-k 6', { temperature: 0.8, top_p: 0.9, top_k: 6 }],
  ])('%s: tokens are distributed as the model says, with a draft that is often wrong', async (_, sampling) => {
    const model = mtpModel(113);
    const N = 6000;
    const engine = new SpeculativeEngine(model);
    const given = options({ ...sampling, max_tokens: 3 });
    const samples = await engine.generate([{ tokens: [3, 9], samples: N, key: 'n' }], { ...given, maxRows: 2000 });
    const { accepted, drafted } = engine.stats;
    expect(accepted / drafted).toBeGreaterThan(0.05);
    expect(accepted / drafted).toBeLessThan(0.95);
    // What must come out: p(t₁) p(t₂ | t₁) p(t₃ | t₁ t₂), from whole rows.
    const shares = (rows: number[][]): number[][] =>
      scope(() =>
        noGrad(() => {
          const { hidden } = model.forward({ tokens: ids(rows) });
          const last = hidden.view([rows.length, -1, 16]).select(1, (rows[0] as number[]).length - 1);
          const all = samplingProbabilities(model.logits(last), given.sampling).numbers();
          return rows.map((_row, r) => all.slice(24 * r, 24 * (r + 1)));
        }),
      );
    const [one] = shares([[3, 9]]) as [number[]];
    const two = shares(one.map((_p, a) => [3, 9, a]));
    const three = shares(one.flatMap((_p, a) => one.map((_q, b) => [3, 9, a, b])));
    const expected = [0, 1, 2].map(() => new Array<number>(24).fill(0));
    one.forEach((p, a) => {
      (expected[0] as number[])[a] = p;
      (two[a] as number[]).forEach((q, b) => {
        (expected[1] as number[])[b] = ((expected[1] as number[])[b] as number) + p * q;
        (three[24 * a + b] as number[]).forEach((r, c) => {
          (expected[2] as number[])[c] = ((expected[2] as number[])[c] as number) + p * q * r;
        });
      });
    });
    expected.forEach((distribution, place) => {
      const found = new Array<number>(24).fill(0);
      for (const { tokens } of samples) {
        const token = tokens[place] as number;
        found[token] = (found[token] as number) + 1;
      }
      const cells = distribution.map((p, v) => [p * N, found[v] as number] as const).filter(([mean]) => mean > 5);
      const chi = cells.reduce((sum, [mean, count]) => sum + (count - mean) ** 2 / mean, 0);
      // Mean and deviation of χ² with n degrees of freedom: n and √2n. Five deviations above is one in a million.
      expect(chi).toBeLessThan(cells.length + 5 * Math.sqrt(2 * cells.length));
      for (const [v, p] of distribution.entries()) if (p === 0) expect(found[v]).toBe(0);
    });
    model.dispose();
  });
});

describe('housekeeping', () => {
  it('leaves no tensors behind, also when it is interrupted', async () => {
    const model = mtpModel(121);
    const engine = new SpeculativeEngine(model);
    await engine.generate(PROMPTS, options({ temperature: 1 }));
    const before = liveTensors();
    await engine.generate(PROMPTS, options({ temperature: 1 }, { stop: [1, 4, 6] }));
    await engine.generate(PROMPTS, options());
    const stop = new AbortController();
    let count = 0;
    const onToken = (): void => {
      if (++count === 30) stop.abort();
    };
    await expect(engine.generate(PROMPTS, options({}, { signal: stop.signal, onToken }))).rejects.toThrow(
      'interrupted',
    );
    expect(liveTensors()).toBe(before);
    model.dispose();
  });

  it('a model on a device is refused', () => {
    const model = mtpModel(122);
    const there = moved(model, op('dunwu::stand_in')() as string);
    expect(() => new SpeculativeEngine(there)).toThrow(
      `speculative decoding works on the CPU alone, and the model is on ${there.device}: decode without it there`,
    );
    there.dispose();
    model.dispose();
  });

  it('a model without a module is refused; empty prompts too', async () => {
    const without = tinyModel(122);
    expect(() => new SpeculativeEngine(without)).toThrow('no module of multi-token prediction to draft with');
    without.dispose();
    const model = mtpModel(123);
    const none = [{ tokens: [], samples: 1, key: 'x' }];
    await expect(new SpeculativeEngine(model).generate(none, options())).rejects.toThrow('prompt 0 is empty');
    model.dispose();
  });
});
