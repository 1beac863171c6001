import { z } from 'zod';

/** Name of an earlier stage of the recipe. */
export const stageName = z.string().min(1);
