import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  liveTensors,
  noGrad,
  openCheckpoint,
  openSafetensors,
  scope,
  type Tensor,
  writeCheckpoint,
  zeros,
} from '@dunwu/torch';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type CausalModel, causalMask } from './causal-model.js';
import { loadModel, saveModel } from './checkpoint.js';
import { parseConfig } from './config.js';
import { predictionDepth, storedPrediction } from './mtp.js';
import { modelMemory, modelSize } from './size.js';
import { type Matrix, plainPrediction } from './testing/plain-prediction.js';
import { difference, ids, rows, TINY, tinyConfig, tinyModel } from './testing/tiny.js';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'dunwu-mtp-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const withModules = (seed: number, depth: number, more = {}): CausalModel =>
  tinyModel(seed, { num_nextn_predict_layers: depth, ...more });

/** Tokens k places further on in the same row; 0 behind the end. */
const shifted = (list: readonly (readonly number[])[], k: number): Tensor =>
  ids(list.map((row) => row.map((_, i) => row[i + k] ?? 0)));

/** Logits of every depth, [rows, time, vocabulary] each. */
const predict = (model: CausalModel, list: readonly (readonly number[])[], depth: number): Tensor[] =>
  noGrad(() => {
    const input = { tokens: ids(list) };
    const { hidden } = model.forward(input);
    const following = Array.from({ length: depth }, (_, k) => shifted(list, k + 1));
    return model
      .predictions(hidden, input, following)
      .map((one) => model.logits(one.hidden).view([list.length, list[0]?.length ?? 0, -1]));
  });

const stored = (): Map<string, Tensor> => {
  const source = openCheckpoint(folder);
  const map = new Map(source.names.map((name) => [name, source.tensor(name).clone()]));
  source.close();
  return map;
};

function rewrite(tensors: ReadonlyMap<string, Tensor>): void {
  rmSync(join(folder, 'model.safetensors'));
  writeCheckpoint(folder, tensors);
}

function matrix(tensor: Tensor): Matrix {
  const width = tensor.size(-1);
  const numbers = tensor.to('float64').numbers();
  return Array.from({ length: numbers.length / width }, (_, r) => numbers.slice(r * width, (r + 1) * width));
}

it('transformers’ MtpModel: its checkpoint, its logits at both depths within 1e-5 of the largest', () => {
  const golden = fileURLToPath(new URL('./testing/golden-mtp', import.meta.url));
  const model = loadModel(golden);
  expect(model.predictionDepth).toBe(2);
  scope(() => {
    using file = openSafetensors(join(golden, 'mtp.safetensors'));
    const tokens = file.tensor('input_ids').numbers();
    predict(model, [tokens], 2).forEach((logits, i) => {
      const expected = file.tensor(`depth.${i + 1}.logits`);
      const ours = logits.narrow(1, 0, expected.size(1));
      expect(difference(ours, expected) / expected.abs().amax().item()).toBeLessThan(1e-5);
      expect(expected.abs().amax().item()).toBeGreaterThan(0.3);
    });
  });
  model.dispose();
});

describe('the equations', () => {
  it.each([1, 2])(
    '%i deep: what eqs. 21–23 give, worked out in loops from the checkpoint by its published names',
    async (depth) => {
      const model = withModules(61, depth);
      await saveModel(model, folder);
      const weights = new Map([...stored()].map(([name, tensor]) => [name, matrix(tensor)]));
      const [tokens] = rows(1, 11) as [number[]];
      const hidden = matrix(noGrad(() => model.forward({ tokens: ids([tokens]) }).hidden));
      const of = (name: string): Matrix => {
        const found = weights.get(name);
        if (found === undefined) throw new Error(`${name} is not in the checkpoint`);
        return found;
      };
      const expected = plainPrediction(tinyConfig(), of, tokens, hidden, depth);
      predict(model, [tokens], depth).forEach((logits, i) => {
        const ours = matrix(logits.select(0, 0));
        const theirs = expected[i] as number[][];
        expect(theirs.length).toBe(11 - i - 1);
        const worst = Math.max(
          ...theirs.flatMap((values, t) => values.map((value, v) => Math.abs(value - (ours[t]?.[v] as number)))),
        );
        expect(worst).toBeLessThan(1e-4);
        expect(Math.max(...theirs.flat().map(Math.abs))).toBeGreaterThan(1);
      });
      model.dispose();
    },
  );

  it('module 1 predicts from the tokens up to the next one, and from no later one', () => {
    const model = withModules(62, 1);
    const [row] = rows(1, 8) as [number[]];
    const at = (list: number[], place: number): Tensor =>
      (predict(model, [list], 1)[0] as Tensor).select(0, 0).select(0, place);
    const changed = (place: number): number[] => row.map((token, i) => (i === place ? (token + 1) % 24 : token));
    const before = at(row, 3);
    expect(difference(before, at(changed(5), 3))).toBeLessThan(2e-5);
    expect(difference(before, at(changed(4), 3))).toBeGreaterThan(1e-3);
    expect(difference(before, at(changed(2), 3))).toBeGreaterThan(1e-3);
    model.dispose();
  });
});

