import { describe, expect, it } from 'vitest';
import {
  copyToDevice,
  copyToHost,
  Graph,
  hasGraphs,
  liveTensors,
  op,
  runtimeInfo,
  scope,
  tensor,
  zeros,
} from './index.js';

/** A GPU where there is one, else what stands for one (native/stand_in.cpp): never both, of which one alone is libtorch's accelerator. */
const devices = ['cpu', runtimeInfo().cudaDevices > 0 ? 'cuda' : (op('dunwu::stand_in')() as string)];

it('the CPU has no graphs; a CUDA device has them where the addon was built with its headers', () => {
  expect(hasGraphs('cpu')).toBe(false);
  if (runtimeInfo().cudaDevices === 0) expect(hasGraphs('cuda')).toBe(false);
});

describe.each(devices)('on %s', (device) => {
  it('a graph computes when it is replayed, on what its tensors hold then', () => {
    const input = zeros([3], { device });
    const output = zeros([3], { device });
    const work = (): void => void output.copy_(input.mul(2).add(1));
    scope(work); // warm
    output.fill_(-1);
    const graph = new Graph(device, work);
    expect(output.numbers()).toEqual([-1, -1, -1]);
    const put = (numbers: number[]) => scope(() => copyToDevice(tensor(numbers), device, input));
    put([1, 2, 3]);
    const before = liveTensors();
    graph.replay();
    expect(output.numbers()).toEqual([3, 5, 7]);
    put([0, -1, 4]);
    graph.replay();
    expect(output.numbers()).toEqual([1, -1, 9]);
    expect(liveTensors()).toBe(before);
    graph.dispose();
  });

  it('work that fails is told when it is called, and the next graph is none the worse', () => {
    const output = zeros([2], { device });
    const failing = (): void => {
      output.add_(1);
      throw new Error('mine');
    };
    expect(() => new Graph(device, failing).replay()).toThrow('mine');
    output.fill_(0);
    const graph = new Graph(device, () => void output.add_(1));
    graph.replay();
    graph.replay();
    expect(output.numbers()).toEqual([2, 2]);
    graph.dispose();
  });

  it('numbers go to the device and back; what is done to them meanwhile is not in the copy', () => {
    const here = tensor(Int32Array.of(4, -5, 6));
    const there = copyToDevice(here, device);
    expect(there === here).toBe(device === 'cpu');
    expect(there.device).toBe(device === 'cpu' ? 'cpu' : `${device}:0`);
    const read = copyToHost(there);
    there.add_(1);
    expect(read()).toEqual(Int32Array.of(4, -5, 6));
    expect(there.numbers()).toEqual([5, -4, 7]);
    expect([...copyToHost(tensor([0.5]))()]).toEqual([0.5]);
  });
});
