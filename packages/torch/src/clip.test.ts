import { describe, expect, it } from 'vitest';
import { clipGradNorm, gradNorm, liveTensors, type Tensor, tensor, zeros } from './index.js';
import { decode, type Encoded, expectTensor, readGolden } from './testing/golden.js';

const withGrad = (grad: Tensor): Tensor => {
  const param = zeros(grad.shape, { dtype: grad.dtype });
  param.requiresGrad = true;
  param.grad = grad;
  return param;
};
const gradOf = (param: Tensor | undefined): number[] => param?.grad?.numbers() ?? [];

describe('clipGradNorm', () => {
  it('scales all gradients by one factor, and returns the norm before', () => {
    const params = [withGrad(tensor([3, 0])), withGrad(tensor([[0], [4]]))]; // norm 5
    expect(clipGradNorm(params, 1)).toBe(5);
    const factor = 1 / (5 + 1e-6);
    expect(gradOf(params[0])).toEqual([Math.fround(3 * factor), 0]);
    expect(gradOf(params[1])).toEqual([0, Math.fround(4 * factor)]);
    expect(gradNorm(params)).toBeCloseTo(1, 5);
  });

  it('leaves small gradients as they are, to the bit', () => {
    const params = [withGrad(tensor([3, 0])), withGrad(tensor([4]))];
    expect(clipGradNorm(params, 5.1)).toBe(5);
    expect([gradOf(params[0]), gradOf(params[1])]).toEqual([[3, 0], [4]]);
    expect(clipGradNorm(params, Number.POSITIVE_INFINITY)).toBe(5);
    expect(gradOf(params[1])).toEqual([4]);
  });

  it('gives what torch.nn.utils.clip_grad_norm_ gives', () => {
    const golden = readGolden<{ clip_gradients: Encoded[]; clip_norm: number; clip_after: Encoded[] }>('optim.json');
    const params = golden.clip_gradients.map((grad) => withGrad(decode(grad)));
    expect(clipGradNorm(params, 1)).toBeCloseTo(golden.clip_norm, 5);
    for (const [i, after] of golden.clip_after.entries()) expectTensor(params[i]?.grad, after, 1e-6);
  });

  it('skips parameters without a gradient', () => {
    const without = tensor([1], { requiresGrad: true });
    const params = [without, withGrad(tensor([6, 8]))];
    expect(clipGradNorm(params, 5)).toBe(10);
    expect(without.grad).toBeNull();
    expect(clipGradNorm([without], 5)).toBe(0);
    expect(clipGradNorm([], 5)).toBe(0);
    expect(gradNorm([without])).toBe(0);
  });

  it('returns a norm that is not finite, and touches nothing', () => {
    const broken = [withGrad(tensor([30, Number.NaN])), withGrad(tensor([40]))];
    expect(clipGradNorm(broken, 1)).toBeNaN();
    expect(gradOf(broken[1])).toEqual([40]);
    const infinite = [withGrad(tensor([Number.POSITIVE_INFINITY])), withGrad(tensor([40]))];
    expect(clipGradNorm(infinite, 1)).toBe(Number.POSITIVE_INFINITY);
    expect(gradOf(infinite[1])).toEqual([40]);
  });

  it('measures bfloat16 in float32, and float64 in float64', () => {
    const many = Array.from({ length: 1000 }, () => withGrad(tensor([1], { dtype: 'bfloat16' })));
    expect(clipGradNorm(many, 100)).toBeCloseTo(Math.sqrt(1000), 4); // bfloat16 would stick at 256
    expect(clipGradNorm([withGrad(tensor([1e200], { dtype: 'float64' }))], 1)).toBe(1e200);
  });

  it('frees what it makes, and refuses a limit of 0', () => {
    const params = [withGrad(tensor([3])), withGrad(tensor([4]))];
    const before = liveTensors();
    clipGradNorm(params, 1);
    expect(liveTensors()).toBe(before);
    expect(() => clipGradNorm(params, 0)).toThrow('clipGradients: maxNorm must be above 0, got 0');
    expect(() => clipGradNorm(params, Number.NaN)).toThrow(RangeError);
  });
});
