import { afterEach, describe, expect, it } from 'vitest';
import type { CausalModel } from '../model/causal-model.js';
import { tinyModel } from '../model/testing/tiny.js';
import { RolloutEngine } from '../rollout/engine.js';
import { Optimizer } from './optimizer.js';
import { optimizerSchema } from './optimizer-config.js';
import {
  microBatches,
  type PolicyOutput,
  type PolicyUpdateConfig,
  responseLogprobs,
  updatePolicy,
} from './policy-update.js';

const models: CausalModel[] = [];
const optimizers: Optimizer[] = [];
afterEach(() => {
  for (const optimizer of optimizers.splice(0)) optimizer.dispose();
  for (const model of models.splice(0)) model.dispose();
});

function policyAndOptimizer(learning_rate = 0.01): { policy: CausalModel; optimizer: Optimizer } {
  const policy = tinyModel(31);
  const optimizer = new Optimizer(
    policy.parameters(),
    optimizerSchema.parse({ kind: 'adamw', learning_rate, weight_decay: 0 }),
  );
  models.push(policy);
  optimizers.push(optimizer);
  return { policy, optimizer };
}

/** Four outputs of 5, 1, 3 and 2 tokens. Their old log-probabilities are the policy's own. */
function outputsOf(policy: CausalModel, advantages: readonly (readonly number[])[]): PolicyOutput[] {
  const sequences = [
    { tokens: [3, 9, 14, 2, 7, 11, 4], promptLength: 2 },
    { tokens: [5, 6], promptLength: 1 },
    { tokens: [8, 8, 21, 17, 1], promptLength: 2 },
    { tokens: [3, 9, 14, 15], promptLength: 2 },
  ];
  const logprobs = responseLogprobs(policy, sequences, { temperature: 1, micro_batch_tokens: 100 });
  return sequences.map((one, i) => ({
    ...one,
    logprobs: logprobs[i] as number[],
    advantages: advantages[i] as number[],
  }));
}

const config: PolicyUpdateConfig = {
  group_size: 1,
  mini_batches: 1,
  inner_epochs: 1,
  micro_batch_tokens: 1000,
  clip_grad: 1,
  temperature: 1,
  loss: { ratio: 'token', clip_low: 0.2, clip_high: 0.2, aggregate: 'token-mean', kl: { estimator: 'none' } },
};

const weights = (model: CausalModel): number[] => model.parameters().flatMap(({ tensor }) => tensor.detach().numbers());

describe('responseLogprobs', () => {
  it('gives what sampling gave, in the order of the sequences, at the same temperature, however it is split', async () => {
    const policy = tinyModel(31);
    models.push(policy);
    const samples = await new RolloutEngine(policy).generate(
      [
        { tokens: [3, 9, 14], samples: 3, key: 'a' },
        { tokens: [5], samples: 2, key: 'b' },
      ],
      { sampling: { temperature: 0.7, top_p: 1, top_k: 0, max_tokens: 9 }, seed: 3, stop: [1, 4, 6, 12] },
    );
    const sequences = samples.map(({ prompt, tokens }) => {
      const before = prompt === 0 ? [3, 9, 14] : [5];
      return { tokens: [...before, ...tokens], promptLength: before.length };
    });
    for (const micro_batch_tokens of [1, 20, 1000]) {
      const found = responseLogprobs(policy, sequences, { temperature: 0.7, micro_batch_tokens });
      expect(found.map(({ length }) => length)).toEqual(samples.map(({ tokens }) => tokens.length));
      found.flat().forEach((value, i) => {
        expect(value).toBeCloseTo(samples.flatMap(({ logprobs }) => logprobs)[i] as number, 4);
      });
    }
  });
});

describe('updatePolicy', () => {
  it('gives every token its own advantage: the loss is −ΣA/N on-policy, by hand', () => {
    const { policy, optimizer } = policyAndOptimizer(1e-12);
    const outputs = outputsOf(policy, [[1, 2, 3, 4, 5], [-7], [0, 0, 3], [0.5, -0.5]]);
    const metrics = updatePolicy({ policy, optimizer, reference: null }, outputs, config, { n: 1, rate: 1 });
    expect(metrics['loss/policy']).toBeCloseTo(-(15 - 7 + 3 + 0) / 11, 5);
    expect(metrics['logprob_difference/max']).toBeLessThan(1e-5);
  });

  it('raises the tokens with a positive advantage and lowers those with a negative one', () => {
    const { policy, optimizer } = policyAndOptimizer(0.002);
    const outputs = outputsOf(policy, [[0, 0, 0, 0, 0], [0], [1, 0, 0], [0, -1]]);
    updatePolicy({ policy, optimizer, reference: null }, outputs, config, { n: 1, rate: 1 });
    const after = responseLogprobs(policy, outputs, { temperature: 1, micro_batch_tokens: 100 });
    expect(after[2]?.[0]).toBeGreaterThan(outputs[2]?.logprobs[0] as number);
    expect(after[3]?.[1]).toBeLessThan(outputs[3]?.logprobs[1] as number);
  });

  it('micro-batches change nothing', () => {
    const results = [1000, 1].map((micro_batch_tokens) => {
      const { policy, optimizer } = policyAndOptimizer();
      const outputs = outputsOf(policy, [[1, 2, 3, 4, 5], [-7], [0, 0, 3], [0.5, -0.5]]);
      const two = { ...config, mini_batches: 2, micro_batch_tokens };
      const metrics = updatePolicy({ policy, optimizer, reference: null }, outputs, two, { n: 1, rate: 1 });
      return { metrics, weights: weights(policy) };
    });
    expect(results[0]?.metrics['loss/policy']).toBeCloseTo(results[1]?.metrics['loss/policy'] as number, 5);
    results[0]?.weights.forEach((value, i) => {
      expect(Math.abs(value - (results[1]?.weights[i] as number))).toBeLessThan(1e-4);
    });
  });

  it('a teacher as reference and no advantages: on-policy distillation lowers the exact KL to it', () => {
    const { policy, optimizer } = policyAndOptimizer(0.005);
    const teacher = tinyModel(77);
    models.push(teacher);
    const outputs = outputsOf(policy, [[0, 0, 0, 0, 0], [0], [0, 0, 0], [0, 0]]);
    const loss = { ...config.loss, kl: { estimator: 'exact', coefficient: 1 } } as const;
    const kl = Array.from(
      { length: 8 },
      (_, i) =>
        updatePolicy({ policy, optimizer, reference: teacher }, outputs, { ...config, loss }, { n: i + 1, rate: 1 })
          .kl as number,
    );
    expect(kl[0]).toBeGreaterThan(0.01);
    expect(kl.at(-1)).toBeLessThan(0.7 * (kl[0] as number));
  });

  it('refuses advantages that do not fit, naming the output', () => {
    const { policy, optimizer } = policyAndOptimizer();
    const outputs = outputsOf(policy, [[1, 2, 3, 4, 5], [-7], [0, 0], [0.5, -0.5]]);
    expect(() => updatePolicy({ policy, optimizer, reference: null }, outputs, config, { n: 1, rate: 1 })).toThrow(
      'output 2 has 3 response tokens and 2 advantages',
    );
  });
});

it('microBatches: no part above the limit but single outputs, those of one length together, nothing lost', () => {
  const lengths = [5, 2, 9, 3, 4];
  const parts = microBatches(
    lengths.map((length) => ({ tokens: new Array<number>(length).fill(0), promptLength: 1 })),
    8,
  );
  expect(parts.map((part) => part.map(({ tokens }) => tokens.length))).toEqual([[2, 3], [4], [5], [9]]);
});
