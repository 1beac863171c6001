import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CausalModel } from '../model/causal-model.js';
import { parseConfig } from '../model/config.js';
import { TINY, tinyModel } from '../model/testing/tiny.js';
import type { Tokenizer } from '../text/tokenizer.js';
import { distillOnPolicyConfig } from './distill-config.js';
import { distillOnPolicy, type OnPolicyHost, type OnPolicySampleRow } from './distill-on-policy.js';
import { TestHost } from './testing/host.js';
import { pickBase, pickTask } from './testing/pick.js';

let tokenizer: Tokenizer;
let teacher: CausalModel;
beforeAll(async () => {
  ({ tokenizer, base: teacher } = await pickBase());
  teacher.setTrainable(false);
});

class Host extends TestHost {
  readonly said: OnPolicySampleRow[][] = [];
  override samples(_step: number, rows: readonly OnPolicySampleRow[]): void {
    this.said.push([...rows]);
  }
}

const hosts: TestHost[] = [];
afterAll(() => {
  for (const host of hosts) host.dispose();
});

const config = (overrides: Record<string, unknown> = {}) =>
  distillOnPolicyConfig.parse({
    steps: 3,
    questions_per_step: 4,
    samples: 2,
    sampling: { max_tokens: 6 },
    optimizer: { kind: 'adamw', learning_rate: 0.01, weight_decay: 0 },
    balance: { sequence_loss: 0 },
    ...overrides,
  });

const student = (seed: number): CausalModel =>
  tinyModel(seed, {
    ...TINY,
    vocab_size: tokenizer.vocab_size,
    hidden_size: 24,
    num_hidden_layers: 2,
    initializer_range: 0.05,
  });

async function train(
  model: CausalModel,
  overrides: Record<string, unknown>,
  host: OnPolicyHost & TestHost = new Host(),
) {
  hosts.push(host);
  const summary = await distillOnPolicy(
    host,
    model,
    teacher,
    tokenizer,
    pickTask('3'),
    config(overrides),
    tokenizer.vocab_size,
  );
  const weights = model.parameters().flatMap(({ tensor }) => tensor.detach().numbers());
  model.dispose();
  return { host, summary, weights };
}

describe('on the student’s own samples', () => {
  it('a student that is its teacher has nothing to learn, and says so without failing', async () => {
    const same = new CausalModel(parseConfig(teacher.config));
    same.copyFrom(teacher);
    const { host } = await train(same, { steps: 1, loss: { divergence: { kind: 'reverse' } } });
    expect(host.series('divergence')[0]).toBeCloseTo(0, 6);
    expect(host.series('grad_norm')[0]).toBeLessThan(1e-5);
  });

  it('a new, smaller student learns to say what the teacher would', async () => {
    const host = new Host();
    const { summary } = await train(
      student(91),
      { steps: 45, questions_per_step: 12, rewards: { rules: { accuracy: { weight: 1, require_tags: false } } } },
      host,
    );
    const divergence = host.series('divergence');
    expect(divergence.at(-1)).toBeLessThan(0.25 * (divergence[0] as number));
    // The teacher answers with one to three digits 2, 3, 4.
    expect(host.said.at(-1)?.filter(({ response }) => /^[234]{1,3}$/.test(response)).length).toBeGreaterThan(12);
    expect(host.said[0]?.filter(({ response }) => /^[234]{1,3}$/.test(response)).length).toBeLessThan(6);
    expect(host.series('accuracy').reduce((a, b) => a + b)).toBeGreaterThan(0);
    expect(host.said[0]?.[0]?.trace?.parts[0]?.name).toBe('accuracy');
    expect(host.series('truncated').at(-1)).toBeLessThan(0.3);
    expect([summary.tokens, summary.flops]).toEqual([host.series('tokens').at(-1), host.series('flops').at(-1)]);
  });

  it('stopped and resumed: bit for bit', async () => {
    const settings = { steps: 4, loss: { divergence: { kind: 'forward' }, top_k: 8 } };
    const whole = await train(student(92), settings);
    const stopping = new Host();
    stopping.stopAfter = 2;
    const first = await train(student(92), settings, stopping);
    expect(first.summary.outcome).toBe('interrupted');
    const second = await train(student(99), settings, TestHost.resuming(stopping, 2));
    expect([...first.host.timeless(), ...second.host.timeless()]).toEqual(whole.host.timeless());
    expect(second.weights).toEqual(whole.weights);
  });

  it('small micro-batches change nothing but memory', async () => {
    const optimizer = { kind: 'adamw', learning_rate: 1e-3, eps: 1e-3 };
    const large = await train(student(93), { steps: 1, optimizer });
    const small = await train(student(93), { steps: 1, optimizer, micro_batch_tokens: 30 });
    for (const name of ['loss', 'divergence', 'agreement', 'grad_norm', 'length']) {
      expect(small.host.series(name)[0]).toBeCloseTo(large.host.series(name)[0] as number, 5);
    }
    small.weights.forEach((value, i) => {
      if (Math.abs(value - (large.weights[i] as number)) > 1e-5) throw new Error(`weight ${i} differs`);
    });
  });

  it('the next-token loss on its own samples is refused', () => {
    expect(() => config({ loss: { hard_weight: 0.5 } })).toThrow('must be 0');
  });
});
