import type { Device } from './dtype.js';
import { HANDLE, native } from './native.js';
import { adopt } from './scope.js';
import type { Tensor } from './tensor.js';

const lastNet = new FinalizationRegistry<number>((handle) => native.releaseGenerator(handle));

/** A stream of random numbers of its own; operators take it as `generator`. The collector frees a forgotten one. */
export class Generator implements Disposable {
  constructor(seed: number, device: Device = 'cpu') {
    const handle = native.createGenerator(device);
    (this as unknown as Record<symbol, number>)[HANDLE] = handle;
    lastNet.register(this, handle, this);
    native.manualSeed(this, seed);
  }

  /** The whole state, a uint8 tensor. */
  get state(): Tensor {
    return adopt(native.randomState(this));
  }

  set state(value: Tensor) {
    native.setRandomState(this, value);
  }

  dispose(): void {
    const holder = this as unknown as Record<symbol, number>;
    const handle = holder[HANDLE] as number;
    if (handle < 0) return;
    holder[HANDLE] = -1;
    lastNet.unregister(this);
    native.releaseGenerator(handle);
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** Seeds the default generator of a device. */
export function manualSeed(seed: number, device: Device = 'cpu'): void {
  native.manualSeed(device, seed);
}

/** State of a device's default generator, a uint8 tensor. */
export function getRandomState(device: Device = 'cpu'): Tensor {
  return adopt(native.randomState(device));
}

/** Puts back a state read by `getRandomState`. */
export function setRandomState(state: Tensor, device: Device = 'cpu'): void {
  native.setRandomState(device, state);
}
