import { z } from 'zod';
import { stageName } from './common.schema.js';

const error = 'give { stage } (an earlier stage that left such rows) or { file } (JSON lines), or a list of them';

/** Preference pairs or safety labels: an earlier stage's, or a file's. */
const source = z.union([z.strictObject({ stage: stageName }), z.strictObject({ file: z.string().min(1) })], { error });

/** One of them or several, one after another. */
export const preferenceData = z
  .union([source, z.array(source).min(1)], { error })
  .transform((data) => (Array.isArray(data) ? data : [data]));

export type PreferenceData = z.output<typeof preferenceData>;

export const preferenceReferences = (data: PreferenceData): string[] =>
  data.flatMap((one) => ('stage' in one ? [one.stage] : []));
