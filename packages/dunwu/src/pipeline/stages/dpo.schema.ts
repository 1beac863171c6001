import type { z } from 'zod';
import { dpoConfig } from '../../train/dpo-config.js';
import { stageName } from './common.schema.js';
import { preferenceData, preferenceReferences } from './preference-data.schema.js';

export const schema = dpoConfig.safeExtend({
  /** The stage whose model is the policy to begin with, and the reference. */
  model: stageName,
  /** Preference pairs. */
  data: preferenceData,
});

export type DpoStage = z.output<typeof schema>;

export const references = (config: DpoStage): string[] => [config.model, ...preferenceReferences(config.data)];
