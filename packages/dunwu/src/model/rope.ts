import { arange, type Device, keep, outer, scope, type Tensor, tensor } from '@dunwu/torch';
import type { DeepseekConfig } from './deepseek-config.js';
import { type RopeConfig, ropeSettings } from './rope-config.js';

/** mscale of YaRN (arXiv 2309.00071, §3.4, as DeepSeek writes it): 0.1 · m · ln(factor) + 1. */
export function yarnScale(factor: number, mscale: number): number {
  return factor <= 1 ? 1 : 0.1 * mscale * Math.log(factor) + 1;
}

/**
 * Angular frequency of each pair of dimensions, and the factor on cosine and sine.
 * @param width dimensions that are rotated
 */
export function frequencies(config: RopeConfig, width: number): { inverse: number[]; factor: number } {
  const rope = ropeSettings(config);
  const plain = Array.from({ length: width / 2 }, (_, i) => rope.rope_theta ** (-(2 * i) / width));
  if (rope.rope_type === 'default') return { inverse: plain, factor: 1 };
  if (rope.rope_type === 'llama3') {
    const { factor = 1, low_freq_factor, high_freq_factor, original_max_position_embeddings } = rope;
    const original = original_max_position_embeddings ?? config.max_position_embeddings;
    return {
      inverse: plain.map((one) => llama3(one, factor ?? 1, low_freq_factor ?? 1, high_freq_factor ?? 4, original)),
      factor: 1,
    };
  }

  // YaRN: high frequencies stay, low ones are interpolated by the factor, with a linear ramp in between.
  const original = rope.original_max_position_embeddings ?? config.max_position_embeddings;
  const stretch = rope.factor ?? config.max_position_embeddings / original;
  const correction = (rotations: number): number =>
    (width * Math.log(original / (rotations * 2 * Math.PI))) / (2 * Math.log(rope.rope_theta));
  const round = rope.truncate !== false;
  const low0 = correction(rope.beta_fast ?? 32);
  const high0 = correction(rope.beta_slow ?? 1);
  const low = Math.max(round ? Math.floor(low0) : low0, 0);
  let high = Math.min(round ? Math.ceil(high0) : high0, width - 1);
  if (high === low) high += 0.001;
  const inverse = plain.map((frequency, i) => {
    const ramp = Math.min(1, Math.max(0, (i - low) / (high - low)));
    return (frequency / stretch) * ramp + frequency * (1 - ramp);
  });
  let factor = rope.attention_factor;
  if (factor === undefined || factor === null) {
    factor =
      rope.mscale && rope.mscale_all_dim
        ? yarnScale(stretch, rope.mscale) / yarnScale(stretch, rope.mscale_all_dim)
        : yarnScale(stretch, 1);
  }
  return { inverse, factor };
}

/**
 * Llama 3.1's extension of the context (arXiv 2407.21783, §3.4.1; meta-llama/llama-models, `apply_scaling`): frequencies
 * whose wavelength fits `high` times or more into the original context stay, those that fit less than `low` times are
 * divided by the factor, and in between is a linear ramp.
 */
function llama3(frequency: number, factor: number, low: number, high: number, original: number): number {
  const turns = (original * frequency) / (2 * Math.PI);
  if (turns < low) return frequency / factor;
  if (turns > high) return frequency;
  const smooth = (turns - low) / (high - low);
  return (1 - smooth) * (frequency / factor) + smooth * frequency;
}

/** (qk_nope + qk_rope)^-½, times mscale² when YaRN extends the context (DeepSeek-V3, inference/model.py). */
export function attentionScale(config: DeepseekConfig): number {
  const plain = (config.qk_nope_head_dim + config.qk_rope_head_dim) ** -0.5;
  const rope = ropeSettings(config);
  if (rope.rope_type === 'default' || !rope.mscale_all_dim) return plain;
  const original = rope.original_max_position_embeddings ?? config.max_position_embeddings;
  const mscale = yarnScale(rope.factor ?? config.max_position_embeddings / original, rope.mscale_all_dim);
  return plain * mscale * mscale;
}

/** Cosine and sine of every position's angles: float32 [positions, width / 2] each. */
export class RopeTable {
  #cosine: Tensor;
  #sine: Tensor;
  #length: number;
  readonly #inverse: number[];
  readonly #factor: number;
  readonly #device: Device;

  /** @param width dimensions that are rotated */
  constructor(config: RopeConfig, width: number, device: Device = 'cpu') {
    this.#device = device;
    ({ inverse: this.#inverse, factor: this.#factor } = frequencies(config, width));
    this.#length = Math.min(config.max_position_embeddings, 512);
    [this.#cosine, this.#sine] = this.#make(this.#length);
  }

  #make(length: number): [Tensor, Tensor] {
    // Kept: the tables outlive whatever scope first asks for them.
    return scope(() => {
      const angles = outer(arange(0, length, 1, { dtype: 'float32' }), tensor(this.#inverse));
      // Computed on the CPU: the same numbers on every device.
      const placed = (table: Tensor): Tensor => keep(table.mul(this.#factor).toDevice(this.#device, 'float32'));
      return [placed(angles.cos()), placed(angles.sin())];
    });
  }

  /** Makes room for positions up to `length`. */
  reserve(length: number): void {
    if (length <= this.#length) return;
    this.#cosine.dispose();
    this.#sine.dispose();
    this.#length = Math.max(length, 2 * this.#length);
    [this.#cosine, this.#sine] = this.#make(this.#length);
  }

  get tables(): readonly [cosine: Tensor, sine: Tensor] {
    return [this.#cosine, this.#sine];
  }

  get length(): number {
    return this.#length;
  }

  dispose(): void {
    this.#cosine.dispose();
    this.#sine.dispose();
  }

  /** @param positions int64 [rows] → cosine and sine, [rows, width / 2] each. */
  at(positions: Tensor): [Tensor, Tensor] {
    return [this.#cosine.indexSelect(0, positions), this.#sine.indexSelect(0, positions)];
  }
}
