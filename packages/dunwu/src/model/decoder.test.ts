import { getThreads, liveTensors, noGrad, scope, setThreads, tensor } from '@dunwu/torch';
import { afterEach, describe, expect, it } from 'vitest';
import { Decoder } from './decoder.js';
import { PagedCache } from './paged-cache.js';
import { decode, MODELS, whole } from './testing/decoding.js';
import { expectRounded } from './testing/rounded.js';
import { difference, rows, tinyModel } from './testing/tiny.js';

const threads = getThreads();
afterEach(() => setThreads(threads));

describe.each(MODELS)('%s', (_name, make) => {
  it('says what the whole text at once says, for texts of several lengths over several pages', () => {
    const model = make();
    const texts = rows(5, 40).map((text, i) => text.slice(0, 40 - 3 * i));
    decode(model, texts, 19, { piece: 7 }).forEach((steps, row) => {
      const expected = whole(model, texts[row] as number[]);
      expect(steps.length).toBe((texts[row] as number[]).length - 18);
      steps.forEach((logits, i) => {
        expect(difference(tensor(Float32Array.from(logits)), expected.select(0, 18 + i))).toBeLessThan(4e-5);
      });
    });
    model.dispose();
  });

  it('alone, in company, read in pieces or at once, on another number of threads: the same bits', () => {
    const model = make();
    const texts = rows(37, 24);
    setThreads(2);
    const together = decode(model, texts, 18);
    setThreads(1);
    expect(decode(model, texts, 18, { piece: 5 })).toEqual(together);
    expect(decode(model, [texts[20] as number[]], 18)[0]).toEqual(together[20]);
    expect(decode(model, [texts[20] as number[]], 1)[0]?.slice(17)).toEqual(together[20]);
    model.dispose();
  });

  it('with bfloat16 weights: near to float32 with the weights so rounded; the model stays as it was', () => {
    expectRounded(make, Decoder);
  });
});

it.each(MODELS)(
  '%s, in bfloat16: alone, in company and on two threads the same bits; what lies in a page beyond a text does not matter',
  (_, make) => {
    const model = make();
    const texts = rows(9, 24);
    const together = decode(model, texts, 18, { dtype: 'bfloat16' });
    expect(decode(model, [texts[4] as number[]], 5, { dtype: 'bfloat16' })[0]?.slice(13)).toEqual(together[4]);
    expect(decode(model, texts, 18, { dtype: 'bfloat16', before: (layer) => void layer.fill_(Number.NaN) })).toEqual(
      together,
    );
    model.dispose();
  },
);

it('leaves no tensor behind', () => {
  const model = tinyModel(1);
  whole(model, [1, 2, 3]);
  const before = liveTensors();
  decode(model, rows(3, 20), 2, { dtype: 'bfloat16' });
  expect(liveTensors()).toBe(before);
  model.dispose();
});

it('refuses tokens, lengths and pages that are not there', () => {
  const model = tinyModel(1);
  const decoder = new Decoder(model);
  const pages = new PagedCache(model.config, 2);
  const page = pages.take();
  const step =
    (token: number, length: number, of: number[], wanted = 0) =>
    () =>
      scope(() =>
        decoder.step(
          {
            tokens: Int32Array.of(token),
            lengths: Int32Array.of(length),
            sequences: Int32Array.of(0),
            pages: Int32Array.from(of),
            pagesEach: of.length,
            wanted: Int32Array.of(wanted),
          },
          pages,
        ),
      );
  expect(step(1, 1, [page])).not.toThrow();
  expect(step(model.config.vocab_size, 1, [page])).toThrow(`decoder: token ${model.config.vocab_size} of`);
  expect(step(-1, 1, [page])).toThrow('decoder: token -1 of');
  expect(step(1, 0, [page])).toThrow('column 0 has 0 tokens');
  expect(step(1, 17, [page])).toThrow('column 0 has 17 tokens');
  expect(step(1, 1, [2])).toThrow('names page 2 of 2');
  expect(step(1, 1, [-1])).toThrow('names page -1 of 2');
  expect(step(1, 1, [page], 1)).toThrow('wanted column 1 of 1');
  decoder.dispose();
  expect(step(1, 1, [page])).toThrow('there is no decoder');
  pages.dispose();
  model.dispose();
});

it('weights that are no numbers give logits that are none, and harm nothing: each choice of an expert is another', () => {
  const model = tinyModel(1, { num_experts_per_tok: 8, n_group: 1, topk_group: 1 });
  scope(() => noGrad(() => model.headWeight.fill_(Number.NaN)));
  const embedding = model.parameters().find(({ name }) => name === 'model.embed_tokens.weight');
  scope(() => noGrad(() => embedding?.tensor.fill_(Number.NaN)));
  const steps = decode(model, rows(40, 6), 3).flat(2);
  expect(steps.every(Number.isNaN)).toBe(true);
  model.dispose();
});
