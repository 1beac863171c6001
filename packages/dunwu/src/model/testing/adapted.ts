import { manualSeed, noGrad, scope } from '@dunwu/torch';
import type { CausalModel } from '../causal-model.js';
import { addAdapters } from '../lora.js';
import { loraConfig } from '../lora-config.js';

/** Puts seeded adapters on a model that do something: B is away from 0. */
export function adapted(model: CausalModel, overrides: object = {}): CausalModel {
  manualSeed(9);
  addAdapters(model, loraConfig.parse({ rank: 3, alpha: 6, ...overrides }));
  scope(() =>
    noGrad(() => {
      for (const { name, tensor } of model.trained()) if (name.includes('lora_B')) tensor.normal_(0, 0.3);
    }),
  );
  return model;
}
