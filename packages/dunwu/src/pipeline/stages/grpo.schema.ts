import { z } from 'zod';
import { ruleNames } from '../../reward/rules/index.js';
import { grpoConfig } from '../../train/grpo-config.js';
import { stageName, stageTask } from './common.schema.js';

/** A learnt judge beside the rules (DeepSeek-R1, arXiv 2501.12948: the reward of general data in the second RL stage). */
const rewardModel = z.strictObject({
  /** The `reward-model` stage that left it. */
  model: stageName,
  /** Its points, σ(score), are between 0 and 1 as a rule's are. */
  weight: z.number().positive().default(1),
  /** Sources of the problems whose responses it judges: there is no neural reward for reasoning. */
  sources: z.array(z.string().min(1)).min(1),
  /** Share of the steps before it counts; until then problems of its sources are held back (R1: 1,300 of 1,700 steps). */
  from: z.number().min(0).lt(1).default(0),
});

export const schema = grpoConfig
  .safeExtend({
    /** The stage whose model is the policy to begin with, and the reference. */
    model: stageName,
    /** Problems of another task than the recipe's. */
    task: stageTask,
    /** Reward models, by the name that their part has in traces and metrics. */
    reward_models: z.record(z.string().regex(/^[a-z][a-z0-9_-]*$/), rewardModel).default({}),
  })
  .superRefine(({ reward_models }, context) => {
    for (const name of Object.keys(reward_models)) {
      if (!ruleNames().includes(name)) continue;
      context.addIssue({
        code: 'custom',
        path: ['reward_models', name],
        message: `is a rule's name already: a trace has one part of a name`,
      });
    }
  });

export type GrpoStage = z.output<typeof schema>;

export const references = (config: GrpoStage): string[] => [
  config.model,
  ...Object.values(config.reward_models).map(({ model }) => model),
];
