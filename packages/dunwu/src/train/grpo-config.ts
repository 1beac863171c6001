import { z } from 'zod';
import { loraConfig } from '../model/lora-config.js';
import { policyLossSchema } from '../objective/policy-loss.js';
import { grpoAdvantageSchema } from '../objective/process-advantage.js';
import { type RewardProgramConfig, rewardProgramConfig } from '../reward/program.js';
import { mayGiveSteps } from '../reward/rules/index.js';
import { samplingSchema } from '../rollout/sampling-config.js';
import { optimizerSchema } from './optimizer-config.js';
import { overlongSchema } from './overlong.js';
import { scheduleSchema } from './schedule.js';
import { validationSchema } from './validation-config.js';

/** Every symbol of the formula by name (DeepSeekMath, arXiv 2402.03300, eq. 3; DeepSeek-R1, arXiv 2501.12948, eq. 1). */
export const grpoConfig = z
  .strictObject({
    /** Rollouts. */
    steps: z.number().int().positive(),
    /** Questions q drawn for each rollout. */
    questions_per_step: z.number().int().positive(),
    /** G: outputs sampled for each question. */
    group_size: z.number().int().min(2),
    /** Updates made from one rollout: its outputs are split in so many parts, group by group. */
    mini_batches: z.number().int().positive().default(1),
    /** Times the whole rollout is gone through. */
    inner_epochs: z.number().int().positive().default(1),
    sampling: samplingSchema,
    /** Rules and their weights, per source. */
    rewards: rewardProgramConfig,
    advantage: grpoAdvantageSchema.prefault({ scale: 'std' }),
    /**
     * DAPO (arXiv 2503.14476, section 3.2): groups whose advantages are all 0 are thrown away and other questions take
     * their places, in at most so many rounds; what then still has no spread stays. Without this key none are.
     */
    dynamic_sampling: z.strictObject({ max_rounds: z.number().int().positive().default(4) }).optional(),
    /** DAPO's soft overlong punishment (section 3.4): points for ending before `sampling.max_tokens`. Without it none. */
    overlong: overlongSchema.optional(),
    loss: policyLossSchema,
    /** Rollouts between two refreshes π_ref ← π_θ; 0 keeps the first (R1: 400). */
    reference_every: z.number().int().nonnegative().default(0),
    optimizer: optimizerSchema,
    schedule: scheduleSchema.prefault({ kind: 'constant' }),
    clip_grad: z.number().positive().default(1),
    /** Tokens computed at one time; bounds memory, changes results by rounding only. */
    micro_batch_tokens: z.number().int().positive().default(8192),
    save_every: z.number().int().positive().default(10),
    validation: validationSchema.optional(),
    /** Train adapters (LoRA) in place of the weights; π_ref is the model without them, by the same weights. */
    lora: loraConfig.optional(),
  })
  .superRefine((config, context) => {
    if (config.mini_batches > config.questions_per_step) {
      context.addIssue({
        code: 'custom',
        path: ['mini_batches'],
        message: 'cannot exceed questions_per_step: a group stays together',
      });
    }
    if (config.overlong !== undefined && config.overlong.buffer > config.sampling.max_tokens) {
      context.addIssue({
        code: 'custom',
        path: ['overlong', 'buffer'],
        message: 'cannot exceed sampling.max_tokens',
      });
    }
    if (config.sampling.temperature === 0) {
      context.addIssue({
        code: 'custom',
        path: ['sampling', 'temperature'],
        message: 'must be above 0: a group of equal outputs teaches nothing',
      });
    }
    if (config.loss.kl.estimator === 'none' && config.reference_every > 0) {
      context.addIssue({
        code: 'custom',
        path: ['reference_every'],
        message: 'would be ignored: loss.kl.estimator is none, so there is no reference',
      });
    }
    if (config.lora !== undefined && config.reference_every > 0) {
      context.addIssue({
        code: 'custom',
        path: ['reference_every'],
        message: 'must be 0 with lora: the reference is the model without its adapters',
      });
    }
    if (config.advantage.kind === 'process') {
      if (config.loss.ratio !== 'token') {
        context.addIssue({
          code: 'custom',
          path: ['advantage', 'kind'],
          message: `process gives each token its own advantage, and loss.ratio ${config.loss.ratio} moves all tokens of an output alike: use ratio token`,
        });
      }
      if (!rulesRun(config.rewards).some(mayGiveSteps)) {
        context.addIssue({
          code: 'custom',
          path: ['advantage', 'kind'],
          message: 'process needs a rule that gives points step by step: add `steps` to rewards.rules',
        });
      }
    }
  });

export type GrpoConfig = z.output<typeof grpoConfig>;

/** Names of the rules that have a weight for some source. */
function rulesRun({ rules, sources = {} }: RewardProgramConfig): string[] {
  return [rules, ...Object.values(sources)].flatMap((table) =>
    Object.entries(table).flatMap(([name, entry]) =>
      (typeof entry === 'number' ? entry : (entry.weight ?? 1)) === 0 ? [] : [name],
    ),
  );
}
