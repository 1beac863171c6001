import type { z } from 'zod';
import { sftConfig } from '../../train/sft-config.js';
import { stageName } from './common.schema.js';
import { dataReferences, dialogueDataList } from './dialogue-data.schema.js';

export const schema = sftConfig.safeExtend({
  /** The stage whose model is trained on. */
  model: stageName,
  /** What it learns from: earlier stages' dialogues, files, a task's own solutions. */
  data: dialogueDataList,
});

export type SftStage = z.output<typeof schema>;

export const references = (config: SftStage): string[] => [config.model, ...dataReferences(config.data)];
