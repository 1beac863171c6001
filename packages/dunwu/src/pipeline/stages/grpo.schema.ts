import type { z } from 'zod';
import { grpoConfig } from '../../train/grpo-config.js';
import { stageName, stageTask } from './common.schema.js';

export const schema = grpoConfig.safeExtend({
  /** The stage whose model is the policy to begin with, and the reference. */
  model: stageName,
  /** Problems of another task than the recipe's. */
  task: stageTask,
});

export type GrpoStage = z.output<typeof schema>;

export const references = (config: GrpoStage): string[] => [config.model];
