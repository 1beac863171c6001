import { evaluate } from '../eval/evaluate.js';
import type { CausalModel } from '../model/causal-model.js';
import type { Sampling } from '../rollout/sampling-config.js';
import type { Task } from '../task/problem.js';
import type { Tokenizer } from '../text/tokenizer.js';
import type { ValidationConfig } from './validation-config.js';

/**
 * `validation/accuracy`, `validation/format` and, where samples are asked for, `validation/sampled/…` of step n; nothing
 * in the steps between.
 */
export async function validationMetrics(
  policy: CausalModel,
  tokenizer: Tokenizer,
  task: Task,
  config: { readonly validation?: ValidationConfig | undefined; readonly sampling: Sampling },
  seed: number,
  n: number,
): Promise<Record<string, number>> {
  const { validation, sampling } = config;
  if (validation === undefined || n % validation.every !== 0) return {};
  const started = performance.now();
  const { evaluation } = await evaluate(policy, tokenizer, task.fixed('validation', validation.n), {
    samples: validation.samples,
    maxTokens: sampling.max_tokens,
    ...(sampling.stop === undefined ? {} : { stop: sampling.stop }),
    seed,
  });
  return {
    'validation/accuracy': evaluation.accuracy,
    'validation/format': evaluation.format,
    ...(evaluation.sampled === undefined
      ? {}
      : {
          'validation/sampled/accuracy': evaluation.sampled.accuracy,
          'validation/sampled/language_consistency': evaluation.sampled.language_consistency,
        }),
    'time/validation_s': (performance.now() - started) / 1000,
  };
}
