import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { liveTensors, op, openCheckpoint, runtimeInfo, scope, type Tensor, writeCheckpoint } from '@dunwu/torch';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { saveAdapter } from './adapter-folder.js';
import { CausalModel } from './causal-model.js';
import { loadModel, saveModel } from './checkpoint.js';
import { setComputeType } from './compute-type.js';
import { DecodingModel, loadForDecoding, loadMerged } from './decoding-model.js';
import { modelSize } from './size.js';
import { TensorDecoder } from './tensor-decoder.js';
import { adapted } from './testing/adapted.js';
import { decode, MODELS } from './testing/decoding.js';
import { rows, tinyDense, tinyModel } from './testing/tiny.js';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'dunwu-decoding-'));
  setComputeType('bfloat16');
});
afterEach(() => {
  setComputeType('float32');
  rmSync(folder, { recursive: true });
});

const texts = rows(5, 24);
const OTHER = runtimeInfo().cudaDevices > 0 ? 'cuda' : (op('dunwu::stand_in')() as string);

describe.each(MODELS.filter(([name]) => !name.includes('adapters')))('%s', (_name, make) => {
  it('gives the logits of the model that is there in float32, bit for bit', async () => {
    const model = make();
    await saveModel(model, folder);
    const decoding = loadForDecoding(folder);
    expect(decoding).toBeInstanceOf(DecodingModel);
    expect(decode(decoding, texts, 18, { dtype: 'bfloat16', piece: 5 })).toEqual(
      decode(model, texts, 18, { dtype: 'bfloat16', piece: 5 }),
    );
    model.dispose();
    decoding.dispose();
  });
});

it.each([
  ['untied', tinyModel(1)],
  ['tied', tinyDense('qwen2', 2, { tie_word_embeddings: true })],
])('%s: every weight is there once, in bfloat16 but for vectors and the router', async (_, model) => {
  await saveModel(model, folder);
  const decoding = loadForDecoding(folder);
  const parts = Object.values(decoding.decoderParts()) as Tensor[];
  const size = modelSize(model.config);
  const vectors = model.parameters().filter(({ kind }) => kind === 'vector' || kind === 'buffer' || kind === 'router');
  const exact = vectors.reduce((sum, { tensor }) => sum + tensor.numel, 0);
  expect(parts.reduce((sum, part) => sum + part.numel * (part.dtype === 'bfloat16' ? 2 : 4), 0)).toBe(
    2 * (size.total - exact) + 4 * exact,
  );
  model.dispose();
  decoding.dispose();
});

it('with an adapter: the logits of the merged weights, rounded once', async () => {
  const base = tinyDense('qwen2', 12);
  await saveModel(base, folder);
  const model = adapted(base, { target_modules: ['k_proj', 'up_proj'] });
  await saveAdapter(model, join(folder, 'adapter'));
  const found = loadForDecoding(folder, 'cpu', join(folder, 'adapter'));
  const merged = loadMerged(folder, 'cpu', join(folder, 'adapter'));
  const expected = decode(model, texts, 18, { dtype: 'bfloat16' });
  expect(decode(found, texts, 18, { dtype: 'bfloat16' })).toEqual(expected);
  expect(decode(merged, texts, 18, { dtype: 'bfloat16' })).toEqual(expected);
  const plain = loadForDecoding(folder);
  expect(decode(plain, texts, 18, { dtype: 'bfloat16' })).not.toEqual(expected);
  for (const one of [model, found, merged, plain]) one.dispose();
});

it.each([
  ['deepseek_v3', tinyModel(3)],
  ['qwen2, tied head, biases', tinyDense('qwen2', 9, { tie_word_embeddings: true })],
])('%s, elsewhere than on the CPU: the logits of the model that is there in float32', async (_, model) => {
  await saveModel(model, folder);
  const [whole, decoding] = [loadModel(folder, OTHER), loadForDecoding(folder, OTHER)];
  expect(decoding.device).toBe(whole.device);
  const options = { dtype: 'bfloat16', Kind: TensorDecoder } as const;
  expect(decode(decoding, texts, 18, options)).toEqual(decode(whole, texts, 18, options));
  for (const one of [model, whole, decoding]) one.dispose();
});

it('in float32 the model itself', async () => {
  const model = tinyModel(4);
  await saveModel(model, folder);
  setComputeType('float32');
  const loaded = loadForDecoding(folder);
  expect(loaded).toBeInstanceOf(CausalModel);
  model.dispose();
  loaded.dispose();
});

it('leaves no tensor behind, nor when the file does not fit', async () => {
  const model = tinyModel(5, { num_nextn_predict_layers: 1 });
  await saveModel(model, folder);
  model.dispose();
  const before = liveTensors();
  loadForDecoding(folder).dispose();
  expect(liveTensors()).toBe(before);
  scope(() => {
    using source = openCheckpoint(folder);
    const lacking = source.names.filter((name) => name !== 'model.layers.1.mlp.gate.weight');
    const kept = new Map(lacking.map((name) => [name, source.tensor(name).clone()]));
    writeCheckpoint(folder, kept);
  });
  expect(() => loadForDecoding(folder)).toThrow('model.layers.1.mlp.gate.weight is missing');
  expect(liveTensors()).toBe(before);
});
