import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseConfig, readConfig } from './config.js';
import { deepseekV3PretrainShape, deepseekV3Shape } from './deepseek-config.js';
import { ropeSettings } from './rope-config.js';
import { TINY } from './testing/tiny.js';

describe('parseConfig', () => {
  it('fills in what Hugging Face leaves out', () => {
    const { n_group: _, topk_group: __, routed_scaling_factor: ___, max_position_embeddings: ____, ...rest } = TINY;
    expect(parseConfig(rest)).toMatchObject({
      n_group: 1,
      topk_group: 1,
      routed_scaling_factor: 1,
      norm_topk_prob: true,
      max_position_embeddings: 4096,
      rms_norm_eps: 1e-6,
      rope_interleave: true,
      tie_word_embeddings: false,
      attention_bias: false,
    });
  });

  it('the published DeepSeek-V3 configuration is refused for what is not built, by name, all at once', () => {
    const published = {
      ...TINY,
      quantization_config: { quant_method: 'fp8' },
      num_nextn_predict_layers: 1,
      topk_method: 'noaux_tc',
      scoring_func: 'sigmoid',
      seq_aux: true,
      aux_loss_alpha: 0.001,
      moe_layer_freq: 1,
      torch_dtype: 'bfloat16',
      auto_map: {},
    };
    const refused = (): unknown => parseConfig(published, '/m/config.json');
    expect(refused).toThrow('/m/config.json: not a config this program can honour:');
    expect(refused).toThrow('Unrecognized key: "quantization_config"');
    const { quantization_config: _, ...rest } = published;
    expect(parseConfig(rest)).toMatchObject({ hidden_size: 16, num_nextn_predict_layers: 1 });
  });

  it.each([
    ['an unknown key', { sliding_window: 4096 }, '"sliding_window"'],
    ['another gate', { scoring_func: 'softmax' }, 'scoring_func'],
    ['another choice of experts', { topk_method: 'group_limited_greedy' }, 'topk_method'],
    ['another activation', { hidden_act: 'gelu' }, 'hidden_act'],
    ['dropout', { attention_dropout: 0.1 }, 'attention_dropout'],
    ['every second layer', { moe_layer_freq: 2 }, 'moe_layer_freq'],
    ['a rotary type of other families', { rope_scaling: { rope_type: 'llama3' } }, 'rope_scaling.rope_type'],
    ['an unknown rotary type by its old name', { rope_scaling: { type: 'linear', factor: 4 } }, 'rope_scaling.type'],
    ['an unknown rotary key', { rope_parameters: { short_factor: [1] } }, '"short_factor"'],
    [
      'a key of another rotary type',
      { rope_parameters: { low_freq_factor: 1 } },
      'rope_parameters.low_freq_factor: belongs to rope_type llama3 alone',
    ],
    [
      'two rotary settings that differ',
      { rope_scaling: { type: 'yarn', factor: 4 }, rope_parameters: { rope_type: 'default' } },
      'rope_scaling: says something else than rope_parameters',
    ],
    ['fewer key/value heads', { num_key_value_heads: 1 }, 'num_key_value_heads: multi-head latent attention'],
    ['an odd rotary width', { qk_rope_head_dim: 3 }, 'qk_rope_head_dim: must be even'],
    ['uneven groups', { n_group: 3 }, 'n_group: must divide n_routed_experts'],
    ['groups of one', { n_group: 8 }, 'n_group: a group is scored by its two best experts'],
    ['more groups than there are', { topk_group: 3 }, 'topk_group: cannot exceed n_group'],
    ['more experts than are open', { num_experts_per_tok: 5 }, 'num_experts_per_tok: cannot exceed the 4 experts'],
    ['a size that is no number', { hidden_size: '16' }, 'hidden_size'],
    ['no size', { kv_lora_rank: undefined }, 'kv_lora_rank'],
  ])('%s is refused by name', (_, change, message) => {
    expect(() => parseConfig({ ...TINY, ...change })).toThrow(message);
  });

  it('another model_type is refused before anything else', () => {
    expect(() => parseConfig({ model_type: 'mixtral' }, 'x')).toThrow(
      'x: model_type "mixtral" is not supported; supported: "deepseek_v3", "deepseek_v2", "qwen2", "qwen3", "llama"',
    );
    expect(() => parseConfig(null)).toThrow('model_type undefined is not supported');
  });
});

