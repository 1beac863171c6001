import { z } from 'zod';
import { taskSchema } from '../../task/registry.js';

/** Name of an earlier stage of the recipe. */
export const stageName = z.string().min(1);

/** A stage's own task, instead of the recipe's. */
export const stageTask = taskSchema.optional();
