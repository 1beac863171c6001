import { beforeEach, describe, expect, it } from 'vitest';
import { Generator, keep, liveTensors, op, scope, Tensor, tensor, zeros } from './index.js';
import { native } from './native.js';
import { gc } from './testing/collect.js';

/** Bytes that V8 was told of; process.memoryUsage() leaves them out. */
const external = (): number => native.adjustExternalMemory(0);
let before = 0;
beforeEach(async () => {
  await gc(); // tensors of other tests
  before = liveTensors();
});

describe('scope', () => {
  it('frees what it does not return', () => {
    const kept = scope(() => {
      const a = tensor([1, 2]);
      const b = a.add(1);
      a.mul(b);
      return b;
    });
    expect(liveTensors()).toBe(before + 1);
    expect(kept.numbers()).toEqual([2, 3]);
    kept.dispose();
    expect(liveTensors()).toBe(before);
  });

  it('finds tensors in arrays, maps and objects, also nested', () => {
    const result = scope(() => ({
      list: [tensor([1]), [tensor([2])]],
      map: new Map([['x', { y: tensor([3]) }]]),
      n: 4,
    }));
    expect(liveTensors()).toBe(before + 3);
    expect(result.map.get('x')?.y.item()).toBe(3);
    expect((result.list[1] as Tensor[])[0]?.item()).toBe(2);
    for (const each of [result.list[0], (result.list[1] as Tensor[])[0], result.map.get('x')?.y] as Tensor[])
      each.dispose();
    expect(liveTensors()).toBe(before);
  });

  it('hands what is returned to the scope around it', () => {
    const outer = scope(() => {
      const inner = scope(() => [tensor([1]), tensor([2])] as const);
      expect(liveTensors()).toBe(before + 2);
      return inner[1].add(inner[0]);
    });
    expect(outer.item()).toBe(3);
    expect(liveTensors()).toBe(before + 1);
    outer.dispose();
  });

  it('leaves the tensors of outer scopes alone when it returns them', () => {
    scope(() => {
      const a = tensor([5]);
      expect(scope(() => a)).toBe(a);
      expect(a.item()).toBe(5);
    });
    expect(liveTensors()).toBe(before);
  });

  it('frees everything when it throws, also in scopes within, and keeps the error', () => {
    const boom = new Error('boom');
    expect(() =>
      scope(() => {
        tensor([1]);
        scope(() => {
          tensor([2]);
          throw boom;
        });
      }),
    ).toThrow(boom);
    expect(liveTensors()).toBe(before);
    // The scope that threw is no longer the current one.
    const outside = tensor([3]);
    scope(() => tensor([4]).neg().item());
    expect(outside.item()).toBe(3);
    outside.dispose();
  });

  it('is not disturbed by a tensor that was freed by hand, or returned freed', () => {
    const gone = scope(() => {
      const a = tensor([1]);
      a.dispose();
      const b = tensor([1]);
      b.dispose();
      return b;
    });
    expect(gone.alive).toBe(false);
    expect(liveTensors()).toBe(before);
  });

  it('refuses a function that returns a promise, and frees its tensors', async () => {
    let promise: Promise<unknown> = Promise.resolve();
    expect(() =>
      scope(() => {
        const a = tensor([1]);
        promise = Promise.resolve(a);
        return promise;
      }),
    ).toThrow('scope: the function returned a promise');
    await promise;
    expect(liveTensors()).toBe(before);
  });

  it('lets keep() carry a tensor out', () => {
    let parameter: Tensor | undefined;
    scope(() => {
      parameter = keep(tensor([1, 2], { requiresGrad: true }));
      scope(() => parameter?.mul(2).sum().backward());
    });
    expect(parameter?.requiresGrad).toBe(true);
    expect(scope(() => parameter?.grad?.numbers())).toEqual([2, 2]);
    expect(liveTensors()).toBe(before + 1);
    parameter?.dispose();
    expect(liveTensors()).toBe(before);
  });

  it('keeps memory for a view after its base is gone', () => {
    const view = scope(() => tensor([1, 2, 3, 4]).narrow(0, 1, 2));
    expect(view.numbers()).toEqual([2, 3]);
    view.dispose();
  });
});

