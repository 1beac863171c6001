import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { noGrad, openSafetensors, scope, type Tensor, tensor, writeSafetensors, zeros } from '@dunwu/torch';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { loadAdapter, restoreAdapter, saveAdapter } from './adapter-folder.js';
import type { CausalModel } from './causal-model.js';
import { loadModel, saveModel } from './checkpoint.js';
import { absorbAdapters, addAdapters, mergeAdapters } from './lora.js';
import { loraConfig } from './lora-config.js';
import { adapted as withAdapters } from './testing/adapted.js';
import { difference, ids, rows, tinyDense, tinyModel } from './testing/tiny.js';

const golden = (name: string) => fileURLToPath(new URL(`testing/golden/${name}`, import.meta.url));
const goldenLora = (name: string) => fileURLToPath(new URL(`testing/golden-lora/${name}`, import.meta.url));
const config = (overrides: object = {}) => loraConfig.parse({ rank: 3, alpha: 6, ...overrides });
const logits = (model: CausalModel, tokens: Tensor): Tensor =>
  noGrad(() => model.logits(model.forward({ tokens }).hidden));
const json = (file: string) => JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>;

let folder = '';
let models: CausalModel[] = [];
const own = (model: CausalModel): CausalModel => {
  models.push(model);
  return model;
};
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'dunwu-adapter-'));
});
afterEach(() => {
  for (const model of models) model.dispose();
  models = [];
  rmSync(folder, { recursive: true });
});

const adapted = (model: CausalModel, overrides: object = {}): CausalModel => own(withAdapters(model, overrides));

describe('PEFT’s own adapters (testing/make_lora_golden.py)', () => {
  it.each(['qwen2', 'qwen3', 'yarn'])('%s: PEFT’s logits, beside and merged, and read again the same', async (name) => {
    using stored = openSafetensors(join(goldenLora(name), 'golden.safetensors'));
    const tokens = stored.tensor('input_ids');
    const theirs = stored.tensor('logits');
    const model = own(loadModel(golden(name)));
    const near = 5e-6 * theirs.abs().amax().item();
    expect(difference(logits(model, tokens).view(theirs.shape), theirs)).toBeGreaterThan(0.5);
    loadAdapter(model, goldenLora(name));
    expect(difference(logits(model, tokens).view(theirs.shape), theirs)).toBeLessThan(near);
    mergeAdapters(model);
    expect(difference(logits(model, tokens).view(theirs.shape), theirs)).toBeLessThan(near);
    await saveAdapter(model, folder);
    using before = openSafetensors(join(goldenLora(name), 'adapter_model.safetensors'));
    using after = openSafetensors(join(folder, 'adapter_model.safetensors'));
    expect([...after.names].sort()).toEqual([...before.names].sort());
    for (const tensorName of after.names) {
      expect(after.tensor(tensorName).numbers(), tensorName).toEqual(before.tensor(tensorName).numbers());
    }
    const { r, lora_alpha, use_rslora } = json(join(goldenLora(name), 'adapter_config.json'));
    expect(json(join(folder, 'adapter_config.json'))).toMatchObject({ peft_type: 'LORA', r, lora_alpha, use_rslora });
  });
});

