import { scope, tensor } from '@dunwu/torch';
import { afterEach, expect, it } from 'vitest';
import { setComputeType } from '../model/compute-type.js';
import { difference, ids, rows, tinyModel } from '../model/testing/tiny.js';
import { logitsAt } from './teacher.js';

afterEach(() => {
  setComputeType('float32');
});

it("logits at some places: the head's first rows, in float32 whatever the network computes in", () => {
  const model = tinyModel(1, { first_k_dense_replace: 3 });
  scope(() => {
    const at = () => {
      const { hidden } = model.forward({ tokens: ids(rows(2, 6)) });
      return { hidden, found: logitsAt(model, hidden, tensor(BigInt64Array.of(3n, 7n)), 20) };
    };
    const exact = at();
    const whole = model.logits(exact.hidden);
    expect(exact.found.shape).toEqual([2, 20]);
    expect(difference(exact.found.select(0, 1), whole.select(0, 7).narrow(0, 0, 20))).toBeLessThan(1e-5);
    setComputeType('bfloat16');
    const { found } = at();
    expect(found.dtype).toBe('float32');
    expect(difference(found, exact.found)).toBeLessThan(0.05 * exact.found.abs().amax().item());
  });
  model.dispose();
});
