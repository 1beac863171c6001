import { type Device, manualSeed } from '@dunwu/torch';
import { Loader } from '../../data/loader.js';
import type { TokenDocument } from '../../data/packing.js';
import { ShuffledRows } from '../../data/shuffled-rows.js';
import { CausalModel } from '../../model/causal-model.js';
import { type ModelConfig, parseConfig } from '../../model/config.js';
import { ScalarModel } from '../../model/scalar-model.js';
import { TINY } from '../../model/testing/tiny.js';
import { makeTokenizer, SMALL_CORPUS } from '../../text/testing/make-tokenizer.js';
import type { Tokenizer } from '../../text/tokenizer.js';
import { Random } from '../../util/random.js';
import { distillFromRows } from '../distill.js';
import { distillFromRowsConfig, distillOnPolicyConfig } from '../distill-config.js';
import { distillOnPolicy } from '../distill-on-policy.js';
import { dpo } from '../dpo.js';
import { dpoConfig } from '../dpo-config.js';
import { grpo } from '../grpo.js';
import { grpoConfig } from '../grpo-config.js';
import { ppo } from '../ppo.js';
import { ppoConfig } from '../ppo-config.js';
import { pretrain } from '../pretrain.js';
import { pretrainConfig } from '../pretrain-config.js';
import { type RewardExamples, trainRewardModel } from '../reward-model.js';
import { rewardModelConfig } from '../reward-model-config.js';
import { sft } from '../sft.js';
import { sftConfig } from '../sft-config.js';
import { liveTeacher } from '../teacher.js';
import { StoredTeacher, writeTeacherStore } from '../teacher-store.js';
import type { TestHost } from './host.js';
import { pickTask } from './pick.js';

/**
 * Every trainer on a model of a few thousand weights, two steps each, on any device: what tests of devices run. No model
 * speaks here: the test puts given-rollouts.ts in the place of rollouts.ts.
 */
export interface Training {
  readonly name: string;
  /** How often the host waits for the device in the two steps, and in what is measured after the last. */
  readonly waits: number;
  /** @returns what was trained */
  run(host: TestHost, device: Device): Promise<CausalModel | ScalarModel>;
}

const adamw = { kind: 'adamw', learning_rate: 0.01 } as const;
const muon = { kind: 'muon', learning_rate: 0.02, adamw_learning_rate: 0.01 } as const;
const steps = 2;

// Even widths, as every real model has them.
const deepseek: ModelConfig = parseConfig({
  ...TINY,
  v_head_dim: 6,
  num_nextn_predict_layers: 1,
  initializer_range: 0.1,
});
const dense: ModelConfig = parseConfig({
  model_type: 'qwen3',
  vocab_size: 24,
  hidden_size: 16,
  intermediate_size: 24,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 4,
  max_position_embeddings: 64,
  initializer_range: 0.1,
});

function model(config: ModelConfig, device: Device, seed = 7): CausalModel {
  manualSeed(seed);
  return new CausalModel(config, device);
}

const documents = (count: number): TokenDocument[] =>
  Array.from({ length: count }, (_, i) => {
    const rng = new Random(`document ${i}`);
    const tokens = [0, ...Array.from({ length: rng.int(2, 9) }, () => rng.int(2, 23)), 1];
    return { tokens, mask: tokens.map((_, at) => (at > 1 ? 1 : 0)) };
  });

const batches = () =>
  new Loader(new ShuffledRows(documents(20), { seed: 1, epochs: 9 }), (row) => row, {
    batch: 2,
    time: 20,
    overflow: 'fit',
  });

const pretraining = (config: ModelConfig, optimizer: object, device: Device, host: TestHost) => {
  const trained = model(config, device);
  const more = { schedule: { kind: 'constant' }, gradient_accumulation: 2, balance: { sequence_loss: 0.01 } };
  return pretrain(host, trained, batches(), pretrainConfig.parse({ steps, optimizer, ...more })).then(() => trained);
};

const pairs = documents(10).map(({ tokens }, i) => {
  const sequence = (token: number) => ({ tokens: [0, 4 + (i % 5), token, ...tokens.slice(2)], promptLength: 2 });
  return { prompt: `prompt ${i}`, chosen: sequence(7), rejected: sequence(8) };
});
const judged: RewardExamples[] = [
  {
    rows: 'preference',
    examples: pairs.map(({ prompt, chosen, rejected }) => ({
      prompt,
      chosen: chosen.tokens,
      rejected: rejected.tokens,
    })),
  },
  {
    rows: 'safety',
    examples: pairs.map(({ prompt, chosen }, i) => ({ prompt, tokens: chosen.tokens, safe: i % 2 === 0 })),
  },
];
const rowSteps = { batch: 4, held_out: 0.2, optimizer: adamw, evaluate_every: 2, micro_batch_tokens: 40 };

const sampling = { max_tokens: 6 };
const rewards = { rules: { accuracy: { weight: 1, require_tags: false } } };
const online = { steps, sampling, optimizer: adamw, micro_batch_tokens: 64, save_every: 1000 };
let tokenizer: Promise<Tokenizer> | undefined;
const speaking = (): Promise<Tokenizer> => {
  tokenizer ??= makeTokenizer(SMALL_CORPUS, { vocab_size: 280, digits: 'single' });
  return tokenizer;
};
const speaker = async (device: Device, seed?: number): Promise<CausalModel> =>
  model(
    parseConfig({ ...deepseek, num_nextn_predict_layers: 0, vocab_size: (await speaking()).vocab_size }),
    device,
    seed,
  );

