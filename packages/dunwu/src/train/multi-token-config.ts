import { z } from 'zod';

/** How modules of multi-token prediction are trained; the defaults are DeepSeek-V3's (arXiv 2412.19437 §4.2). */
export const multiTokenSchema = z.strictObject({
  /** λ in the beginning. */
  loss_weight: z.number().positive().default(0.3),
  /** λ at the end. */
  final_loss_weight: z.number().positive().default(0.1),
  /** Share of the steps with `loss_weight`: 10 T of 14.8 T tokens. */
  switch_at: z.number().min(0).max(1).default(0.676),
});

export type MultiTokenConfig = z.output<typeof multiTokenSchema>;

/** λ at `step` (1 is the first) of `steps`. */
export function multiTokenWeight(config: MultiTokenConfig, step: number, steps: number): number {
  return step <= config.switch_at * steps ? config.loss_weight : config.final_loss_weight;
}