describe('save and load', () => {
  it.each([
    ['all-linear of DeepSeek', () => tinyModel(1), {}],
    [
      'some of Qwen, rsLoRA',
      () => tinyDense('qwen2', 2),
      { target_modules: ['k_proj', '0.mlp.gate_proj'], use_rslora: true },
    ],
  ] as const)('%s: the same function', async (_, make, overrides) => {
    const model = adapted(make(), overrides);
    await saveAdapter(model, folder, { base: '../base' });
    const again = own(make());
    loadAdapter(again, folder);
    const tokens = ids(rows(2, 9));
    expect(difference(logits(again, tokens), logits(model, tokens))).toBe(0);
    expect(again.trained().map(({ name }) => name)).toEqual(model.trained().map(({ name }) => name));
    expect(again.trained().every(({ tensor: weight }) => weight.requiresGrad)).toBe(true);
    expect(again.lora).toMatchObject({ rank: 3, alpha: 6 });
    expect(json(join(folder, 'adapter_config.json')).base_model_name_or_path).toBe('../base');
  });

  it('names: PEFT’s; target_modules the shortest that mean just these', async () => {
    const model = adapted(tinyDense('qwen2', 2), { target_modules: ['v_proj', 'layers.1.mlp.down_proj'] });
    await saveAdapter(model, folder);
    using file = openSafetensors(join(folder, 'adapter_model.safetensors'));
    expect([...file.names].sort()).toEqual(
      ['0.self_attn.v_proj', '1.mlp.down_proj', '1.self_attn.v_proj'].flatMap((name) =>
        ['A', 'B'].map((which) => `base_model.model.model.layers.${name}.lora_${which}.weight`),
      ),
    );
    expect(file.info('base_model.model.model.layers.1.mlp.down_proj.lora_A.weight').shape).toEqual([3, 24]);
    expect(file.info('base_model.model.model.layers.1.mlp.down_proj.lora_B.weight').shape).toEqual([16, 3]);
    expect(file.metadata).toEqual({ format: 'pt' });
    expect(json(join(folder, 'adapter_config.json')).target_modules).toEqual([
      'model.layers.1.mlp.down_proj',
      'v_proj',
    ]);
  });

  it('a model with adapters is saved as its base; after absorbing, with them in', async () => {
    const model = adapted(tinyModel(3));
    const tokens = ids(rows(2, 9));
    const adaptedLogits = logits(model, tokens);
    await saveModel(model, folder);
    const base = own(loadModel(folder));
    expect(difference(logits(base, tokens), logits(own(tinyModel(3)), tokens))).toBe(0);
    absorbAdapters(model);
    await saveModel(model, folder);
    const merged = own(loadModel(folder));
    expect(difference(logits(merged, tokens), logits(model, tokens))).toBe(0);
    expect(difference(logits(merged, tokens), adaptedLogits)).toBeLessThan(1e-5 * adaptedLogits.abs().amax().item());
    await expect(saveAdapter(merged, folder)).rejects.toThrow('has no adapter to save');
  });

  it('restored into a model that has one of the same kind; another kind is refused', async () => {
    const model = adapted(tinyModel(4));
    await saveAdapter(model, folder);
    const values = (one: CausalModel) => one.trained().map(({ tensor: weight }) => weight.detach().numbers());
    const kept = model.trained().map(({ tensor: weight }) => weight);
    const before = values(model);
    scope(() =>
      noGrad(() => {
        for (const weight of kept) weight.add_(1);
      }),
    );
    restoreAdapter(model, folder);
    expect(values(model)).toEqual(before);
    expect(model.trained().every(({ tensor: weight }, i) => weight === kept[i])).toBe(true);
    const other = own(tinyModel(4));
    expect(() => restoreAdapter(other, folder)).toThrow('holds an adapter, and the model has none');
    addAdapters(other, config({ target_modules: ['o_proj'] }));
    expect(() => restoreAdapter(other, folder)).toThrow('of another configuration');
  });
});

describe('what does not fit', () => {
  const A = 'base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight';
  const B = 'base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight';
  const plain = { peft_type: 'LORA', r: 2, lora_alpha: 4, target_modules: ['model.layers.0.self_attn.q_proj'] };
  const good = () => ({ [A]: zeros([2, 16]), [B]: zeros([16, 2]) });

  function error(
    changes: object,
    tensors: Record<string, Tensor> = good(),
    make = () => tinyDense('qwen2', 1),
  ): string {
    writeFileSync(join(folder, 'adapter_config.json'), JSON.stringify({ ...plain, ...changes }));
    writeSafetensors(join(folder, 'adapter_model.safetensors'), tensors);
    const model = make();
    try {
      loadAdapter(model, folder);
    } catch (problem) {
      expect(model.lora).toBeNull();
      expect(model.trained().length).toBeGreaterThan(10);
      return (problem as Error).message.replaceAll(folder, 'DIR');
    } finally {
      model.dispose();
    }
    return 'none';
  }

  it('the plain one loads; keys of PEFT that ask for nothing are passed over', () => {
    expect(error({})).toBe('none');
    const nothing = { bias: 'none', use_dora: false, rank_pattern: {}, modules_to_save: null, lora_dropout: 0.1 };
    expect(error({ ...nothing, task_type: 'CAUSAL_LM', peft_version: '1', corda_config: null })).toBe('none');
    expect(error({ target_modules: ['q_proj'], layers_to_transform: [0] })).toBe('none');
    expect(error({ target_modules: '.*layers\\.0.*q_proj' })).toBe('none');
  });

  it.each([
    [{ use_dora: true }, 'use_dora: true is not supported'],
    [{ bias: 'all' }, 'bias: "all" is not supported'],
    [{ modules_to_save: ['lm_head'] }, 'modules_to_save: ["lm_head"] is not supported'],
    [{ rank_pattern: { q_proj: 4 } }, 'rank_pattern: {"q_proj":4} is not supported'],
    [{ something_new: 3 }, 'something_new: 3 is not supported'],
    [{ init_lora_weights: 'pissa' }, 'init_lora_weights: changes the weights of the base model'],
    [{ peft_type: 'LOHA' }, 'peft_type: '],
    [{ task_type: 'SEQ_CLS' }, 'task_type: '],
    [{ r: 0 }, 'r: '],
    [{ r: '2' }, 'r: '],
    [{ lora_alpha: undefined }, 'lora_alpha: '],
  ])('configuration %j', (changes, expected) => {
    const message = error(changes);
    expect(message).toContain('DIR/adapter_config.json: not an adapter that this program can honour:');
    expect(message).toContain(expected);
  });

  it('tensors: each is named, with both shapes', () => {
    expect(error({}, { ...good(), [A]: zeros([2, 15]) })).toBe(
      `DIR/adapter_model.safetensors: does not fit the model and adapter_config.json:\n  ${A} has the shape [2,15], the model and r ask for [2,16]`,
    );
    expect(error({ r: 3 })).toContain(`${B} has the shape [16,2], the model and r ask for [16,3]`);
    expect(error({}, { [A]: zeros([2, 16]) })).toContain(`${B} is missing`);
    expect(error({ target_modules: ['q_proj'] })).toContain('layers.1.self_attn.q_proj.lora_A.weight is missing');
    expect(error({ target_modules: ['k_proj'] })).toContain('self_attn.q_proj is not among the target_modules');
    expect(error({}, { ...good(), 'lm_head.weight': zeros([1]) })).toContain('lm_head.weight is no tensor of a LoRA');
    expect(error({}, { ...good(), [A.replace('q_proj', 'x')]: zeros([1]) })).toContain(
      'matches no matrix of this model',
    );
    expect(error({}, { ...good(), [A]: zeros([2, 16], { dtype: 'int64' }) })).toContain(`${A} is int64`);
    const nan = tensor(new Float32Array(32).fill(Number.NaN), { shape: [2, 16] });
    expect(error({}, { ...good(), [A]: nan })).toContain(`${A} has values that are not finite`);
    expect(error({}, {})).toContain(`${A} is missing`);
    const many = Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`t${i}`, zeros([1])]));
    expect(error({}, many)).toMatch(/ {2}… and \d+ more$/);
    const expert = 'base_model.model.model.layers.1.mlp.experts.0.gate_proj.lora_A.weight';
    expect(error({}, { ...good(), [expert]: zeros([2, 16]) }, () => tinyModel(1))).toContain(
      'routed experts have no adapters',
    );
  });

  it('files that are not there, or are no JSON, or a pickle', () => {
    const model = own(tinyDense('qwen2', 1));
    expect(() => loadAdapter(model, folder)).toThrow('adapter_config.json: there is no such file');
    writeFileSync(join(folder, 'adapter_config.json'), '{');
    expect(() => loadAdapter(model, folder)).toThrow('adapter_config.json: not valid JSON');
    writeFileSync(join(folder, 'adapter_config.json'), '[1]');
    expect(() => loadAdapter(model, folder)).toThrow('(top level): ');
    cpSync(goldenLora('qwen2'), folder, { recursive: true });
    renameSync(join(folder, 'adapter_model.safetensors'), join(folder, 'adapter_model.bin'));
    expect(() => loadAdapter(model, folder)).toThrow('adapter_model.bin can run code');
    writeFileSync(join(folder, 'adapter_model.safetensors'), 'nonsense');
    expect(() => loadAdapter(model, folder)).toThrow('adapter_model.safetensors');
    adapted(model);
    expect(() => loadAdapter(model, goldenLora('qwen2'))).toThrow('has adapters already');
  });
});

