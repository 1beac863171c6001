import type { z } from 'zod';
import { rewardModelConfig } from '../../train/reward-model-config.js';
import { stageName } from './common.schema.js';
import { preferenceData, preferenceReferences } from './preference-data.schema.js';

export const schema = rewardModelConfig.safeExtend({
  /** The stage whose model becomes the reward model's trunk. */
  model: stageName,
  /** Preference pairs, or safety labels, as `rows` says. */
  data: preferenceData,
});

export type RewardModelStage = z.output<typeof schema>;

export const references = (config: RewardModelStage): string[] => [config.model, ...preferenceReferences(config.data)];
