import { z } from 'zod';

/** Low-rank adapters (LoRA: Hu et al. 2021, arXiv 2106.09685): what they are put on, and how. */
export const loraConfig = z.strictObject({
  /** r: rows of A and columns of B. */
  rank: z.int().positive().max(65_536),
  /** α: what is added is (α / r) · B A x. */
  alpha: z.number().positive(),
  /**
   * Names of modules as PEFT matches them: the whole name, or its end after a dot (`q_proj`, `self_attn.q_proj`).
   * `all-linear`: every projection of the layers, routers and routed experts not among them.
   */
  target_modules: z
    .union([
      z.literal('all-linear'),
      z
        .array(z.string().min(1))
        .min(1)
        .refine((names) => new Set(names).size === names.length, { error: 'a name stands twice' }),
    ])
    .default('all-linear'),
  /** α / √r in place of α / r (rsLoRA: Kalajdzievski 2023, arXiv 2312.03732). */
  use_rslora: z.boolean().default(false),
});

export type LoraConfig = z.output<typeof loraConfig>;

/** What B A is multiplied with: α / r (arXiv 2106.09685, §4.1), or α / √r (arXiv 2312.03732, eq. 2). */
export function loraScale({ rank, alpha, use_rslora }: Pick<LoraConfig, 'rank' | 'alpha' | 'use_rslora'>): number {
  return alpha / (use_rslora ? Math.sqrt(rank) : rank);
}
