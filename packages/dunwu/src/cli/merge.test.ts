import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { manualSeed, noGrad, openSafetensors, scope } from '@dunwu/torch';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { loadAdapter, saveAdapter } from '../model/adapter-folder.js';
import { loadModel, saveModel } from '../model/checkpoint.js';
import { absorbAdapters, addAdapters } from '../model/lora.js';
import { loraConfig } from '../model/lora-config.js';
import { cli } from './testing/capture.js';
import { makeTinyFolder } from './testing/tiny-folder.js';

const root = mkdtempSync(path.join(os.tmpdir(), 'dunwu-merge-'));
const at = (...names: string[]) => path.join(root, ...names);
const [base, adapter] = [at('base'), at('adapter')];
beforeAll(async () => {
  await makeTinyFolder(base, 5);
  writeFileSync(path.join(base, 'generation_config.json'), '{"eos_token_id": [1, 7]}');
  const model = loadModel(base);
  manualSeed(3);
  addAdapters(model, loraConfig.parse({ rank: 2, alpha: 8 }));
  scope(() =>
    noGrad(() => {
      for (const { name, tensor } of model.trained()) if (name.includes('lora_B')) tensor.normal_(0, 0.5);
    }),
  );
  await saveAdapter(model, adapter);
  model.dispose();
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

describe('dunwu merge', () => {
  test('an ordinary model: base and adapter in one, with the base’s tokenizer', async () => {
    const { code, out } = await cli('merge', base, adapter, at('merged'));
    expect(code).toBe(0);
    expect(out).toBe(`${at('merged')}: ${base} with ${adapter} (rank 2, 24 matrices), float32\n`);
    const ours = loadModel(base);
    loadAdapter(ours, adapter);
    absorbAdapters(ours);
    const merged = loadModel(at('merged'));
    expect(merged.parameters().map(({ tensor }) => tensor.detach().numbers())).toEqual(
      ours.parameters().map(({ tensor }) => tensor.detach().numbers()),
    );
    for (const model of [ours, merged]) model.dispose();
    for (const name of ['tokenizer.json', 'generation_config.json']) {
      const read = (folder: string): unknown => JSON.parse(readFileSync(path.join(folder, name), 'utf8'));
      expect(read(at('merged'))).toEqual(read(base));
    }
  });

  test('stored as the base is, or as asked', async () => {
    const model = loadModel(base);
    await saveModel(model, at('bf16'), { dtype: 'bfloat16' });
    model.dispose();
    const stored = (folder: string) => {
      using file = openSafetensors(path.join(folder, 'model.safetensors'));
      return file.info('model.embed_tokens.weight').dtype;
    };
    expect((await cli('merge', at('bf16'), adapter, at('merged-bf16'))).out).toMatch(/, bfloat16\n$/);
    expect(stored(at('merged-bf16'))).toBe('bfloat16');
    expect((await cli('merge', base, adapter, at('asked'), '--dtype', 'float16')).code).toBe(0);
    expect(stored(at('asked'))).toBe('float16');
  });

  test('folders that will not do', async () => {
    const full = await cli('merge', base, adapter, base);
    expect(full).toMatchObject({ code: 2 });
    expect(full.err).toContain(`${base}: is not empty`);
    expect((await cli('merge', base, base, at('x'))).err).toContain('adapter_config.json: there is no such file');
    expect((await cli('merge', adapter, adapter, at('x'))).err).toContain('holds an adapter and no model');
    mkdirSync(at('stage'));
    cpSync(base, at('stage'), { recursive: true });
    cpSync(adapter, at('stage', 'adapter'), { recursive: true });
    const twice = await cli('merge', at('stage'), at('stage', 'adapter'), at('x'));
    expect(twice).toMatchObject({ code: 2 });
    expect(twice.err).toContain('is in the weights of');
    expect((await cli('merge', base, at('stage'), at('x'))).err).toContain(`did you mean ${at('stage', 'adapter')}?`);
    expect(existsSync(at('x'))).toBe(false);
  });
});

describe('--adapter', () => {
  test('generate: as the merged model, not as the base', async () => {
    const args = ['--max-tokens', '12', '--temperature', '1', '--json', '--n', '4'];
    const [plain, beside, merged] = [
      await cli('generate', base, '1+1?', ...args),
      await cli('generate', base, '1+1?', ...args, '--adapter', adapter),
      await cli('generate', at('merged'), '1+1?', ...args),
    ];
    expect([plain.code, beside.code, merged.code]).toEqual([0, 0, 0]);
    expect(beside.out).toBe(merged.out);
    expect(beside.out).not.toBe(plain.out);
  });

  test('eval: named in the result, and part of what a kept evaluation is of', async () => {
    const args = ['--task', 'word-problem', '--n', '2', '--max-tokens', '4', '--out', at('eval')];
    const { code, out } = await cli('eval', base, ...args, '--json', '--adapter', adapter);
    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ model: `${base} with ${adapter}` });
    expect((await cli('eval', base, ...args, '--resume')).code).toBe(2);
    expect((await cli('eval', base, ...args, '--resume', '--adapter', adapter)).code).toBe(0);
  });

  test('what is no adapter for this model is said before the weights are loaded, or with the tensor', async () => {
    expect((await cli('chat', base, '--adapter', at('nowhere'))).err).toContain(
      'adapter_config.json: there is no such file',
    );
    expect((await cli('serve', base, '--adapter', base)).err).toContain('adapter_config.json: there is no such file');
    cpSync(adapter, at('other'), { recursive: true });
    const config = JSON.parse(readFileSync(at('other', 'adapter_config.json'), 'utf8')) as object;
    writeFileSync(at('other', 'adapter_config.json'), JSON.stringify({ ...config, r: 3 }));
    const { code, err } = await cli('generate', base, 'x', '--adapter', at('other'));
    expect(code).toBe(1);
    expect(err).toMatch(/lora_A\.weight has the shape \[2,16\], the model and r ask for \[3,16\]/);
  });
});
