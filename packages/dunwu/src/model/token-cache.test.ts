import { liveTensors, tensor } from '@dunwu/torch';
import { expect, it } from 'vitest';
import { ids } from './testing/tiny.js';
import { TokenCache } from './token-cache.js';

const index = (...values: number[]) => tensor(BigInt64Array.from(values, BigInt));

it('fill, gather, append, compact: what stands where, by hand', () => {
  const prompts = TokenCache.create(2, 2, 3, 1);
  prompts.fill(
    0,
    tensor([
      [[1], [2], [3]],
      [[4], [5], [6]],
    ]),
  );
  prompts.fill(
    1,
    tensor([
      [[10], [20]],
      [[40], [50]],
    ]),
  );
  expect(prompts.read(1, 3).numbers()).toEqual([10, 20, 0, 40, 50, 0]);

  // Two samples of the first prompt, one of the second, with room for two more tokens.
  const cache = prompts.gather(index(0, 0, 1), 3, 5);
  expect([cache.rows, cache.capacity, cache.bytes]).toEqual([3, 5, 2 * 3 * 5 * 4]);
  expect(cache.read(0, 5).numbers()).toEqual([1, 2, 3, 0, 0, 1, 2, 3, 0, 0, 4, 5, 6, 0, 0]);

  // Every row writes at its own place; the third has a shorter prompt and overwrites padding.
  cache.append(0, tensor([[[7]], [[8]], [[9]]]), ids([[3], [3], [2]]));
  expect(cache.read(0, 4).numbers()).toEqual([1, 2, 3, 7, 1, 2, 3, 8, 4, 5, 9, 0]);
  expect(prompts.read(0, 3).numbers()).toEqual([1, 2, 3, 4, 5, 6]);

  cache.compact(index(2, 1));
  expect(cache.rows).toBe(2);
  expect(cache.read(0, 4).numbers()).toEqual([4, 5, 9, 0, 1, 2, 3, 8]);
  cache.append(0, tensor([[[11]], [[12]]]), ids([[3], [4]]));
  expect(cache.read(0, 5).numbers()).toEqual([4, 5, 9, 11, 0, 1, 2, 3, 8, 12]);
  expect(() => cache.read(2, 1)).toThrow('the cache has 2 layers, not layer 2');
  prompts.dispose();
  cache.dispose();
});

it('dispose frees all of it', () => {
  const before = liveTensors();
  const cache = TokenCache.create(3, 4, 8, 2);
  expect(liveTensors()).toBe(before + 4);
  cache.dispose();
  expect(liveTensors()).toBe(before);
});
