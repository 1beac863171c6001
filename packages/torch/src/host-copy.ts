import type { Device } from './dtype.js';
import type { NumericArray } from './native.js';
import { op } from './operator.js';
import { keep, scope } from './scope.js';
import type { Tensor } from './tensor.js';

/**
 * A CPU tensor's copy on a device, of which nothing is waited for: for CUDA it goes through page-locked memory, which libtorch keeps
 * until the copy is made; copies of other memory wait for what was launched before, except for the smallest.
 * @param into where the numbers go, when there is such a tensor already
 * @returns `into`, or a new tensor; without either, on the CPU, the tensor itself
 */
export function copyToDevice(tensor: Tensor, device: Device, into?: Tensor): Tensor {
  return scope(() => {
    const host = device.startsWith('cuda') ? (op('aten::pin_memory')(tensor) as Tensor) : tensor;
    if (into !== undefined) return into.copy_(host, true);
    return device === 'cpu' ? tensor : host.toDevice(device, tensor.dtype, true);
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
