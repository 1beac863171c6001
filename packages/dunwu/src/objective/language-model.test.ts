import { tensor } from '@dunwu/torch';
import { describe, expect, it } from 'vitest';
import { languageModelLoss } from './language-model.js';
import { combineMetrics } from './metrics.js';

const doubles = (values: number[], requiresGrad = false) => tensor(new Float64Array(values), { requiresGrad });

describe('languageModelLoss', () => {
  it('is the mean of −log p over the targets that count, weighted by the mask', () => {
    const logprobs = doubles([-1, -2, -3, -4], true);
    const { loss, metrics } = languageModelLoss(logprobs, tensor([1, 0, 1, 0.5]));
    // (1·1 + 0·2 + 1·3 + ½·4) / (1 + 0 + 1 + ½) = 6 / 2.5
    expect(loss.item()).toBeCloseTo(2.4, 12);
    expect(combineMetrics([metrics])).toEqual({ loss: 2.4 });
    loss.backward();
    expect(logprobs.grad?.numbers()).toEqual([-0.4, -0, -0.4, -0.2]); // −mask / 2.5
  });

  it('takes a mask of booleans', () => {
    expect(languageModelLoss(tensor([-1, -2, -6]), tensor([true, false, true])).loss.item()).toBe(3.5);
  });

  it('adds up over micro-batches to the whole, also when they hold different numbers of targets', () => {
    const first = doubles([-1, -2, -3], true);
    const second = doubles([-8], true);
    const a = languageModelLoss(first, tensor([1, 1, 1]), { targetsInBatch: 4 });
    const b = languageModelLoss(second, tensor([1]), { targetsInBatch: 4 });
    expect(a.loss.item() + b.loss.item()).toBeCloseTo(14 / 4, 12); // not the mean of means, (2 + 8) / 2
    expect(combineMetrics([a.metrics, b.metrics])).toEqual({ loss: 3.5 });
    a.loss.backward();
    b.loss.backward();
    expect([...(first.grad?.numbers() ?? []), ...(second.grad?.numbers() ?? [])]).toEqual([-0.25, -0.25, -0.25, -0.25]);
  });

  it('is NaN over no target, and 0 where the batch has targets elsewhere', () => {
    expect(languageModelLoss(tensor([-1]), tensor([0])).loss.item()).toBeNaN();
    expect(languageModelLoss(tensor([-1]), tensor([0]), { targetsInBatch: 3 }).loss.item()).toBeCloseTo(0);
  });

  it('refuses shapes that differ and a count that cannot be', () => {
    expect(() => languageModelLoss(tensor([-1, -2]), tensor([1]))).toThrow(/float32\[2\] and float32\[1\]/);
    expect(() => languageModelLoss(tensor([[-1]]), tensor([[1]]))).toThrow(/\[N\]/);
    expect(() => languageModelLoss(tensor([-1]), tensor([1]), { targetsInBatch: 0 })).toThrow(/targetsInBatch is 0/);
  });
});
