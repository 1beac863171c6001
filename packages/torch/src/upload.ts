import type { Device } from './dtype.js';
import { op } from './operator.js';
import type { Tensor } from './tensor.js';

/**
 * A CPU tensor's copy on a device, of which nothing is waited for: for CUDA it goes through pinned memory, which libtorch keeps
 * until the copy is made. On the CPU it is the tensor itself.
 */
export function upload(tensor: Tensor, device: Device): Tensor {
  if (device === 'cpu') return tensor;
  if (!device.startsWith('cuda')) return tensor.toDevice(device, tensor.dtype);
  const pinned = op('aten::pin_memory')(tensor) as Tensor;
  const copy = pinned.toDevice(device, tensor.dtype, true);
  pinned.dispose();
  return copy;
}
