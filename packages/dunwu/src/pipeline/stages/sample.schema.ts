import { z } from 'zod';
import { rewardProgramConfig } from '../../reward/program.js';
import { samplingSchema } from '../../rollout/sampling-config.js';
import { keepSchema } from '../curation/keep.js';
import { POST_PROCESS_NAMES } from '../curation/post-process.js';
import { stageName, stageTask } from './common.schema.js';

export const schema = z
  .strictObject({
    /** The stage whose model is asked. */
    model: stageName,
    /** Problems of another task than the recipe's. */
    task: stageTask,
    /** Problems of the train split, all different. */
    problems: z.int().positive(),
    /** Responses to each. */
    samples: z.int().positive(),
    sampling: samplingSchema,
    /** Problems answered side by side and saved together: what a killed run loses at most. */
    chunk: z.int().positive().default(32),
    /** What is done to a response, in this order, before it is judged. */
    post_process: z.array(z.enum(POST_PROCESS_NAMES)).default([]),
    /** The rules that responses are judged by. */
    rewards: rewardProgramConfig,
    keep: keepSchema,
    /** Who decides about what the rules let through. */
    curate: z.enum(['auto', 'human']).default('auto'),
    /** With `curate: human`: decisions that are enough for the run to go on; all without it. */
    enough: z.int().positive().optional(),
  })
  .superRefine(({ sampling, samples, rewards, keep, post_process, curate, enough }, context) => {
    const issue = (path: (string | number)[], message: string) => context.addIssue({ code: 'custom', path, message });
    if (sampling.temperature === 0 && samples > 1) {
      issue(['samples'], 'must be 1 at temperature 0: all responses to a problem would be the same');
    }
    const rules = Object.keys(rewards.rules);
    const known = (name: string, path: (string | number)[]) => {
      if (!rules.includes(name)) issue(path, `${name} is not among rewards.rules (${rules.join(', ')})`);
    };
    for (const [i, name] of keep.require.entries()) known(name, ['keep', 'require', i]);
    for (const name of Object.keys(keep.min_points)) known(name, ['keep', 'min_points', name]);
    if (keep.require.length === 0 && Object.keys(keep.min_points).length === 0 && keep.min_total === undefined) {
      issue(['keep'], 'asks nothing of a response: give require, min_points or min_total');
    }
    if (keep.per_problem > samples) issue(['keep', 'per_problem'], `cannot exceed samples (${samples})`);
    if (keep.max !== undefined && keep.max < keep.min_rows)
      issue(['keep', 'max'], `is below min_rows (${keep.min_rows})`);
    if (curate === 'auto' && enough !== undefined)
      issue(['enough'], 'would be ignored: with curate auto the rules decide');
    if (enough !== undefined && enough < keep.min_rows) {
      issue(['enough'], `is below keep.min_rows (${keep.min_rows}): so many rows could not come of it`);
    }
    const twice = post_process.findIndex((name, i) => post_process.indexOf(name) !== i);
    if (twice >= 0) issue(['post_process', twice], `${post_process[twice]} is there already`);
  });

export type SampleStage = z.output<typeof schema>;

export const references = (config: SampleStage): string[] => [config.model];