describe('other families', () => {
  const dense = {
    vocab_size: 8,
    hidden_size: 8,
    intermediate_size: 8,
    num_hidden_layers: 2,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    max_position_embeddings: 32,
  };
  const llama3 = {
    rope_type: 'llama3',
    factor: 8,
    low_freq_factor: 1,
    high_freq_factor: 4,
    original_max_position_embeddings: 16,
  };

  it('what they say in different words is filled in', () => {
    const of = (more: object) => parseConfig({ ...dense, ...more });
    expect(of({ model_type: 'qwen2' })).toMatchObject({
      head_dim: 2,
      qkv_bias: true,
      output_bias: false,
      qk_norm: false,
    });
    expect(of({ model_type: 'qwen3', head_dim: 6 })).toMatchObject({ head_dim: 6, qkv_bias: false, qk_norm: true });
    expect(of({ model_type: 'llama', num_key_value_heads: null, attention_bias: true, mlp_bias: true })).toMatchObject({
      num_key_value_heads: 4,
      qkv_bias: true,
      output_bias: true,
      mlp_bias: true,
    });
    const v2 = { ...TINY, model_type: 'deepseek_v2', n_group: null, topk_group: null };
    expect(parseConfig(v2)).toMatchObject({ n_group: 1, topk_group: 1, topk_method: 'greedy', norm_topk_prob: false });
  });

  it.each([
    ['attention to a window', { model_type: 'qwen2', use_sliding_window: true }, 'use_sliding_window'],
    ['layers that see a window', { model_type: 'qwen3', layer_types: ['sliding_attention'] }, 'layer_types.0'],
    [
      'layer types of another depth',
      { model_type: 'qwen3', layer_types: ['full_attention'] },
      'layer_types: must have',
    ],
    ['heads that do not divide', { model_type: 'llama', num_key_value_heads: 3 }, 'num_key_value_heads: must divide'],
    ['an odd head', { model_type: 'llama', head_dim: 3 }, 'head_dim: must be even'],
    ['a bias that the family has not', { model_type: 'qwen2', mlp_bias: true }, '"mlp_bias"'],
    ['tensor parallel pretraining', { model_type: 'llama', pretraining_tp: 2 }, 'pretraining_tp'],
    [
      'half of the settings of llama3',
      { model_type: 'llama', rope_scaling: { ...llama3, low_freq_factor: undefined } },
      'rope_scaling.low_freq_factor: is missing',
    ],
    [
      'a ramp the wrong way round',
      { model_type: 'llama', rope_parameters: { ...llama3, high_freq_factor: 1 } },
      'rope_parameters.high_freq_factor: must be above low_freq_factor',
    ],
    [
      'another rotary type',
      { model_type: 'llama', rope_scaling: { rope_type: 'dynamic', factor: 2 } },
      'rope_scaling.rope_type',
    ],
    ['experts in Qwen', { model_type: 'qwen3', num_experts: 8 }, '"num_experts"'],
  ])('%s is refused by name', (_, change, message) => {
    expect(() => parseConfig({ ...dense, ...change })).toThrow(message);
  });

  it('DeepSeek-V2: normalised weights are refused, and the gate of V3', () => {
    const v2 = { ...TINY, model_type: 'deepseek_v2' };
    expect(() => parseConfig({ ...v2, norm_topk_prob: true })).toThrow('norm_topk_prob');
    expect(() => parseConfig({ ...v2, topk_method: 'noaux_tc' })).toThrow('topk_method');
    expect(() => parseConfig({ ...v2, scoring_func: 'sigmoid' })).toThrow('scoring_func');
  });
});

describe('deepseekV3Shape', () => {
  it('only a recipe that pretrains can ask for prediction layers', () => {
    const { vocab_size: _, ...shape } = TINY;
    expect(deepseekV3Shape.parse(shape)).toMatchObject({ n_shared_experts: 1, q_lora_rank: 10 });
    const asked = { ...shape, num_nextn_predict_layers: 1 };
    expect(() => deepseekV3Shape.parse(asked)).toThrow(
      'only a pretrain stage trains modules of multi-token prediction',
    );
    expect(deepseekV3PretrainShape.parse(asked)).toMatchObject({ num_nextn_predict_layers: 1 });
  });
});

describe('ropeSettings', () => {
  it('reads both spellings', () => {
    expect(ropeSettings(parseConfig(TINY))).toEqual({ rope_type: 'default', rope_theta: 10_000 });
    const older = { ...TINY, rope_theta: 500, rope_scaling: { type: 'yarn', factor: 4 } };
    expect(ropeSettings(parseConfig(older))).toMatchObject({ rope_type: 'yarn', factor: 4, rope_theta: 500 });
    const newer = { ...TINY, rope_parameters: { rope_type: 'yarn', factor: 8, rope_theta: 700 } };
    expect(ropeSettings(parseConfig(newer))).toMatchObject({ rope_type: 'yarn', factor: 8, rope_theta: 700 });
  });
});

describe('readConfig', () => {
  it("names the file that is missing or is no JSON; keys that a file leaves out are Hugging Face's", () => {
    const folder = mkdtempSync(join(tmpdir(), 'dunwu-config-'));
    try {
      expect(() => readConfig(folder)).toThrow(`${join(folder, 'config.json')}: cannot be read`);
      writeFileSync(join(folder, 'config.json'), '{"model_type": ');
      expect(() => readConfig(folder)).toThrow(`${join(folder, 'config.json')}: not valid JSON`);
      // A file says what Hugging Face takes it to say, a recipe what we document.
      const { n_group: _, topk_group: __, routed_scaling_factor: ___, q_lora_rank: ____, ...short } = TINY;
      writeFileSync(join(folder, 'config.json'), JSON.stringify({ ...short, n_routed_experts: 16 }));
      expect(readConfig(folder)).toMatchObject({
        n_group: 8,
        topk_group: 4,
        routed_scaling_factor: 2.5,
        q_lora_rank: 1536,
      });
      expect(parseConfig(short)).toMatchObject({
        n_group: 1,
        topk_group: 1,
        routed_scaling_factor: 1,
        q_lora_rank: null,
      });
      writeFileSync(join(folder, 'config.json'), JSON.stringify({ ...TINY, vocab_size: 0 }));
      expect(() => readConfig(folder)).toThrow(/config\.json: not a config .*\n {2}vocab_size: /);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
