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

it.each([
  ['the size of the vocabulary', { model: TINY }, 'model'],
  ['uneven groups of experts', { model: { ...model, n_group: 3 } }, 'model.n_group'],
  ['rows longer than the positions of the model', { packing: { batch: 2, time: 65 } }, 'packing.time'],
  ['what would be ignored', { packing: { batch: 2, time: 64, pad: 3 } }, 'packing'],
])('%s is refused at its key', (_, change, path) => {
  const issues = schema.safeParse({ ...good, ...change }).error?.issues ?? [];
  expect(issues.map((issue) => issue.path.join('.'))).toEqual([path]);
});
