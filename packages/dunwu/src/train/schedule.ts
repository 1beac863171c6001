import { z } from 'zod';

/** Learning rate over the steps of a stage. */
export const scheduleSchema = z.discriminatedUnion('kind', [
  /** Linear warm-up, then the peak to the end. */
  z.strictObject({ kind: z.literal('constant'), warmup_steps: z.number().int().nonnegative().default(0) }),
  /** Linear warm-up, then half a cosine down to `final` of the peak. */
  z.strictObject({
    kind: z.literal('cosine'),
    warmup_steps: z.number().int().nonnegative().default(0),
    final: z.number().min(0).max(1).default(0.1),
  }),
  /** Linear warm-up, constant, then linear decay over the last `decay` share of the steps to `final` of the peak. */
  z.strictObject({
    kind: z.literal('trapezoid'),
    warmup_steps: z.number().int().nonnegative().default(0),
    decay: z.number().min(0).max(1).default(0.3),
    final: z.number().min(0).max(1).default(0),
  }),
]);

export type Schedule = z.output<typeof scheduleSchema>;

/** Factor on the peak learning rate at `step` (1 is the first) of `steps`; never 0 during warm-up. */
export function scheduleFactor(schedule: Schedule, step: number, steps: number): number {
  const { warmup_steps: warmup } = schedule;
  if (step <= warmup) return step / warmup;
  if (schedule.kind === 'constant') return 1;
  if (schedule.kind === 'cosine') {
    const progress = Math.min(1, (step - warmup) / Math.max(1, steps - warmup));
    return schedule.final + (1 - schedule.final) * 0.5 * (1 + Math.cos(Math.PI * progress));
  }
  const begin = steps * (1 - schedule.decay);
  if (step <= begin) return 1;
  return 1 - (1 - schedule.final) * Math.min(1, (step - begin) / Math.max(1, steps - begin));
}