describe('dispose', () => {
  it('happens at the end of a block with using', () => {
    {
      using a = tensor([1]);
      using b = a.add(1);
      expect(b.item()).toBe(2);
      expect(liveTensors()).toBe(before + 2);
    }
    expect(liveTensors()).toBe(before);
  });

  it('may be repeated', () => {
    const a = tensor([1]);
    a.dispose();
    a.dispose();
    expect(a.alive).toBe(false);
    expect(liveTensors()).toBe(before);
  });

  it('makes any later use a clear error, also when the slot has been taken again', () => {
    const a = tensor([1]);
    a.dispose();
    const b = tensor([2]); // takes a's slot
    for (const use of [
      () => a.shape,
      () => a.data(),
      () => a.item(),
      () => a.grad,
      () => a.backward(),
      () => keep(a),
    ]) {
      expect(use).toThrow('tensor used after it was freed');
    }
    expect(() => a.add(1)).toThrow(/^aten::add\.Tensor: argument 'self' \(Tensor\): tensor used after it was freed/);
    expect(() => b.add(a)).toThrow("argument 'other' (Tensor): tensor used after it was freed");
    expect(b.item()).toBe(2);
    b.dispose();
  });

  it('gives a stale number no other tensor', () => {
    const a = tensor([1]);
    const stale = Object.assign(Object.create(Tensor.prototype), {
      [native.handleKey]: (a as unknown as Record<symbol, number>)[native.handleKey],
    });
    a.dispose();
    const b = tensor([2]);
    expect(() => op('aten::neg')(stale)).toThrow('tensor used after it was freed');
    b.dispose();
  });

  it('refuses objects that are no tensors', () => {
    expect(() => op('aten::add.Tensor')({ shape: [1] }, 1)).toThrow("argument 'self' (Tensor): expected a Tensor");
    // Handles of generators and of tensors are told apart by a bit: neither is ever taken for the other.
    using generator = new Generator(1);
    expect(() => op('aten::neg')(generator)).toThrow('expected a tensor, got another kind of object');
    using a = tensor([1]);
    expect(() => op('aten::rand.generator')([2], a)).toThrow('expected a generator, got another kind of object');
    expect(() => op('aten::add.Tensor')({ [native.handleKey]: 2 ** 30 }, 1)).toThrow('tensor used after it was freed');
    expect(() => op('aten::add.Tensor')({ [native.handleKey]: -5 }, 1)).toThrow('tensor used after it was freed');
  });
});

describe('the garbage collector', () => {
  it('frees what nobody holds, and is told the true size', async () => {
    const start = external();
    let held: Tensor[] = Array.from({ length: 8 }, () => zeros([1 << 20])); // 4 MB each
    const views = held.map((one) => one.view([1024, 1024]));
    expect(external() - start).toBeGreaterThan(30e6);
    expect(external() - start).toBeLessThan(40e6); // views are not counted again
    await gc();
    expect(liveTensors()).toBe(before + 16);
    held = [];
    views.length = 0;
    await gc();
    expect(liveTensors()).toBe(before);
    expect(Math.abs(external() - start)).toBeLessThan(2e6);
  });

  it('is told when a tensor is freed by hand', async () => {
    await gc();
    const start = external();
    const a = zeros([1 << 20]);
    expect(external() - start).toBeGreaterThan(4e6);
    a.dispose();
    expect(Math.abs(external() - start)).toBeLessThan(1e5);
  });

  it('is not told of what a scope frees', () => {
    const start = external();
    scope(() => {
      zeros([1 << 20]);
      expect(external() - start).toBeLessThan(1e5);
    });
  });
});
