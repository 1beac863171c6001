import { liveTensors, op } from '@dunwu/torch';
import { expect, it } from 'vitest';
import { PAGE_TOKENS, PagedCache, tokenBytes } from './paged-cache.js';
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

it.runIf(process.platform === 'linux')(
  'the memory of the last large cache is that of the next of about its size, and of one at a time',
  () => {
    const { config } = tinyDense('llama', 1);
    // Two and a half megabytes or so; what is smaller comes from the heap.
    const pages = Math.ceil(2.5e6 / (tokenBytes(config, 'float32') * PAGE_TOKENS));
    const filled = (count: number, value: number): PagedCache => {
      const cache = new PagedCache(config, count);
      for (const layer of cache.layers) layer.fill_(value);
      return cache;
    };
    const first = (cache: PagedCache): number => cache.layers[0]?.numbers()[0] as number;
    filled(pages, 1).dispose();
    const [again, beside] = [new PagedCache(config, pages), filled(pages, 2)];
    expect(first(again)).toBe(1);
    again.layers[0]?.fill_(3);
    expect(first(beside)).toBe(2);
    again.dispose();
    beside.dispose();
    // Memory that the system gives is zeros.
    const small = new PagedCache(config, Math.ceil(pages / 2));
    expect(first(small)).toBe(0);
    small.dispose();
  },
);

it.each(DEVICES)('on %s a cache that there is no memory for is told with its size, and what to lower', (device) => {
  const { config } = tinyDense('llama', 1);
  expect(() => new PagedCache(config, 1e13, 'bfloat16', device)).toThrow(
    `${device} has no memory for a cache of 160000000000000 tokens (`,
  );
  expect(() => new PagedCache(config, 1e13, 'bfloat16', device)).toThrow('--cache-tokens or --rows');
});
