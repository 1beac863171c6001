import { expect, it } from 'vitest';
import { TINY } from '../../model/testing/tiny.js';
import { schema } from './pretrain.schema.js';

const { vocab_size: _, ...model } = TINY;
const good = {
  tokenizer: 'tokens',
  corpus: { type: 'worked-solutions' },
  packing: { batch: 2, time: 64 },
  steps: 1,
  optimizer: { kind: 'adamw', learning_rate: 1 },
  schedule: { kind: 'constant' },
  model,
};

it('accepts a config.json without what the tokenizer decides', () => {
  expect(schema.parse(good)).toMatchObject({ save_every: 200, gradient_accumulation: 1, model: { kv_lora_rank: 8 } });
});

it('takes modules of multi-token prediction, with the published weights of their loss', () => {
  const given = { ...good, model: { ...model, num_nextn_predict_layers: 1 } };
  expect(schema.parse(given).mtp).toBeUndefined();
  expect(schema.parse({ ...given, mtp: {} }).mtp).toEqual({
    loss_weight: 0.3,
    final_loss_weight: 0.1,
    switch_at: 0.676,
  });
});

it.each([
  ['the size of the vocabulary', { model: TINY }, 'model'],
  ['uneven groups of experts', { model: { ...model, n_group: 3 } }, 'model.n_group'],
  ['rows longer than the positions of the model', { packing: { batch: 2, time: 65 } }, 'packing.time'],
  ['multi-token prediction without a module', { mtp: {} }, 'mtp'],
  ['the other key for modules', { model: { ...model, num_mtp_layers: 1 } }, 'model.num_mtp_layers'],
  [
    'rows too short for a module',
    { model: { ...model, num_nextn_predict_layers: 2 }, packing: { batch: 2, time: 2 } },
    'packing.time',
  ],
  ['what would be ignored', { packing: { batch: 2, time: 64, pad: 3 } }, 'packing'],
])('%s is refused at its key', (_, change, path) => {
  const issues = schema.safeParse({ ...good, ...change }).error?.issues ?? [];
  expect(issues.map((issue) => issue.path.join('.'))).toEqual([path]);
});