describe('the main model', () => {
  it('has the weights and the outputs that it has without modules', () => {
    const [without, beside] = [tinyModel(63), withModules(63, 2)];
    const own = without.parameters().filter(({ kind }) => kind !== 'vector' && kind !== 'buffer');
    const theirs = new Map(beside.parameters().map(({ name, tensor }) => [name, tensor]));
    for (const { name, tensor } of own) expect(difference(tensor, theirs.get(name) as Tensor), name).toBe(0);
    expect([without.predictionDepth, beside.predictionDepth]).toEqual([0, 2]);
    expect([without.moeLayers.length, beside.moeLayers.length, beside.predictionMoeLayers.length]).toEqual([2, 2, 2]);
    const before = liveTensors();
    expect(() => without.predictions(zeros([1, 16]), { tokens: ids([[1]]) }, [ids([[2]])])).toThrow(
      'at depth 1: this model has 0 modules',
    );
    expect(liveTensors()).toBeLessThan(before + 12);
    without.dispose();
    beside.dispose();
  });

  it('dispose frees the modules too', () => {
    const before = liveTensors();
    withModules(64, 2).dispose();
    expect(liveTensors()).toBe(before);
  });

  it('several tokens a step: what one by one gives', () => {
    const model = withModules(65, 1);
    const list = rows(3, 9);
    noGrad(() => {
      const whole = model.forward({ tokens: ids(list) }).hidden.view([3, 9, 16]);
      const cache = model.cache(3, 12);
      model.forward({ tokens: ids(list.map((row) => row.slice(0, 5))) }, { cache });
      // Rows stand at different places: the third computes two tokens again that it has already.
      const starts = [5, 5, 3];
      const tokens = ids(list.map((row, r) => row.slice(starts[r], (starts[r] as number) + 3)));
      const positions = ids(starts.map((start) => [start, start + 1, start + 2]));
      const mask = causalMask(9)
        .indexSelect(0, positions.reshape([-1]))
        .view([3, 1, 3, 9]);
      const hidden = model.steps(tokens, positions, cache, 9, mask).view([3, 3, 16]);
      starts.forEach((start, r) => {
        expect(difference(hidden.select(0, r), whole.select(0, r).narrow(0, start, 3))).toBeLessThan(2e-5);
      });
      cache.dispose();
    });
    model.dispose();
  });

  it('a module on top of its cache: what whole rows give', () => {
    const model = withModules(66, 1);
    const list = rows(2, 9);
    noGrad(() => {
      const { hidden } = model.forward({ tokens: ids(list) });
      const [whole] = model.predictions(hidden, { tokens: ids(list) }, [shifted(list, 1)]);
      const states = hidden.view([2, 9, 16]);
      const cache = model.predictionCache(2, 10);
      const first = { tokens: ids(list.map((row) => row.slice(0, 5))) };
      model.predictions(
        states.narrow(1, 0, 5).reshape([-1, 16]),
        first,
        [ids(list.map((row) => row.slice(1, 6)))],
        cache,
      );
      const positions = ids([0, 1].map(() => [5, 6]));
      const mask = causalMask(7)
        .indexSelect(0, positions.reshape([-1]))
        .view([2, 1, 2, 7]);
      const on = model.predictionStep(
        states.narrow(1, 5, 2).reshape([-1, 16]),
        ids(list.map((row) => row.slice(6, 8))),
        positions,
        cache,
        7,
        mask,
      );
      const expected = (whole as { hidden: Tensor }).hidden.view([2, 9, 16]).narrow(1, 5, 2);
      expect(difference(on.view([2, 2, 16]), expected)).toBeLessThan(2e-5);
      cache.dispose();
    });
    model.dispose();
  });
});

