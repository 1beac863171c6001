import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { manualSeed, op, randn } from '@dunwu/torch';
import { afterAll, describe, expect, it } from 'vitest';
import { CausalModel } from './causal-model.js';
import { loadModel, saveModel } from './checkpoint.js';
import { addAdapters } from './lora.js';
import { loraConfig } from './lora-config.js';
import { ScalarModel } from './scalar-model.js';
import { tinyConfig, tinyModel } from './testing/tiny.js';

/** A device that is not the CPU, and refuses tensors of the CPU: native/stand_in.cpp. */
const OTHER = `${op('dunwu::stand_in')()}:0`;

const folder = mkdtempSync(join(tmpdir(), 'dunwu-device-'));
afterAll(() => rmSync(folder, { recursive: true }));

const config = tinyConfig({ num_nextn_predict_layers: 1 });
const devices = (model: CausalModel): Set<string> =>
  new Set([...model.parameters(), ...model.trained()].map(({ tensor }) => tensor.device));

describe('a model on a device', () => {
  it('has all its weights, tables and adapters there, and so has what is made for it later', () => {
    const model = new CausalModel(config, OTHER);
    addAdapters(model, loraConfig.parse({ rank: 2, alpha: 4 }));
    model.reserve(config.max_position_embeddings);
    const score = new ScalarModel(model);
    expect(model.device).toBe(OTHER);
    expect(score.device).toBe(OTHER);
    expect(devices(model)).toEqual(new Set([OTHER]));
    expect(score.parameters().map(({ tensor }) => tensor.device)).not.toContain('cpu');
    expect(model.rotary.map(({ device }) => device)).toEqual([OTHER, OTHER]);
    score.dispose();
    // The setting ended with the constructor.
    expect(new CausalModel(config).device).toBe('cpu');
  });

  it('draws from the generator of the CPU: the same weights, and what is drawn next is the same', () => {
    const next = (device: string): number[] => {
      manualSeed(3);
      const model = new CausalModel(config, device);
      addAdapters(model, loraConfig.parse({ rank: 2, alpha: 4 }));
      const weights = [...model.parameters(), ...model.trained()].flatMap(({ tensor }) => tensor.detach().numbers());
      model.dispose();
      return [...weights, ...randn([2]).numbers()];
    };
    expect(next(OTHER)).toEqual(next('cpu'));
  });

  it('is loaded there', async () => {
    const stored = tinyModel(1);
    await saveModel(stored, folder);
    const loaded = loadModel(folder, OTHER);
    expect(devices(loaded)).toEqual(new Set([OTHER]));
    const values = (model: CausalModel) => model.parameters().map(({ tensor }) => tensor.detach().numbers());
    expect(values(loaded)).toEqual(values(stored));
    // And saved from there.
    await saveModel(loaded, folder);
    const again = loadModel(folder);
    expect(values(again)).toEqual(values(stored));
    for (const model of [loaded, stored, again]) model.dispose();
  });
});
