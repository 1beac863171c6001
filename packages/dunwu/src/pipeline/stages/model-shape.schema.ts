import type { z } from 'zod';
import { type deepseekV3PretrainShape, deepseekV3Schema } from '../../model/deepseek-config.js';

type Shape = z.output<typeof deepseekV3PretrainShape>;

/** What a recipe says of a model, checked as a whole: issues at `path`. */
export function checkModelShape(shape: Shape, path: readonly string[], context: z.core.$RefinementCtx): void {
  const whole = deepseekV3Schema.safeParse({ ...shape, vocab_size: 8 });
  for (const issue of whole.error?.issues ?? []) {
    context.addIssue({ code: 'custom', path: [...path, ...issue.path], message: issue.message });
  }
}