async function reinforced(host: TestHost, device: Device, loss: object, more: object = {}): Promise<CausalModel> {
  const policy = await speaker(device);
  const config = { ...online, questions_per_step: 2, group_size: 4, mini_batches: 2, rewards, loss, ...more };
  await grpo(host, policy, await speaking(), pickTask('3'), grpoConfig.parse(config));
  return policy;
}

export const TRAININGS: readonly Training[] = [
  { name: 'pretrain, DeepSeek, AdamW', waits: 2, run: (host, device) => pretraining(deepseek, adamw, device, host) },
  { name: 'pretrain, DeepSeek, Muon', waits: 2, run: (host, device) => pretraining(deepseek, muon, device, host) },
  { name: 'pretrain, dense', waits: 2, run: (host, device) => pretraining(dense, adamw, device, host) },
  {
    name: 'sft, adapters',
    // Each step, and the rows held out after each.
    waits: 4,
    run: async (host, device) => {
      const trained = model(dense, device);
      const config = { steps, optimizer: adamw, packing: { batch: 2, time: 20 }, lora: { rank: 2, alpha: 4 } };
      await sft(host, trained, documents(12), sftConfig.parse({ ...config, validation: { every: 1, rows: 4 } }));
      return trained;
    },
  },
  {
    name: 'distil from rows',
    waits: 2,
    run: async (host, device) => {
      const [student, teacher] = [model(dense, device), model(deepseek, device, 8)];
      teacher.setTrainable(false);
      const config = { steps, optimizer: adamw, packing: { batch: 2, time: 20 }, loss: { top_k: 4, hard_weight: 0.2 } };
      const live = liveTeacher(teacher, { temperature: 1, topK: 4, vocabulary: 24 });
      await distillFromRows(host, student, live, documents(12), distillFromRowsConfig.parse(config), 24);
      teacher.dispose();
      return student;
    },
  },
  {
    name: 'distil from stored rows',
    waits: 2,
    run: async (host, device) => {
      // What a teacher said elsewhere: it is read from files, and goes to the student's device.
      const [student, teacher] = [model(dense, device), model(deepseek, 'cpu', 8)];
      const plan = { temperature: 1, topK: 4, vocabulary: 24, time: 20 };
      await writeTeacherStore(host, host.dir, teacher, documents(12), plan);
      teacher.dispose();
      const stored = new StoredTeacher(host.dir, plan);
      const config = { steps, optimizer: adamw, packing: { batch: 2, time: 20 }, loss: { top_k: 4 } };
      await distillFromRows(host, student, stored, documents(12), distillFromRowsConfig.parse(config), 24);
      stored.close();
      return student;
    },
  },
  {
    name: 'distil on policy',
    waits: 2,
    run: async (host, device) => {
      const [student, teacher] = [await speaker(device), await speaker(device, 8)];
      teacher.setTrainable(false);
      const config = distillOnPolicyConfig.parse({ ...online, questions_per_step: 3 });
      const { vocab_size } = await speaking();
      // The rows that it samples are of another shape than GRPO's, and nobody looks at them.
      await distillOnPolicy(
        { ...hostOf(host), samples: () => {} },
        student,
        teacher,
        await speaking(),
        pickTask('3'),
        config,
        vocab_size,
      );
      teacher.dispose();
      return student;
    },
  },
  {
    name: 'dpo',
    // And the rows held out, with the last step and at the end.
    waits: 4,
    run: async (host, device) => {
      const [policy, reference] = [model(deepseek, device), model(deepseek, device, 8)];
      reference.setTrainable(false);
      await dpo(host, { policy, reference }, pairs, dpoConfig.parse(rowSteps));
      reference.dispose();
      return policy;
    },
  },
  ...judged.map(
    (examples): Training => ({
      name: `reward model, ${examples.rows}`,
      // And the rows held out, with the last step and at the end; scores of preferences are centred besides.
      waits: examples.rows === 'preference' ? 5 : 4,
      run: async (host, device) => {
        const scalar = new ScalarModel(model(deepseek, device));
        const config = rewardModelConfig.parse({ ...rowSteps, rows: examples.rows, reads: 'whole' });
        await trainRewardModel(host, scalar, examples, config);
        return scalar;
      },
    }),
  ),
  {
    name: 'grpo, k3',
    waits: 2,
    run: (host, device) => reinforced(host, device, { ratio: 'token', kl: { estimator: 'k3', coefficient: 0.1 } }),
  },
  {
    name: 'grpo, exact KL, sequence ratio, adapters',
    waits: 2,
    run: (host, device) =>
      reinforced(
        host,
        device,
        { ratio: 'sequence', kl: { estimator: 'exact', coefficient: 0.1 } },
        { lora: { rank: 2, alpha: 4 } },
      ),
  },
  {
    name: 'ppo',
    // The reference, the values, and the updates of both, at each step.
    waits: 8,
    run: async (host, device) => {
      const [policy, reference] = [await speaker(device), await speaker(device, 8)];
      const value = new ScalarModel(await speaker(device, 9));
      const rewardModel = { reads: 'whole', score: (items: unknown[]) => items.map((_, i) => Math.sin(i)) } as const;
      const config = ppoConfig.parse({ ...online, questions_per_step: 4, mini_batches: 2, kl: { coefficient: 0.1 } });
      await ppo(hostOf(host), { policy, reference, value, rewardModel }, await speaking(), pickTask('3'), config);
      for (const one of [reference, value]) one.dispose();
      return policy;
    },
  },
];

/** A host whose samples nobody looks at. */
const hostOf = (host: TestHost) => ({
  seed: host.seed,
  checkpoints: host.checkpoints,
  progress: host.progress,
  interrupted: () => host.interrupted(),
  resumeFrom: () => host.resumeFrom(),
  metrics: host.metrics.bind(host),
  log: host.log.bind(host),
  samples: (): void => {},
});
