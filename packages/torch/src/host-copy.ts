import type { Device } from './dtype.js';
import { tensor } from './factory.js';
import { empty } from './generated/functions.js';
import type { NumericArray } from './native.js';
import { op } from './operator.js';
import { keep, scope } from './scope.js';
import type { Tensor } from './tensor.js';

/**
 * Numbers as a tensor on a device, [numbers]. Not waited for: the few that a step needs are taken over by the driver at the call.
 * @param into where they go, when there is such a tensor already
 */
export function copyToDevice(
  numbers: Int32Array | Float32Array | BigInt64Array,
  device: Device,
  into?: Tensor,
): Tensor {
  return scope(() => {
    const host = tensor(numbers);
    return (into ?? empty(host.shape, { dtype: host.dtype, device })).copy_(host, true);
  });
}

/**
 * Starts copying a tensor to the host, and goes on: what is launched on its device later is not waited for.
 * @returns waits for the copy, and gives the values (`Tensor.data`); to be called once
 */
export function copyToHost(tensor: Tensor): () => NumericArray {
  const { device, dtype } = tensor;
  if (device === 'cpu') {
    const values = tensor.data();
    return () => values;
  }
  // libtorch takes page-locked memory for such copies: only into that they run beside other work.
  const host = scope(() => keep(tensor.toDevice('cpu', dtype, true)));
  const event = op('dunwu::event_record')(tensor);
  return () => {
    try {
      op('dunwu::event_wait')(event);
      return host.data();
    } finally {
      host.dispose();
    }
  };
}
