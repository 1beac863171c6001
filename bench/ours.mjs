// The contestant "ours": the trainers and the rollout engine of this repository, as a run uses them. Started by
// bench.mjs, which talks with it over standard input and output (lib/contestant.mjs).
//
//   node bench/ours.mjs write-model FOLDER MODEL                the weights that everyone starts from; MODEL: one of workload.json
//   node bench/ours.mjs check-bfloat16 WORK THREADS DEVICE      {"problem": why WORK cannot be done in bfloat16, or null}
//   node bench/ours.mjs limits THREADS DEVICE                   what the device can do at most (lib/limits.mjs), or null without it
//   node bench/ours.mjs WORK DTYPE PRECISION FOLDER THREADS DEVICE
//                                                               WORK: training, generation or grpo; DTYPE: float32 or bfloat16;
//                                                               PRECISION: auto, high or medium; DEVICE: cpu or cuda
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { manualSeed, peakMemory, runtimeInfo, synchronize } from '@dunwu/torch';
import { CausalModel } from '../packages/dunwu/dist/model/causal-model.js';
import { loadModel, saveModel } from '../packages/dunwu/dist/model/checkpoint.js';
import { parseConfig } from '../packages/dunwu/dist/model/config.js';
import { loadForDecoding } from '../packages/dunwu/dist/model/decoding-model.js';
import { useCompute } from '../packages/dunwu/dist/pipeline/compute.js';
import { RolloutEngine } from '../packages/dunwu/dist/rollout/engine.js';
import { samplingSchema } from '../packages/dunwu/dist/rollout/sampling-config.js';
import { grpo } from '../packages/dunwu/dist/train/grpo.js';
import { grpoConfig } from '../packages/dunwu/dist/train/grpo-config.js';
import { pretrain } from '../packages/dunwu/dist/train/pretrain.js';
import { pretrainConfig } from '../packages/dunwu/dist/train/pretrain-config.js';
import { ALPHABET, makeInputs } from './lib/inputs.mjs';
import { measureLimits } from './lib/limits.mjs';

const workload = JSON.parse(readFileSync(new URL('workload.json', import.meta.url), 'utf8'));

/** Steps enough that no run of the bench comes to the end of the training. */
const ENDLESS = 1_000_000;

/**
 * A run's surroundings for a trainer, without files, and with a gate: the trainer asks after every step whether it is
 * to stop, and the answer is held back until the bench wants more steps.
 */
class Gate {
  #device;
  #start;
  #open = null;
  #failed = null;
  #seconds = [];
  #wanted = 0;
  #began = 0;
  #done = null;
  #firstMetrics = null;
  #started = false;

  signal = new AbortController().signal;
  seed = 1;
  checkpoints = { save: async () => '' };
  progress = { start() {}, update() {}, end() {} };
  resumeFrom = () => null;
  log() {}
  samples() {}

  /** @param start begins the trainer with this as its host; `device`: where its model is */
  constructor(device, start) {
    this.#device = device;
    this.#start = start;
  }

  metrics(_step, values) {
    this.#firstMetrics ??= values;
    this.last = values;
  }