// What we write, PEFT loads, with the same logits. Skipped where there is no Python with PEFT.
const PYTHON = process.env.DUNWU_PYTHON ?? 'python3';
const probe = 'import importlib.util as u, sys; sys.exit(0 if u.find_spec("peft") and u.find_spec("torch") else 1)';
const SCRIPT = `
import json, sys, warnings
warnings.filterwarnings("ignore")
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM
out = []
for case in json.load(open(sys.argv[1])):
    base = AutoModelForCausalLM.from_pretrained(case["base"], dtype=torch.float32)
    with torch.no_grad():
        out.append(PeftModel.from_pretrained(base, case["adapter"]).eval()(torch.tensor(case["tokens"])).logits.flatten().tolist())
json.dump(out, open(sys.argv[2], "w"))
`;

it.skipIf(spawnSync(PYTHON, ['-c', probe]).status !== 0)('PEFT loads what we write', { timeout: 180_000 }, async () => {
  const tokens = rows(2, 20);
  const attention = ['q_a_proj', 'q_b_proj', 'kv_a_proj_with_mqa', 'kv_b_proj', 'o_proj'];
  const makers: (() => CausalModel)[] = [
    () => adapted(tinyDense('qwen2', 5)),
    () => adapted(tinyDense('llama', 6), { target_modules: ['k_proj', '1.mlp.gate_proj'], use_rslora: true }),
    () => adapted(tinyModel(7), { target_modules: attention }),
  ];
  const cases = [];
  for (const [i, make] of makers.entries()) {
    const model = make();
    const [base, adapter] = [join(folder, `base${i}`), join(folder, `adapter${i}`)];
    await saveModel(model, base);
    await saveAdapter(model, adapter, { base });
    cases.push({ base, adapter, tokens });
  }
  writeFileSync(join(folder, 'cases.json'), JSON.stringify(cases));
  writeFileSync(join(folder, 'script.py'), SCRIPT);
  execFileSync(PYTHON, [join(folder, 'script.py'), join(folder, 'cases.json'), join(folder, 'out.json')], {
    stdio: 'pipe',
    env: { ...process.env, HF_HUB_OFFLINE: '1' },
  });
  const theirs = JSON.parse(readFileSync(join(folder, 'out.json'), 'utf8')) as number[][];
  models.forEach((model, i) => {
    const mine = logits(model, ids(tokens));
    const error = difference(mine, tensor(theirs[i] as number[], { shape: mine.shape }));
    expect(error / mine.abs().amax().item(), String(i)).toBeLessThan(1e-5);
  });
});
