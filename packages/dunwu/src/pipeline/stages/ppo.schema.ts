import type { z } from 'zod';
import { ppoConfig } from '../../train/ppo-config.js';
import { stageName, stageTask } from './common.schema.js';

export const schema = ppoConfig.safeExtend({
  /** The stage whose model is the policy to begin with, and the reference. */
  model: stageName,
  /** The stage whose reward model scores the responses. */
  reward_model: stageName,
  /** Problems of another task than the recipe's. */
  task: stageTask,
});

export type PpoStage = z.output<typeof schema>;

export const references = (config: PpoStage): string[] => [config.model, config.reward_model];
