import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { full, noGrad, openCheckpoint, tensor } from '@dunwu/torch';
import { expect, test } from 'vitest';
import { type CausalModel, cacheWidth } from './causal-model.js';
import { loadModel, saveModel } from './checkpoint.js';
import { difference, ids, rows, tinyDense, tinyModel } from './testing/tiny.js';

const V2 = { model_type: 'deepseek_v2', norm_topk_prob: false, topk_method: 'group_limited_greedy' };
const MODELS: [name: string, make: () => CausalModel][] = [
  [
    'llama, one key for all heads',
    () => tinyDense('llama', 1, { num_key_value_heads: 1, attention_bias: true, mlp_bias: true }),
  ],
  ['qwen2', () => tinyDense('qwen2', 2, { tie_word_embeddings: true })],
  ['qwen3, heads wider than their share', () => tinyDense('qwen3', 3, { head_dim: 6 })],
  ['deepseek_v2', () => tinyModel(4, V2 as object)],
];

test.each(MODELS)('%s: decoding with the cache says what the whole text at once says', (_name, make) => {
  const model = make();
  const text = rows(3, 12);
  const tokens = ids(text);
  noGrad(() => {
    const whole = model.logits(model.forward({ tokens }).hidden).view([3, 12, -1]);
    const cache = model.cache(3, 12);
    model.forward({ tokens: tokens.narrow(1, 0, 5) }, { cache });
    for (let at = 5; at < 12; at++) {
      const next = tensor(BigInt64Array.from(text, (row) => BigInt(row[at] as number)));
      const positions = tensor(new BigInt64Array(3).fill(BigInt(at)), { shape: [3, 1] });
      const hidden = model.step(next, positions, cache, at + 1, full([3, 1, 1, at + 1], 0));
      expect(difference(model.logits(hidden), whole.select(1, at))).toBeLessThan(2e-5);
    }
    cache.dispose();
  });
  model.dispose();
});

test.each(MODELS)(
  '%s: a row alone says what it says in the batch, and later tokens change nothing before them',
  (_name, make) => {
    const model = make();
    const text = rows(3, 8);
    noGrad(() => {
      const logits = (tokens: number[][]) => model.logits(model.forward({ tokens: ids(tokens) }).hidden);
      const all = logits(text).view([3, 8, -1]);
      expect(difference(logits([text[1] as number[]]), all.select(0, 1))).toBeLessThan(1e-5);
      const changed = [[...(text[1] as number[]).slice(0, 7), 1 + (((text[1] as number[])[7] as number) % 20)]];
      expect(difference(logits(changed).narrow(0, 0, 7), all.select(0, 1).narrow(0, 0, 7))).toBeLessThan(1e-5);
    });
    model.dispose();
  },
);

test.each(MODELS)('%s: written and read again, the same, by the names that Hugging Face has', async (_name, make) => {
  const folder = mkdtempSync(join(tmpdir(), 'dunwu-families-'));
  const model = make();
  try {
    await saveModel(model, folder);
    const source = openCheckpoint(folder);
    const names = [...source.names];
    source.close();
    expect(names).not.toContainEqual(expect.stringMatching(/qkv_proj|gate_up_proj/));
    expect(names).toContain('model.layers.0.self_attn.o_proj.weight');
    const again = loadModel(folder);
    expect(again.config).toMatchObject({ ...model.config });
    const mine = new Map(model.parameters().map((one) => [one.name, one.tensor]));
    for (const { name, tensor: weight } of again.parameters()) {
      expect(difference(weight, mine.get(name) as typeof weight), name).toBe(0);
    }
    again.dispose();
  } finally {
    model.dispose();
    rmSync(folder, { recursive: true });
  }
});

test('numbers that a cache holds for a token of a layer', () => {
  expect(cacheWidth(tinyDense('llama', 1, { num_key_value_heads: 1 }).config)).toBe(2 * 4);
  expect(cacheWidth(tinyDense('qwen3', 1, { head_dim: 6 }).config)).toBe(2 * 2 * 6);
  expect(cacheWidth(tinyModel(1).config)).toBe(8 + 4);
});
