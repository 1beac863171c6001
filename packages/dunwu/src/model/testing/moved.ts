import { type Device, keep, noGrad, scope, type Tensor } from '@dunwu/torch';
import type { CausalModel } from '../causal-model.js';

/** A model as decoders see it, with what they read of it on another device, copied when it is first asked for. */
export function moved(model: CausalModel, device: Device): CausalModel {
  const copies = new Map<Tensor, Tensor>();
  const there = (one: Tensor): Tensor => {
    const known = copies.get(one);
    if (known !== undefined) return known;
    const copy = scope(() => noGrad(() => keep(one.detach().toDevice(device, one.dtype))));
    copies.set(one, copy);
    return copy;
  };
  return new Proxy(model, {
    get(target, name) {
      if (name === 'headWeight') return there(target.headWeight);
      if (name === 'rotary') return target.rotary.map(there);
      if (name === 'decoderParts') {
        const parts = Object.entries(target.decoderParts());
        return () => Object.fromEntries(parts.map(([part, one]) => [part, one && there(one)]));
      }
      const own: unknown = Reflect.get(target, name, target);
      return typeof own === 'function' ? own.bind(target) : own;
    },
  });
}
