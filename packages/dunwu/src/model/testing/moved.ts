import type { Device } from '@dunwu/torch';
import { CausalModel } from '../causal-model.js';
import { withoutDrawing } from '../parameter.js';

/** The same weights on another device; adapters are left behind. */
export function moved(model: CausalModel, device: Device): CausalModel {
  const copy = withoutDrawing(() => new CausalModel(model.config, device));
  copy.copyFrom(model);
  return copy;
}
