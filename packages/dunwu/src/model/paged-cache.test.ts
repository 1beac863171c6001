import { liveTensors, op } from '@dunwu/torch';
import { expect, it } from 'vitest';
import { PagedCache } from './paged-cache.js';
import { tinyDense } from './testing/tiny.js';

const DEVICES = ['cpu', op('dunwu::stand_in')() as string];

it.each(DEVICES)('on %s all pages are there from the beginning, and come back when nobody uses them', (device) => {
  const { config } = tinyDense('llama', 1);
  const before = liveTensors();
  const cache = new PagedCache(config, 100, 'float32', device);
  const layers = [...cache.layers];
  const pages = Array.from({ length: 100 }, () => cache.take());
  expect(pages).toEqual(Array.from({ length: 100 }, (_, page) => page));
  expect(() => cache.take()).toThrow('the cache has no page left: all 100 are in use');
  // Recorded steps go on reading the very same tensors.
  expect(cache.layers.every((layer, i) => layer === layers[i])).toBe(true);
  expect(layers.map(({ shape }) => shape.slice(0, 2))).toEqual(layers.map(() => [100, 16]));
  cache.share(7);
  cache.release(7);
  expect(cache.used).toBe(100);
  cache.release(7);
  expect([cache.used, cache.take()]).toEqual([99, 7]);
  cache.dispose();
  expect(liveTensors()).toBe(before);
});

it.each(DEVICES)('on %s a cache that there is no memory for is told with its size, and what to lower', (device) => {
  const { config } = tinyDense('llama', 1);
  expect(() => new PagedCache(config, 1e13, 'bfloat16', device)).toThrow(
    `${device} has no memory for a cache of 160000000000000 tokens (`,
  );
  expect(() => new PagedCache(config, 1e13, 'bfloat16', device)).toThrow('--cache-tokens or --rows');
});
