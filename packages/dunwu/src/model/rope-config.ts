import { z } from 'zod';

const positive = z.number().int().positive();

/** Rotary settings as config.json has them, in `rope_parameters` or in `rope_scaling`. */
export const ropeParameters = z.strictObject({
  rope_type: z.enum(['default', 'yarn', 'llama3']).default('default'),
  /** The older name of rope_type. */
  type: z.enum(['default', 'yarn', 'llama3']).optional(),
  rope_theta: z.number().positive().optional(),
  factor: z.number().positive().nullish(),
  original_max_position_embeddings: positive.optional(),
  beta_fast: z.number().positive().nullish(),
  beta_slow: z.number().positive().nullish(),
  mscale: z.number().nullish(),
  mscale_all_dim: z.number().nullish(),
  attention_factor: z.number().nullish(),
  low_freq_factor: z.number().positive().optional(),
  high_freq_factor: z.number().positive().optional(),
  partial_rotary_factor: z.literal(1).optional(),
  truncate: z.boolean().optional(),
});

export type RopeParameters = z.output<typeof ropeParameters>;

/** The keys of any family's config that rotation depends on. */
export interface RopeConfig {
  readonly rope_theta?: number | undefined;
  readonly rope_scaling?: RopeParameters | null | undefined;
  readonly rope_parameters?: RopeParameters | null | undefined;
  readonly max_position_embeddings: number;
}

/** The rotary settings, wherever the config has them (rope_parameters, or rope_theta with rope_scaling). */
export function ropeSettings(config: RopeConfig): RopeParameters & { rope_theta: number } {
  const given = config.rope_parameters ?? config.rope_scaling ?? { rope_type: 'default' as const };
  return {
    ...given,
    rope_type: given.type ?? given.rope_type,
    rope_theta: given.rope_theta ?? config.rope_theta ?? 10_000,
  };
}

/** What is wrong with rotary settings, by key. */
export function ropeFaults(config: RopeConfig): [key: string, message: string][] {
  const faults: [string, string][] = [];
  const { rope_parameters, rope_scaling } = config;
  if (rope_parameters && rope_scaling && JSON.stringify(rope_parameters) !== JSON.stringify(rope_scaling)) {
    faults.push(['rope_scaling', 'says something else than rope_parameters; give one of the two']);
  }
  const where = rope_parameters ? 'rope_parameters' : 'rope_scaling';
  const settings = ropeSettings(config);
  if (settings.rope_type === 'llama3') {
    for (const key of ['factor', 'low_freq_factor', 'high_freq_factor', 'original_max_position_embeddings'] as const) {
      if (typeof settings[key] !== 'number') faults.push([`${where}.${key}`, 'is missing: rope_type llama3 needs it']);
    }
    const { low_freq_factor: low = 1, high_freq_factor: high = 4 } = settings;
    if (high <= low) faults.push([`${where}.high_freq_factor`, 'must be above low_freq_factor']);
  } else {
    for (const key of ['low_freq_factor', 'high_freq_factor'] as const) {
      if (settings[key] !== undefined) faults.push([`${where}.${key}`, 'belongs to rope_type llama3 alone']);
    }
  }
  return faults;
}
