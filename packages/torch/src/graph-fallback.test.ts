import { expect, it, vi } from 'vitest';
import { Graph, hasGraphs, tensor } from './index.js';
import type * as operators from './operator.js';

/** What is called of a device whose driver gives every capture up. */
const calls: string[] = [];
vi.mock('./operator.js', async (original) => {
  const { op, schemas, ...others } = await original<typeof operators>();
  const graphs: Record<string, () => unknown> = {
    'dunwu::graph_begin': () => 7,
    'dunwu::graph_end': () => {
      throw new Error('dunwu::graph_end: CUDA error: operation failed due to a previous error during capture');
    },
    'dunwu::graph_free': () => null,
  };
  return {
    ...others,
    schemas: (name: string) => (name in graphs ? ['there'] : schemas(name)),
    op: (name: string) => {
      const fake = graphs[name];
      if (fake === undefined) return op(name);
      calls.push(name);
      return fake;
    },
  };
});

it('work that cannot be recorded is called again instead; that is told once', () => {
  const warning = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
  expect(hasGraphs('cuda')).toBe(true);
  let done = 0;
  const graph = new Graph('cuda', () => void done++);
  expect(calls).toEqual(['dunwu::graph_begin', 'dunwu::graph_end', 'dunwu::graph_end', 'dunwu::graph_free']);
  graph.replay();
  graph.replay();
  expect(done).toBe(3); // once while it was recorded
  graph.dispose();
  const failing = new Graph('cuda', () => {
    tensor([1, 2]).add(tensor([1, 2, 3]));
  });
  expect(() => failing.replay()).toThrow('aten::add');
  expect(calls.filter((name) => name.endsWith('free'))).toHaveLength(2);
  expect(warning.mock.calls).toEqual([[expect.stringContaining('CUDA error: operation failed')]]);
});
