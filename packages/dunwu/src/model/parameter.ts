import { type Device, empty, keep, noGrad, ones, op, randn, scope, type Tensor, zeros } from '@dunwu/torch';

/** How an optimiser should treat a parameter: matrices get weight decay and may go to Muon, a router's matrix gets weight decay only, vectors and embeddings neither. */
export type ParameterKind = 'matrix' | 'router' | 'vector' | 'embedding' | 'buffer';

/** A tensor as a checkpoint has it on disk: a view of one of our tensors. */
export interface DiskPart {
  readonly name: string;
  view(tensor: Tensor): Tensor;
}

/**
 * A named tensor of a model. `name` is the in-memory name (that of transformers 5: experts fused); `disk` is how
 * checkpoints store it, which can be in several pieces (one per expert; gate and up apart).
 */
export interface Parameter {
  readonly name: string;
  readonly kind: ParameterKind;
  readonly tensor: Tensor;
  readonly disk: readonly DiskPart[];
  /** Names under which checkpoints hold the whole tensor once more: written, and compared when read. */
  readonly copies?: readonly string[];
}

export const whole = (name: string): DiskPart[] => [{ name, view: (tensor) => tensor }];

export function parameter(name: string, kind: ParameterKind, tensor: Tensor, disk = whole(name)): Parameter {
  return { name, kind, tensor, disk };
}

let drawing = true;

/** Makes a model whose weights are about to be overwritten: {@link normal} leaves them as memory happens to be. */
export function withoutDrawing<T>(make: () => T): T {
  const before = drawing;
  drawing = false;
  try {
    return make();
  } finally {
    drawing = before;
  }
}

let place: Device = 'cpu';

/** From here to the end of the block weights are made on a device: `using _ = weightsOn(device)`. */
export function weightsOn(device: Device): Disposable {
  const before = place;
  place = device;
  return {
    [Symbol.dispose]() {
      place = before;
    },
  };
}

/** A trainable tensor drawn from N(0, std²), from the default generator. */
export function normal(shape: readonly number[], std: number): Tensor {
  if (!drawing)
    return trainable(place === 'cpu' ? (ownMemory(shape, 'float32') as Tensor) : empty(shape, { device: place }));
  return drawn(() => randn(shape).mul(std));
}

/** Not filled; where it is large, the system has it back as soon as it is freed. */
const ownMemory = op('dunwu::own_memory');

/** A trainable tensor drawn from U(−bound, bound), from the default generator. */
export function uniform(shape: readonly number[], bound: number): Tensor {
  return drawn(() => zeros(shape).uniform_(-bound, bound));
}

/** Always drawn on the CPU, so that a seed gives the same weights on every device. */
function drawn(draw: () => Tensor): Tensor {
  return trainable(scope(() => noGrad(() => draw().toDevice(place, 'float32'))));
}

export function filled(shape: readonly number[], value: 0 | 1): Tensor {
  return trainable((value === 0 ? zeros : ones)(shape, { device: place }));
}

/** The values of a tensor now, in memory of their own, without gradient. */
export function copied(tensor: Tensor): Tensor {
  const copy = scope(() => noGrad(() => tensor.detach().clone()));
  const kept = keep(copy);
  copy.dispose();
  return kept;
}

/** Takes a fresh tensor over as a weight: out of its scope, wanting gradients. */
export function trainable(tensor: Tensor): Tensor {
  const kept = keep(tensor);
  tensor.dispose();
  kept.requiresGrad = true;
  return kept;
}