  async interrupted() {
    synchronize(this.#device);
    this.#seconds.push((performance.now() - this.#began) / 1000);
    if (this.#seconds.length >= this.#wanted) {
      const opened = new Promise((resolve) => {
        this.#open = resolve;
      });
      this.#done(this.#seconds);
      await opened;
    }
    this.#began = performance.now();
    return false;
  }

  async run(n) {
    if (this.#failed !== null) throw this.#failed;
    this.#seconds = [];
    this.#wanted = n;
    const finished = new Promise((resolve, reject) => {
      this.#done = resolve;
      if (!this.#started) {
        this.#started = true;
        this.#began = performance.now();
        this.#start(this).then(() => reject(new Error('the trainer came to its end')), reject);
      } else {
        this.#open();
      }
    });
    const seconds = await finished;
    return { seconds, first_loss: this.#firstMetrics?.loss };
  }
}

function training(model, inputs) {
  const { batch, time, learning_rate } = inputs.sizes.training;
  // Rows of `time` inputs, and as many targets as the peers have: they have none for a row's last token.
  const packed = {
    batch,
    time,
    tokens: Int32Array.from(inputs.training.flatMap((row) => [...row, 0])),
    segments: new Int32Array(batch * (time + 1)),
    positions: Int32Array.from({ length: batch * (time + 1) }, (_, i) => i % (time + 1)),
    lossMask: Float32Array.from({ length: batch * time }, (_, i) => (i % time === time - 1 ? 0 : 1)),
    tokenCount: batch * time,
  };
  const loader = { next: () => packed, state: {}, restore() {} };
  const config = pretrainConfig.parse({
    steps: ENDLESS,
    optimizer: { kind: 'adamw', learning_rate, betas: [0.9, 0.999], weight_decay: 0.01 },
    schedule: { kind: 'constant' },
    balance: { bias_update_speed: 0, sequence_loss: 0 },
    save_every: ENDLESS,
  });
  return new Gate(model.device, (host) => pretrain(host, model, loader, config));
}

function generation(model, inputs) {
  const { new: max_tokens } = inputs.sizes.generation;
  const engine = new RolloutEngine(model);
  const sampling = samplingSchema.parse({ temperature: 1, max_tokens });
  const prompts = inputs.generation.map((tokens, i) => ({ tokens, samples: 1, key: String(i) }));
  let seed = 0;
  return {
    async run(n) {
      const seconds = [];
      let firstLogprob;
      for (let i = 0; i < n; i++) {
        const began = performance.now();
        const samples = await engine.generate(prompts, { sampling, seed: seed++, stop: [] });
        seconds.push((performance.now() - began) / 1000);
        if (samples.length !== prompts.length || samples.some(({ tokens }) => tokens.length !== max_tokens)) {
          throw new Error(`not every response has ${max_tokens} tokens`);
        }
        firstLogprob ??= samples[0].logprobs[0];
      }
      return { seconds, first_logprob: firstLogprob };
    },
  };
}

function policyOptimisation(model, inputs) {
  const { prompts, group, new: max_tokens, learning_rate } = inputs.sizes.grpo;
  let asked = 0;
  const task = {
    id: 'bench',
    size: () => Number.POSITIVE_INFINITY,
    fixed: () => [],
    sample() {
      const prompt = inputs.questions[asked++ % inputs.questions.length];
      return { id: String(asked), prompt, source: 'bench', language: 'en', meta: {} };
    },
  };
  const config = grpoConfig.parse({
    steps: ENDLESS,
    questions_per_step: prompts,
    group_size: group,
    sampling: { temperature: 1, max_tokens },
    // The whole batch at once, as TRL has it.
    micro_batch_tokens: inputs.questions.reduce((sum, { length }) => sum + group * (length + max_tokens), 0),
    rewards: { rules: { language: 1 } },
    loss: { ratio: 'token', kl: { estimator: 'none' } },
    optimizer: { kind: 'adamw', learning_rate, betas: [0.9, 0.999], weight_decay: 0 },
    save_every: ENDLESS,
  });
  const gate = new Gate(model.device, (host) =>
    grpo(host, model, letterTokenizer(model.config.vocab_size), task, config),
  );
  return {
    async run(n) {
      const result = await gate.run(n);
      if (gate.last.length !== max_tokens) throw new Error(`responses have ${gate.last.length} tokens on average`);
      return result;
    },
  };
}

/** A token for each letter, Chinese characters for the rest of the vocabulary, and no token that ends a text. */
function letterTokenizer(size) {
  const tokens = ['', '', '', '', ...ALPHABET];
  for (let code = 0x4e00; tokens.length < size; code++) tokens.push(String.fromCharCode(code));
  const ids = new Map(tokens.map((token, id) => [token, id]));
  const special = { bos: 1, user: 2, assistant: 3, eos: -1 };
  return {
    special,
    special_id: (name) => special[name],
    encode: (text) => Array.from(text, (letter) => ids.get(letter)),
    decode: (list) => Array.from(list, (id) => tokens[id]).join(''),
  };
}

/** Largest memory so far: on the CPU that of this process, elsewhere that of its tensors there. */
function peakBytes(device) {
  if (device !== 'cpu') return peakMemory(device);
  try {
    return Number(readFileSync('/proc/self/status', 'utf8').match(/^VmHWM:\s+(\d+) kB/m)[1]) * 1024;
  } catch {
    return process.resourceUsage().maxRSS * 1024;
  }
}

const WORKS = { training, generation, grpo: policyOptimisation };

/**
 * bfloat16 that is accepted and changes nothing would be measured as if it were there: the first number of the work,
 * on a smaller batch, must not be that of float32. @throws Error when it is, or when bfloat16 is refused.
 */
async function checkBfloat16(work, threads, device) {
  const inputs = makeInputs({
    ...workload.tiny,
    training: { ...workload.tiny.training, batch: 2, time: 32 },
    generation: { batch: 2, prompt: 16, new: 2 },
  });
  const first = [];
  for (const dtype of ['float32', 'bfloat16']) {
    useCompute({ threads, dtype, device });
    manualSeed(0);
    const result = await WORKS[work](new CausalModel(parseConfig(workload.tiny.model), device), inputs).run(1);
    first.push(result.first_loss ?? result.first_logprob);
  }
  if (first[0] === first[1]) {
    throw new Error(`${work} in bfloat16 gives exactly float32's numbers: it is not computed in bfloat16`);
  }
}

async function main([work, ...args]) {
  if (work === 'write-model') {
    const [folder, name] = args;
    manualSeed(0);
    await saveModel(new CausalModel(parseConfig(workload[name].model)), folder);
    return;
  }
  if (work === 'check-bfloat16') {
    const [what, threads, device] = args;
    const problem = await checkBfloat16(what, Number(threads), device).then(
      () => null,
      ({ message }) => message,
    );
    process.stdout.write(JSON.stringify({ problem }), () => process.exit(0)); // A trainer waits at its gate.
    return;
  }
  if (work === 'limits') {
    const [threads, device] = args;
    process.stdout.write(JSON.stringify(measureLimits(workload, Number(threads), device)));
    return;
  }
  const [dtype, precision, folder, threads, device] = args;
  useCompute({ threads: Number(threads), dtype, device, float32_matmul_precision: precision });
  // As a run's stages and commands open it.
  const model = (work === 'generation' ? loadForDecoding : loadModel)(join(folder, 'model'), device);
  const inputs = JSON.parse(readFileSync(join(folder, 'inputs.json'), 'utf8'));
  const contestant = WORKS[work](model, inputs);
  const say = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);
  const weights = Object.entries(model.decoderParts()).filter(
    ([name, one]) => one !== null && !name.endsWith('router_bias'),
  );
  const parameters = [...new Set(weights.map(([, one]) => one))].reduce((sum, { numel }) => sum + numel, 0);
  const { version, cpuCapability } = runtimeInfo();
  say({ parameters, describes: `node ${process.versions.node}, libtorch ${version} (${cpuCapability})` });
  process.on('SIGINT', () => {}); // bench.mjs ends us.
  for await (const line of createInterface({ input: process.stdin })) {
    const before = process.cpuUsage();
    const result = await contestant.run(JSON.parse(line).run);
    const { user, system } = process.cpuUsage(before);
    say({ ...result, cpu_seconds: (user + system) / 1e6, peak_bytes: peakBytes(device) });
  }
  process.exit(0); // A trainer waits at its gate.
}

await main(process.argv.slice(2));