describe('checkpoints', () => {
  it.each([
    ['untied', {}],
    ['tied', { tie_word_embeddings: true }],
    ['a dense block', { first_k_dense_replace: 9 }],
  ])('%s: bit for bit, under the published names', async (_, more) => {
    const model = withModules(67, 2, more);
    await saveModel(model, folder);
    const tensors = stored();
    for (const layer of [3, 4]) {
      const own = [...tensors.keys()].filter((name) => name.startsWith(`model.layers.${layer}.`));
      expect(own).toEqual(
        expect.arrayContaining(
          [
            'embed_tokens.weight',
            'enorm.weight',
            'hnorm.weight',
            'eh_proj.weight',
            'shared_head.norm.weight',
            'shared_head.head.weight',
            'input_layernorm.weight',
            'post_attention_layernorm.weight',
            'self_attn.kv_b_proj.weight',
          ].map((name) => `model.layers.${layer}.${name}`),
        ),
      );
      const [copy, head] = ['embed_tokens', 'shared_head.head'].map((name) =>
        tensors.get(`model.layers.${layer}.${name}.weight`),
      );
      expect(difference(copy as Tensor, tensors.get('model.embed_tokens.weight') as Tensor)).toBe(0);
      expect(difference(head as Tensor, model.headWeight)).toBe(0);
      expect(tensors.get(`model.layers.${layer}.eh_proj.weight`)?.shape).toEqual([16, 32]);
    }
    expect(JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8')).num_nextn_predict_layers).toBe(2);
    const loaded = loadModel(folder);
    expect(loaded.parameters().map(({ name }) => name)).toEqual(model.parameters().map(({ name }) => name));
    loaded.parameters().forEach(({ name, tensor }, i) => {
      expect(difference(tensor, model.parameters()[i]?.tensor as Tensor), name).toBe(0);
    });
    model.dispose();
    loaded.dispose();
  });

  it('bfloat16: copies are those of the rounded matrices', async () => {
    const model = withModules(68, 1);
    await saveModel(model, folder, { dtype: 'bfloat16' });
    expect(stored().get('model.layers.3.shared_head.head.weight')?.dtype).toBe('bfloat16');
    loadModel(folder).dispose();
    model.dispose();
  });

  it('copies may be missing, and may not differ', async () => {
    const model = withModules(69, 1);
    await saveModel(model, folder);
    const tensors = stored();
    tensors.delete('model.layers.3.embed_tokens.weight');
    rewrite(tensors);
    loadModel(folder).dispose();
    const before = liveTensors();
    tensors.set('model.layers.3.shared_head.head.weight', zeros([24, 16]));
    tensors.set('model.layers.3.embed_tokens.weight', zeros([24, 15]));
    rewrite(tensors);
    expect(() => loadModel(folder)).toThrow(
      'model.layers.3.shared_head.head.weight differs from lm_head.weight, which it is a copy of: remove it from the file ' +
        'to predict with lm_head.weight',
    );
    expect(() => loadModel(folder)).toThrow(
      'model.layers.3.embed_tokens.weight has the shape [24,15], model.embed_tokens.weight has [24,16]: they are to be equal',
    );
    expect(liveTensors()).toBe(before + 2);
    model.dispose();
  });

  it('a checkpoint without any of their tensors has no modules, whatever config.json says', async () => {
    const model = tinyModel(70);
    await saveModel(model, folder);
    const file = join(folder, 'config.json');
    const config = JSON.parse(readFileSync(file, 'utf8'));
    for (const said of [{ num_nextn_predict_layers: 1 }, { num_mtp_layers: 1, num_nextn_predict_layers: undefined }]) {
      writeFileSync(file, JSON.stringify({ ...config, ...said }));
      const loaded = loadModel(folder);
      expect(loaded.predictionDepth).toBe(0);
      expect(predictionDepth(loaded.config)).toBe(0);
      loaded.dispose();
    }
    // A part of them is a mistake.
    writeFileSync(file, JSON.stringify({ ...config, num_nextn_predict_layers: 1 }));
    const tensors = stored();
    tensors.set('model.layers.3.eh_proj.weight', zeros([16, 32]));
    rewrite(tensors);
    expect(() => loadModel(folder)).toThrow('model.layers.3.enorm.weight is missing');
    model.dispose();
  });
});

describe('predictionDepth', () => {
  it('DeepSeek’s key first, then that of transformers 5; of DeepSeek-V3 only', () => {
    const depth = (more: object): number => predictionDepth(parseConfig({ ...TINY, ...more }));
    expect(depth({})).toBe(0);
    expect(depth({ num_nextn_predict_layers: 2 })).toBe(2);
    expect(depth({ num_mtp_layers: 1 })).toBe(1);
    expect(depth({ num_nextn_predict_layers: 0, num_mtp_layers: 1 })).toBe(0);
    expect(depth({ model_type: 'deepseek_v2', norm_topk_prob: false, num_nextn_predict_layers: 1 })).toBe(0);
  });

  it('storedPrediction leaves a config alone whose modules are there', () => {
    const config = tinyConfig({ num_nextn_predict_layers: 1 });
    expect(storedPrediction(config, ['model.layers.3.hnorm.weight'])).toBe(config);
    expect(predictionDepth(storedPrediction(config, ['model.layers.30.hnorm.weight', 'lm_head.weight']))).toBe(0);
  });
});

describe('size', () => {
  it.each([
    ['experts', {}],
    ['a dense block, biases', { first_k_dense_replace: 4, attention_bias: true }],
  ])('%s: the modules apart, as many numbers as there are', (_, more) => {
    const model = withModules(71, 2, more);
    const numbers = model.parameters().reduce((sum, { tensor }) => sum + tensor.numel, 0);
    const size = modelSize(model.config);
    expect(size.prediction?.modules).toBe(2);
    expect(size.total + (size.prediction?.total ?? 0)).toBe(numbers);
    expect(size.total).toBe(modelSize(tinyConfig(more)).total);
    expect(modelMemory(size).weights).toBe(4 * numbers);
    scope(() => model.dispose());
  });

  it('DeepSeek-V3 as published: 11.5 B of its own; 2.4 B active with embedding and head (README_WEIGHTS.md)', () => {
    const { total, prediction } = modelSize(
      parseConfig({
        model_type: 'deepseek_v3',
        vocab_size: 129280,
        hidden_size: 7168,
        intermediate_size: 18432,
        moe_intermediate_size: 2048,
        num_hidden_layers: 61,
        num_attention_heads: 128,
        n_shared_experts: 1,
        n_routed_experts: 256,
        num_experts_per_tok: 8,
        n_group: 8,
        topk_group: 4,
        first_k_dense_replace: 3,
        q_lora_rank: 1536,
        kv_lora_rank: 512,
        qk_nope_head_dim: 128,
        qk_rope_head_dim: 64,
        v_head_dim: 128,
        num_nextn_predict_layers: 1,
      }),
    );
    // The published counts come out without eh_proj, 0.1 B. The files hold embedding and head once more: 685 B in all.
    const projection = 2 * 7168 * 7168;
    const embedding = 129280 * 7168;
    expect(((prediction?.total ?? 0) - projection) / 1e9).toBeCloseTo(11.5, 1);
    expect(((prediction?.active ?? 0) - projection + embedding) / 1e9).toBeCloseTo(2.4, 1);
    expect((total + (prediction?.total ?? 0) + 2 * embedding) / 1e9).toBeCloseTo(684.5, 0);
    expect(prediction?.cache).toBe(576);
  });
});
