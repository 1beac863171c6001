import { z } from 'zod';
import { gaeSchema } from '../objective/gae.js';
import { rewardProgramConfig } from '../reward/program.js';
import { samplingSchema } from '../rollout/sampling-config.js';
import { optimizerSchema } from './optimizer-config.js';
import { scheduleSchema } from './schedule.js';
import { validationSchema } from './validation-config.js';

/** RLHF as in InstructGPT (Ouyang et al. 2022, arXiv 2203.02155): PPO (arXiv 1707.06347) against a reward model. */
export const ppoConfig = z
  .strictObject({
    /** Rollouts. */
    steps: z.int().positive(),
    /** Questions drawn for each rollout. */
    questions_per_step: z.int().positive(),
    /** Responses sampled to each of them. They are not compared: the value function says what was to be expected. */
    samples_per_question: z.int().positive().default(1),
    /** Updates made from one rollout: its responses are split in so many parts. */
    mini_batches: z.int().positive().default(1),
    /** Times the whole rollout is gone through. */
    inner_epochs: z.int().positive().default(1),
    sampling: samplingSchema,
    /** β: the penalty in the reward for leaving the reference, per nat and token. 0 measures without pulling. */
    kl: z.strictObject({ coefficient: z.number().min(0) }),
    /** Score of responses that were cut off at max_tokens, in place of the reward model's. */
    truncated_score: z.number().optional(),
    ...gaeSchema.shape,
    /** Bring the advantages of a rollout's tokens to mean 0 and standard deviation 1. */
    whiten_advantages: z.boolean().default(true),
    loss: z
      .strictObject({
        /** ε below and above: the token's ratio is clipped to [1 − clip_low, 1 + clip_high]. */
        clip_low: z.number().min(0).default(0.2),
        clip_high: z.number().min(0).default(0.2),
        /** How the tokens' terms become one number (objective/policy-loss.ts). */
        aggregate: z.enum(['token-mean', 'sequence-mean-token-mean', 'sequence-mean-max-tokens']).default('token-mean'),
      })
      .prefault({}),
    value: z
      .strictObject({
        /** Which model the value function begins as: the reward model (InstructGPT), or the policy with a fresh head. */
        init: z.enum(['reward-model', 'policy']).default('reward-model'),
        /** ε, in units of the score: how far a token's value may move in one rollout's updates before its gradient ends. */
        clip: z.union([z.literal('none'), z.number().positive()]).default(0.2),
        /** Default: the policy's. */
        optimizer: optimizerSchema.optional(),
      })
      .prefault({}),
    /** Rules that only look: their points are logged, and nothing is learnt from them. */
    observe: rewardProgramConfig.prefault({ rules: { accuracy: 1 } }),
    optimizer: optimizerSchema,
    schedule: scheduleSchema.prefault({ kind: 'constant' }),
    /** Largest gradient norm, of the policy and of the value function. */
    clip_grad: z.number().positive().default(1),
    /** Tokens computed at one time; bounds memory, changes results by rounding only. */
    micro_batch_tokens: z.int().positive().default(8192),
    save_every: z.int().positive().default(10),
    validation: validationSchema.optional(),
  })
  .superRefine((config, context) => {
    const issue = (path: string[], message: string) => context.addIssue({ code: 'custom', path, message });
    const responses = config.questions_per_step * config.samples_per_question;
    if (config.mini_batches > responses) {
      issue(['mini_batches'], `cannot exceed the ${responses} responses of a rollout`);
    }
    if (config.sampling.temperature === 0) {
      issue(['sampling', 'temperature'], 'must be above 0: a policy that tries nothing learns nothing');
    }
  });

export type PpoConfig = z.output<typeof ppoConfig>;
