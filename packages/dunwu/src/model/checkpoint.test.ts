import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { liveTensors, openCheckpoint, scope, type Tensor, writeCheckpoint, zeros } from '@dunwu/torch';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { configText, endOfTextIds, huggingFaceConfig, loadModel, saveModel } from './checkpoint.js';
import { tinyConfig, tinyModel } from './testing/tiny.js';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'dunwu-checkpoint-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** All tensors of the folder by name, copied. */
function contents(): Map<string, Tensor> {
  const source = openCheckpoint(folder);
  const map = new Map(source.names.map((name) => [name, source.tensor(name).clone()]));
  source.close();
  return map;
}

const bytes = (tensor: Tensor): string => Buffer.from(tensor.detach().bytes()).toString('base64');

describe('save and load', () => {
  it.each([
    ['untied', {}],
    ['tied, no q compression, biases', { tie_word_embeddings: true, q_lora_rank: null, attention_bias: true }],
    ['all dense', { first_k_dense_replace: 3 }],
    ['no shared expert', { n_shared_experts: null }],
  ])('%s: bit for bit', async (_, overrides) => {
    const model = tinyModel(1, overrides);
    await saveModel(model, folder);
    const loaded = loadModel(folder);
    expect(loaded.parameters().map(({ name }) => name)).toEqual(model.parameters().map(({ name }) => name));
    model.parameters().forEach(({ name, tensor }, i) => {
      expect(bytes(loaded.parameters()[i]?.tensor as Tensor), name).toBe(bytes(tensor));
    });
    expect(loaded.config).toMatchObject(tinyConfig(overrides));
    model.dispose();
    loaded.dispose();
  });

  it('stores one tensor per expert, gate and up apart, and no tied head', async () => {
    const model = tinyModel(2, { tie_word_embeddings: true });
    await saveModel(model, folder);
    const stored = contents();
    expect(stored.get('model.layers.1.mlp.experts.3.up_proj.weight')?.shape).toEqual([12, 16]);
    expect(stored.get('model.layers.1.mlp.experts.7.down_proj.weight')?.shape).toEqual([16, 12]);
    expect(stored.get('model.layers.0.mlp.gate_proj.weight')?.shape).toEqual([24, 16]);
    expect(stored.get('model.layers.0.self_attn.kv_a_proj_with_mqa.weight')?.shape).toEqual([12, 16]);
    expect([...stored.keys()].filter((name) => /lm_head|gate_up/.test(name))).toEqual([]);
    const { tensor } = model.parameters().find(({ name }) => name.endsWith('layers.1.mlp.experts.gate_up_proj')) ?? {};
    expect(bytes(stored.get('model.layers.1.mlp.experts.3.up_proj.weight') as Tensor)).toBe(
      bytes((tensor as Tensor).select(0, 3).narrow(0, 12, 12).contiguous()),
    );
    model.dispose();
  });

  it('bfloat16: weights rounded once, router biases kept in float32', async () => {
    const model = tinyModel(3);
    await saveModel(model, folder, { dtype: 'bfloat16' });
    const stored = contents();
    expect(stored.get('model.norm.weight')?.dtype).toBe('bfloat16');
    expect(stored.get('model.layers.1.mlp.gate.e_score_correction_bias')?.dtype).toBe('float32');
    expect(JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8')).dtype).toBe('bfloat16');
    const loaded = loadModel(folder);
    expect(bytes(loaded.headWeight)).toBe(bytes(model.headWeight.detach().to('bfloat16').to('float32')));
    model.dispose();
    loaded.dispose();
  });

  it('sharded', async () => {
    const model = tinyModel(4);
    await saveModel(model, folder, { maxShardSize: 20_000 });
    expect(readdirSync(folder).filter((name) => name.endsWith('.safetensors')).length).toBeGreaterThan(2);
    const loaded = loadModel(folder);
    expect(bytes(loaded.headWeight)).toBe(bytes(model.headWeight));
    model.dispose();
    loaded.dispose();
  });

  it('reads all experts in one tensor too', async () => {
    const model = tinyModel(5);
    await saveModel(model, folder);
    const fused = new Map([...contents()].filter(([name]) => !/\.experts\./.test(name)));
    for (const { name, tensor } of model.parameters()) {
      if (name.includes('.experts.')) fused.set(name, tensor.detach());
    }
    rmSync(join(folder, 'model.safetensors'));
    writeCheckpoint(folder, fused);
    const loaded = loadModel(folder);
    model.parameters().forEach(({ name, tensor }, i) => {
      expect(bytes(loaded.parameters()[i]?.tensor as Tensor), name).toBe(bytes(tensor));
    });
    model.dispose();
    loaded.dispose();
  });

  it('a tied model whose file holds the head all the same', async () => {
    const model = tinyModel(6, { tie_word_embeddings: true });
    await saveModel(model, folder);
    const stored = contents();
    stored.set('lm_head.weight', stored.get('model.embed_tokens.weight') as Tensor);
    rmSync(join(folder, 'model.safetensors'));
    writeCheckpoint(folder, stored);
    const loaded = loadModel(folder);
    expect(bytes(loaded.headWeight)).toBe(bytes(model.headWeight));
    model.dispose();
    loaded.dispose();
  });
});

it('layers behind the last of a DeepSeek-V2 are passed over, and not claimed when saved', async () => {
  const model = tinyModel(10, { model_type: 'deepseek_v2', norm_topk_prob: false } as object);
  await saveModel(model, folder);
  const stored = contents();
  stored.set('model.layers.3.eh_proj.weight', zeros([16, 32]));
  rmSync(join(folder, 'model.safetensors'));
  writeCheckpoint(folder, stored);
  const config = join(folder, 'config.json');
  writeFileSync(config, JSON.stringify({ ...JSON.parse(readFileSync(config, 'utf8')), num_nextn_predict_layers: 1 }));
  const loaded = loadModel(folder);
  expect(bytes(loaded.headWeight)).toBe(bytes(model.headWeight));
  expect(huggingFaceConfig(loaded.config).num_nextn_predict_layers).toBe(0);
  model.dispose();
  loaded.dispose();
});

describe('a file that does not fit', () => {
  it('names every tensor and what is wrong with it, and frees what was made', async () => {
    const model = tinyModel(7);
    await saveModel(model, folder);
    model.dispose();
    const stored = contents();
    stored.delete('model.layers.2.mlp.experts.5.down_proj.weight');
    stored.delete('model.norm.weight');
    stored.set('lm_head.weight', zeros([24, 17]));
    stored.set('model.layers.3.mtp.weight', zeros([1]));
    rmSync(join(folder, 'model.safetensors'));
    writeCheckpoint(folder, stored);
    const before = liveTensors();
    let message = '';
    scope(() => {
      try {
        loadModel(folder);
      } catch (error) {
        message = (error as Error).message;
      }
    });
    expect(message.split('\n')).toEqual([
      expect.stringMatching(/model\.safetensors: does not fit config\.json:$/),
      '  model.layers.2.mlp.experts.5.down_proj.weight is missing',
      '  model.norm.weight is missing',
      '  lm_head.weight has the shape [24,17], config.json asks for [24,16]',
      '  model.layers.3.mtp.weight is in the file but not in a model of this config',
    ]);
    expect(liveTensors()).toBe(before);
  });

  it('long lists are cut', async () => {
    const model = tinyModel(8);
    await saveModel(model, folder);
    model.dispose();
    rmSync(join(folder, 'model.safetensors'));
    writeCheckpoint(folder, { 'model.norm.weight': zeros([16]) });
    expect(() => loadModel(folder)).toThrow(/ {2}model\.embed_tokens\.weight is missing\n[\s\S]*\n {2}… and \d+ more$/);
  });

  it('no weights at all', async () => {
    const model = tinyModel(9);
    await saveModel(model, folder);
    model.dispose();
    rmSync(join(folder, 'model.safetensors'));
    expect(() => loadModel(folder)).toThrow(folder);
  });
});

describe('config.json', () => {
  it('has the keys that transformers derives', () => {
    expect(huggingFaceConfig(tinyConfig())).toMatchObject({
      architectures: ['DeepseekV3ForCausalLM'],
      model_type: 'deepseek_v3',
      qk_head_dim: 10,
      head_dim: 4,
      num_key_value_heads: 2,
    });
  });

  describe('generation_config.json', () => {
    const path = (): string => join(folder, 'generation_config.json');
    const reading = (text: string) => {
      writeFileSync(path(), text);
      return loadModel(folder);
    };
    beforeEach(async () => {
      const model = tinyModel(10, { eos_token_id: 1, bos_token_id: 0 });
      await saveModel(model, folder);
      model.dispose();
    });

    it('of a new model: the ids of its config', () => {
      expect(JSON.parse(readFileSync(path(), 'utf8'))).toEqual({
        _from_model_config: true,
        bos_token_id: 0,
        eos_token_id: 1,
      });
    });

    it('of one that was read: as it was, and its end-of-text ids go before config.json’s', async () => {
      const own = { eos_token_id: [3, 4], pad_token_id: 3, repetition_penalty: 1.1, what_comes: { next: null } };
      const model = reading(JSON.stringify(own));
      expect(endOfTextIds(model)).toEqual([3, 4]);
      await saveModel(model, join(folder, 'again'));
      model.dispose();
      const again = loadModel(join(folder, 'again'));
      expect(again.generation).toEqual(own);
      again.dispose();
      for (const [text, ids] of [
        ['{}', [1]],
        ['{"eos_token_id": 5}', [5]],
      ] as const) {
        const other = reading(text);
        expect(endOfTextIds(other)).toEqual(ids);
        other.dispose();
      }
    });

    it('what is no JSON object is refused by name', () => {
      expect(() => reading('{')).toThrow('generation_config.json: not valid JSON');
      expect(() => reading('[3]')).toThrow('generation_config.json: must hold a JSON object');
    });
  });
});

it('writes whole numbers of float keys as floats: transformers refuses 1 where it wants 1.0', () => {
  expect(
    configText({ routed_scaling_factor: 1, n_group: 1, rope_parameters: { rope_theta: 300 }, rms_norm_eps: 1e-6 }),
  ).toBe(
    '{\n  "routed_scaling_factor": 1.0,\n  "n_group": 1,\n  "rope_parameters": {\n    "rope_theta": 300.0\n  },\n  "rms_norm_eps": 0.000001\n}\n',
  );
});
