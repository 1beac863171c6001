import { liveTensors, noGrad, scope, tokenLogprobs } from '@dunwu/torch';
import { afterEach, describe, expect, it } from 'vitest';
import type { CausalModel } from '../model/causal-model.js';
import { ids, tinyModel } from '../model/testing/tiny.js';
import { Random } from '../util/random.js';
import { type DpoPair, dpo, sequenceLogprobs } from './dpo.js';
import { type DpoConfig, dpoConfig } from './dpo-config.js';
import { countFlops } from './flops.js';
import { TestHost } from './testing/host.js';

/** After any prompt 7 is better than 8; lengths and all else vary. */
const PAIRS: DpoPair[] = Array.from({ length: 50 }, (_, i) => {
  const rng = new Random(`pair ${i}`);
  const prompt = [0, rng.int(10, 20), rng.int(10, 20)];
  const tail = Array.from({ length: rng.int(0, 4) }, () => rng.int(10, 20));
  const response = (token: number) => ({ tokens: [...prompt, token, ...tail, 1], promptLength: 3 });
  return { prompt: prompt.join(' '), chosen: response(7), rejected: response(8) };
});

const config = (overrides: Record<string, unknown> = {}): DpoConfig =>
  dpoConfig.parse({
    batch: 8,
    held_out: 0.2,
    optimizer: { kind: 'adamw', learning_rate: 0.005, weight_decay: 0 },
    evaluate_every: 2,
    save_every: 4,
    ...overrides,
  });

const hosts: TestHost[] = [];
const models: CausalModel[] = [];
afterEach(() => {
  for (const host of hosts.splice(0)) host.dispose();
  for (const model of models.splice(0)) model.dispose();
});

const model = (seed: number): CausalModel => {
  const made = tinyModel(seed, { initializer_range: 0.1, num_hidden_layers: 2 });
  models.push(made);
  return made;
};
const weightsOf = (one: CausalModel) =>
  scope(() => one.parameters().flatMap(({ tensor }) => tensor.detach().numbers()));

async function train(overrides: Record<string, unknown> = {}, host = new TestHost(), policy = model(81)) {
  hosts.push(host);
  const reference = model(81);
  const summary = await dpo(host, { policy, reference }, PAIRS, config(overrides));
  return { summary, host, policy, reference, weights: weightsOf(policy) };
}

it('sequenceLogprobs adds up the response’s tokens alone, whatever it is packed with', () => {
  const one = model(82);
  const sequences = PAIRS.slice(0, 5).flatMap(({ chosen, rejected }) => [chosen, rejected]);
  scope(() =>
    noGrad(() => {
      const together = sequenceLogprobs(one, sequences).numbers();
      sequences.forEach(({ tokens, promptLength }, i) => {
        const { hidden } = one.forward({ tokens: ids([tokens.slice(0, -1)]) });
        const targets = ids([tokens.slice(1)]).reshape([-1]);
        const alone = tokenLogprobs(hidden, one.headWeight, targets)[0]
          .numbers()
          .slice(promptLength - 1);
        expect(together[i]).toBeCloseTo(
          alone.reduce((a, b) => a + b, 0),
          4,
        );
      });
    }),
  );
});

describe('learning', () => {
  it('begins at ln 2 as the reference, and ends preferring what is preferred, on prompts never seen', async () => {
    const { summary, host, policy, reference } = await train({ epochs: 6 });
    expect(host.series('loss')[0]).toBeCloseTo(Math.LN2, 5);
    expect(host.series('margin')[0]).toBeCloseTo(0, 5);
    const { heldOut } = summary;
    expect(heldOut?.n).toBe(10);
    expect(heldOut?.metrics.accuracy).toBe(1);
    expect(heldOut?.metrics.margin).toBeGreaterThan(0.4);
    expect(heldOut?.metrics.loss).toBeLessThan(0.55);
    expect(host.rows.at(-1)?.['held_out/margin']).toBe(heldOut?.metrics.margin);
    // The margin is β times what the log-ratio of the two responses has moved by.
    const { chosen, rejected } = PAIRS[0] as DpoPair;
    const ratio = (one: CausalModel) =>
      scope(() =>
        noGrad(() => {
          const [a, b] = sequenceLogprobs(one, [chosen, rejected]).numbers() as [number, number];
          return a - b;
        }),
      );
    expect(0.1 * (ratio(policy) - ratio(reference))).toBeGreaterThan(0.4);
    expect(weightsOf(reference)).toEqual(weightsOf(model(81)));
  });

  it('a greater β goes less far', async () => {
    const moved = async (beta: number): Promise<number> => {
      const { summary } = await train({ epochs: 4, beta });
      return (summary.heldOut?.metrics.margin as number) / beta;
    };
    expect(await moved(2)).toBeLessThan((await moved(0.05)) / 1.5);
  });
});

it('operations are counted for every token, of the reference too', async () => {
  const { summary } = await train({ held_out: 0 });
  const one = model(81);
  const flops = countFlops(one.config);
  const lengths = PAIRS.flatMap(({ chosen, rejected }) => [chosen.tokens.length, rejected.tokens.length]);
  const cost = (length: number) => length * (flops.training(length / 2) + flops.forward(length / 2));
  expect(summary.flops).toBeCloseTo(
    lengths.reduce((sum, length) => sum + cost(length), 0),
    3,
  );
});

it('nothing is left behind', async () => {
  const before = liveTensors();
  await train();
  for (const one of models.splice(0)) one.dispose();
  expect(liveTensors()).toBe(before);
});

describe('the same numbers', () => {
  it('in micro-batches of one pair as in the whole batch', async () => {
    // Plain enough steps that 1e-7 in a gradient does not become a whole Adam step.
    const optimizer = { kind: 'adamw', learning_rate: 1e-3, eps: 1e-3 };
    const whole = await train({ optimizer, label_smoothing: 0.1 });
    const split = await train({ optimizer, label_smoothing: 0.1, micro_batch_tokens: 1 });
    for (const name of ['loss', 'margin', 'rewards/chosen', 'logprob/rejected', 'grad_norm', 'held_out/loss']) {
      whole.host.series(name).forEach((value, i) => {
        if (value !== undefined) expect(split.host.series(name)[i], name).toBeCloseTo(value, 3);
      });
    }
    whole.weights.forEach((value, i) => {
      expect(Math.abs(value - (split.weights[i] as number))).toBeLessThan(1e-5);
    });
  });

  it('stopped, saved, loaded into other weights: bit for bit', async () => {
    const whole = await train({ epochs: 2 });
    expect(whole.host.saved).toEqual([4, 8, 10]);
    const host = new TestHost();
    host.stopAfter = 6; // in the second epoch
    const stopped = await train({ epochs: 2 }, host);
    expect([stopped.summary.outcome, stopped.summary.heldOut]).toEqual(['interrupted', null]);
    const resumed = await train({ epochs: 2 }, TestHost.resuming(host, 6), model(99));
    expect([...stopped.host.timeless(), ...resumed.host.timeless()]).toEqual(whole.host.timeless());
    expect(resumed.weights).toEqual(whole.weights);
    expect(resumed.summary).toEqual(whole.summary);
  });
});
