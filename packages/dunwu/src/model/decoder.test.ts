import { getThreads, liveTensors, noGrad, scope, setThreads, type Tensor, tensor } from '@dunwu/torch';
import { afterEach, describe, expect, it } from 'vitest';
import type { CausalModel } from './causal-model.js';
import { Decoder, type DecoderType } from './decoder.js';
import { PagedCache, pagesFor } from './paged-cache.js';
import { adapted } from './testing/adapted.js';
import { difference, ids, rows, tinyDense, tinyModel } from './testing/tiny.js';

const threads = getThreads();
afterEach(() => setThreads(threads));

const V2 = { model_type: 'deepseek_v2', norm_topk_prob: false, topk_method: 'group_limited_greedy' };
const YARN = { type: 'yarn', factor: 4, original_max_position_embeddings: 16, mscale: 0.7, mscale_all_dim: 1 };
const MODELS: [name: string, make: () => CausalModel][] = [
  ['deepseek_v3', () => tinyModel(1)],
  [
    'deepseek_v3, queries not compressed, tied head, YaRN',
    () => tinyModel(2, { q_lora_rank: null, tie_word_embeddings: true, rope_scaling: YARN }),
  ],
  ['deepseek_v3, biases, half rotary layout', () => tinyModel(3, { attention_bias: true, rope_interleave: false })],
  ['deepseek_v3, no shared expert, one head', () => tinyModel(4, { n_shared_experts: null, num_attention_heads: 1 })],
  ['deepseek_v3, dense', () => tinyModel(5, { first_k_dense_replace: 3 })],
  ['deepseek_v3, eleven heads', () => tinyModel(6, { num_attention_heads: 11 })],
  ['deepseek_v2', () => tinyModel(7, V2 as object)],
  [
    'llama, one key for all heads, biases',
    () => tinyDense('llama', 8, { num_key_value_heads: 1, attention_bias: true, mlp_bias: true }),
  ],
  ['qwen2', () => tinyDense('qwen2', 9, { tie_word_embeddings: true })],
  ['qwen3, heads wider than their share', () => tinyDense('qwen3', 10, { head_dim: 6 })],
  ['deepseek_v3 with adapters', () => adapted(tinyModel(11))],
  ['qwen2 with adapters', () => adapted(tinyDense('qwen2', 12), { target_modules: ['k_proj', 'up_proj'] })],
];

/**
 * Reads the first tokens of each text in pieces, then decodes the others one by one, the sequences side by side.
 * @returns for each sequence, its logits at each position from that of the last token read
 */
function decode(
  model: CausalModel,
  texts: readonly (readonly number[])[],
  read: number,
  { dtype = 'float32' as DecoderType, piece = read } = {},
): number[][][] {
  const longest = Math.max(...texts.map(({ length }) => length));
  const pagesEach = pagesFor(longest);
  const decoder = new Decoder(model, dtype);
  const cache = new PagedCache(model.config, texts.length * pagesEach, dtype);
  model.reserve(longest);
  try {
    return scope(() => {
      const pages = Int32Array.from({ length: texts.length * pagesEach }, () => cache.take());
      const found: number[][][] = texts.map(() => []);
      const compute = (columns: readonly { row: number; at: number }[], wanted: readonly number[]): void => {
        const logits = decoder.step(
          {
            tokens: Int32Array.from(columns, ({ row, at }) => texts[row]?.[at] as number),
            lengths: Int32Array.from(columns, ({ at }) => at + 1),
            sequences: Int32Array.from(columns, ({ row }) => row),
            pages,
            pagesEach,
            wanted: Int32Array.from(wanted),
          },
          cache,
        );
        wanted.forEach((column, i) => {
          found[columns[column]?.row as number]?.push(logits.select(0, i).numbers());
        });
      };
      for (let from = 0; from < read; from += piece) {
        const to = Math.min(read, from + piece);
        const columns = texts.flatMap((_, row) => Array.from({ length: to - from }, (_, i) => ({ row, at: from + i })));
        compute(columns, to < read ? [] : columns.flatMap(({ at }, column) => (at === read - 1 ? [column] : [])));
      }
      for (let at = read; at < longest; at++) {
        const columns = texts.flatMap((text, row) => (at < text.length ? [{ row, at }] : []));
        compute(
          columns,
          columns.map((_, i) => i),
        );
      }
      return found;
    });
  } finally {
    cache.dispose();
    decoder.dispose();
  }
}

function whole(model: CausalModel, text: readonly number[]): Tensor {
  return noGrad(() => model.logits(model.forward({ tokens: ids([[...text]]) }).hidden));
}

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
    const model = make();
    const before = model.parameters().map(({ tensor: one }) => one.numbers());
    const [text = []] = rows(1, 40);
    const [steps = []] = decode(model, [text], 2, { dtype: 'bfloat16' });
    expect(model.parameters().map(({ tensor: one }) => one.numbers())).toEqual(before);
    scope(() =>
      noGrad(() => {
        for (const { kind, tensor: one } of model.parameters()) {
          if (kind === 'matrix' || kind === 'embedding') one.copy_(one.to('bfloat16').to('float32'));
        }
      }),
    );
    const expected = whole(model, text);
    const differences = steps
      .map((logits, i) => difference(tensor(Float32Array.from(logits)), expected.select(0, 1 + i)))
      .sort((x, y) => x - y);
    // Matrix units round activations too, to 8 bits; now and then that chooses another expert.
    const scale = expected.abs().amax().item();
    expect(differences[Math.floor(differences.length / 2)]).toBeLessThan(0.03 * scale);
    if (model.moeLayers.length === 0) expect(differences.at(-1)).toBeLessThan(0.06 * scale);
    model.dispose();
  });
});

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
