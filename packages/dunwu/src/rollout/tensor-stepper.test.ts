import { hasGraphs, liveTensors, noGrad, op, runtimeInfo, scope } from '@dunwu/torch';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { CausalModel } from '../model/causal-model.js';
import { TensorDecoder } from '../model/tensor-decoder.js';
import { moved } from '../model/testing/moved.js';
import { tinyDense, tinyModel } from '../model/testing/tiny.js';
import { ContinuousEngine, type DrawnToken, type Generated } from './continuous-engine.js';
import { RolloutEngine, type Sample } from './engine.js';
import { TensorStepper } from './tensor-stepper.js';
import { request } from './testing/requests.js';

const MODELS: [name: string, make: () => CausalModel][] = [
  ['latent attention', () => tinyModel(3)],
  ['grouped queries', () => tinyDense('qwen3', 3)],
];
/** A GPU where there is one, else what stands for one (native/stand_in.cpp): never both, of which one alone is libtorch's accelerator. */
const onGpu = runtimeInfo().cudaDevices > 0;
const OTHER = onGpu ? 'cuda' : (op('dunwu::stand_in')() as string);

describe.each(MODELS.map(([name, make]) => [name, OTHER, make] as const))('%s, on %s', (_name, place, make) => {
  let model: CausalModel;
  let elsewhere: CausalModel;
  beforeAll(() => {
    model = make();
    elsewhere = moved(model, place);
  });
  afterAll(() => {
    model.dispose();
    elsewhere.dispose();
  });

  const device = (maxRows = 8, maxTokens = 1000) => new ContinuousEngine(elsewhere, { maxRows, maxTokens });
  const processor = (maxRows = 8, maxTokens = 1000) => new ContinuousEngine(model, { maxRows, maxTokens });

  function expectSame(found: readonly Generated[], expected: readonly Generated[]): void {
    expect(found.map(({ tokens, reason }) => ({ tokens, reason }))).toEqual(
      expected.map(({ tokens, reason }) => ({ tokens, reason })),
    );
    found.forEach(({ logprobs }, i) => {
      logprobs.forEach((value, at) => {
        expect(value).toBeCloseTo(expected[i]?.logprobs[at] as number, 4);
      });
    });
  }

  it('a seed gives the tokens that it gives on the CPU, whatever the settings and the company', async () => {
    const all = Array.from({ length: 12 }, (_, i) => {
      if (i % 4 === 1) return request(i, { sampling: { temperature: 0.7, top_p: 0.9, top_k: 5, max_tokens: 10 } });
      if (i % 4 === 2) return request(i, { samples: 3, banned: [4, 7, 9] });
      if (i % 4 === 3)
        return request(i, { sampling: { temperature: 0, top_p: 1, top_k: 0, max_tokens: 20 }, stop: [] });
      return request(i, { stop: [] });
    });
    const [here, there] = [processor(), device()];
    const expected = await Promise.all(all.map((one) => here.generate(one)));
    const found = await Promise.all(all.map((one) => there.generate(one)));
    all.forEach((_, i) => {
      expectSame(found[i] ?? [], expected[i] ?? []);
    });
    expect(expected.flat().some(({ reason }) => reason === 'stop')).toBe(true);
    expect(there.load).toEqual({ waiting: 0, active: 0 });
    here.dispose();
    there.dispose();
  });

  it('others come, prompts in pieces among them, while one is decoded in recorded steps', async () => {
    const long = Array.from({ length: 50 }, (_, i) => i % 24);
    const all = async (engine: ContinuousEngine): Promise<Generated[]> => {
      const others: Promise<Generated[]>[] = [];
      let tokens = 0;
      const first = engine.generate(
        request(0, {
          stop: [],
          sampling: { temperature: 1, top_p: 1, top_k: 0, max_tokens: 50 },
          // Alone until it has 20 tokens, and again when the others are done.
          onToken: () => {
            if (++tokens !== 20) return undefined;
            for (let i = 0; i < 70; i++) {
              const sampling = { temperature: 1, top_p: 1, top_k: 0, max_tokens: 1 + (i % 3) };
              const more = { key: `many${i}`, stop: [], sampling, ...(i % 10 === 9 ? { tokens: long } : {}) };
              others.push(engine.generate(request(1, more)));
            }
            return undefined;
          },
        }),
      );
      const alone = await first;
      const generated = [...alone, ...(await Promise.all(others)).flat()];
      engine.dispose();
      return generated;
    };
    const [expected, found] = [await all(processor(80, 20_000)), await all(device(80, 20_000))];
    expect(expected).toHaveLength(71);
    expectSame(found, expected);
  });

  it('is told token by token, the likeliest beside it', async () => {
    const told = async (engine: ContinuousEngine) => {
      const list: DrawnToken[] = [];
      await engine.generate(
        request(1, {
          top: 3,
          stop: [],
          onToken: (drawn) => {
            list.push(drawn);
            return undefined;
          },
        }),
      );
      engine.dispose();
      return list;
    };
    const [found, expected] = [await told(device()), await told(processor())];
    expect(found.map(({ token }) => token)).toEqual(expected.map(({ token }) => token));
    found.forEach(({ own, top }, i) => {
      expect(own).toBeCloseTo(expected[i]?.own as number, 4);
      expect(top.map(([token]) => token)).toEqual(expected[i]?.top.map(([token]) => token));
      top.forEach(([, value], rank) => {
        expect(value).toBeCloseTo(expected[i]?.top[rank]?.[1] as number, 4);
      });
    });
  });

  it('steps of the same shape are computed as they are once, and from a graph after that', async () => {
    const compute = vi.spyOn(TensorDecoder.prototype, 'compute');
    // Replayed on a device that has graphs, called again on one that has none.
    const again = (count: number) => (hasGraphs(place) ? Math.min(count, 2) : count);
    const engine = device();
    await engine.generate(request(0, { stop: [], sampling: { temperature: 1, top_p: 1, top_k: 0, max_tokens: 9 } }));
    // A prompt of three tokens, then one token a step: all but the prompt's are of one shape, one column and one page.
    expect(compute.mock.calls.map(([shape]) => [shape.columns, shape.pagesEach])).toEqual([
      [3, 1],
      ...Array.from({ length: again(8) }, () => [1, 1]),
    ]);
    compute.mockClear();
    await Promise.all([0, 1, 2].map((i) => engine.generate(request(i, { stop: [], key: `x${i}` }))));
    // Three rows are padded to four; some columns are read before that.
    const shapes = compute.mock.calls.map(([shape]) => shape).filter(({ runs }) => runs[0]?.time === 1);
    expect(new Set(shapes.map(({ columns }) => columns))).toEqual(new Set([4, 2, 1]));
    engine.dispose();
    vi.restoreAllMocks();
  });

  it('a response that a stop token ends, a request taken out: the others go on, and pages come back', async () => {
    const served = device(2);
    const here = processor();
    const gone = new AbortController();
    const whole = (await here.generate(request(0, { stop: [] })))[0]?.tokens ?? [];
    const third = whole[2] as number;
    const first = served.generate(request(0, { stop: [third] }));
    const second = served.generate(
      request(1, { stop: [], signal: gone.signal, onToken: (_, __) => void gone.abort() }),
    );
    expect((await first)[0]).toMatchObject({ reason: 'stop', tokens: whole.slice(0, whole.indexOf(third) + 1) });
    expect((await second)[0]?.reason).toBe('cancelled');
    for (let i = 0; i < 4; i++) expectSame(await served.generate(request(i)), await here.generate(request(i)));
    served.dispose();
    here.dispose();
  });

  it('weights that are no numbers are told, and the next request is served', async () => {
    const broken = make();
    const there = moved(broken, place);
    const engine = new ContinuousEngine(there, { maxRows: 2, maxTokens: 100 });
    scope(() => noGrad(() => there.headWeight.fill_(Number.NaN)));
    const fail = () => expect(engine.generate(request(0))).rejects.toThrow('the logits of row 0 are not finite');
    await fail();
    const before = liveTensors();
    await fail();
    // The step that had begun by then is not left behind, nor the cache.
    expect(liveTensors()).toBe(before);
    scope(() => noGrad(() => there.headWeight.fill_(0.1)));
    expect((await engine.generate(request(0, { stop: [] })))[0]?.tokens).toHaveLength(8);
    engine.dispose();
    broken.dispose();
  });

  it.skipIf(onGpu)('a step is waited for once, whatever it draws; one that draws nothing never', async () => {
    const start = vi.spyOn(TensorStepper.prototype, 'start');
    const engine = device();
    op('dunwu::stand_in_waits')();
    const long = Array.from({ length: 50 }, (_, i) => i % 24);
    const sampling = { temperature: 0.8, top_p: 0.9, top_k: 5, max_tokens: 10 };
    await Promise.all([
      engine.generate(request(0, { tokens: [...long, ...long].slice(0, 54), samples: 6 })),
      engine.generate(request(1, { sampling, banned: [4, 7] })),
    ]);
    const drawing = start.mock.calls.filter(([, draws]) => draws.length > 0).length;
    expect(op('dunwu::stand_in_waits')()).toBe(drawing);
    engine.dispose();
    vi.restoreAllMocks();
  });

  it('leaves no tensor behind, whether length or a stop token ends the last response', async () => {
    const { tokens, sampling, key } = request(0);
    const once = (stop: number[]): Promise<Sample[]> =>
      new RolloutEngine(elsewhere).generate([{ tokens, samples: 1, key }], { sampling, seed: 5, stop });
    const [whole] = await once([]);
    const before = liveTensors();
    await once([]);
    expect(liveTensors()).toBe(before);
    // A step is in flight when it is drawn, and nobody is left who would read that.
    const [ended] = await once([whole?.tokens[2] as number]);
    expect(ended?.reason).toBe('stop');
    expect(liveTensors()).toBe(before);
  });
});
