import { noGrad, runtimeInfo, scope, synchronize, zeros } from '@dunwu/torch';
import { parseConfig } from '../../packages/dunwu/dist/model/config.js';
import { decodeBytes } from '../../packages/dunwu/dist/model/size.js';
import { chooseCompute, matmulRate } from '../../packages/dunwu/dist/train/compute.js';
import { countFlops } from '../../packages/dunwu/dist/train/flops.js';

const DTYPES = { float32: 4, bfloat16: 2 };

/** Rows of the product, and bytes of the copy, that are measured: large enough that starting them costs nothing. */
const SIZE = 8192;
const COPY = 2 ** 30;

/**
 * What a device does at most, measured now, and what each model of workload.json asks of it in one repetition; null when libtorch
 * sees no such device.
 * @returns {{ flops: Record<string, number>, bandwidth: number, asked: Record<string, Asked> } | null} `flops`: a second, in a
 *   large product, by type; `bandwidth`: bytes a second, read and written, of a large copy
 *
 * @typedef {object} Asked
 * @property {number} training operations of a step: forward and backward, with the causal half of attention
 * @property {Record<string, number>} generation bytes that decoding has to read, by type: weights and caches, every step
 */
export function measureLimits(workload, threads, device) {
  if (device === 'cuda' && runtimeInfo().cudaDevices === 0) return null;
  const flops = {};
  for (const dtype of Object.keys(DTYPES)) {
    const { precision } = chooseCompute({ threads, dtype, device });
    flops[dtype] = matmulRate({ dtype, precision, device, size: SIZE, seconds: 1 });
  }
  const asked = Object.fromEntries(Object.entries(workload).map(([name, sizes]) => [name, askedOf(sizes)]));
  return { flops, bandwidth: copyRate(device), asked };
}

function askedOf({ model, training, generation }) {
  const config = parseConfig(model);
  const { batch, prompt, new: made } = generation;
  const generated = (bytes) => {
    // The first new token comes of the prompt's own step.
    const contexts = Array.from({ length: made - 1 }, (_, i) => prompt + i + 1);
    return contexts.reduce((sum, context) => sum + decodeBytes(config, { rows: batch, context, bytes }), 0);
  };
  return {
    training: training.batch * training.time * countFlops(config).training((training.time + 1) / 2),
    generation: Object.fromEntries(Object.entries(DTYPES).map(([dtype, bytes]) => [dtype, generated(bytes)])),
  };
}

/** Bytes a second, those read and those written, of the fastest of some copies within the device's memory. */
function copyRate(device) {
  return scope(() =>
    noGrad(() => {
      const [from, to] = [zeros([COPY / 4], { device }), zeros([COPY / 4], { device })];
      let best = Number.POSITIVE_INFINITY;
      for (let i = 0; i < 10; i++) {
        synchronize(device);
        const began = performance.now();
        to.copy_(from);
        synchronize(device);
        best = Math.min(best, performance.now() - began);
      }
      return (2 * COPY) / (best / 1000);
    }),
  );
}
