import { z } from 'zod';
import { taskSchema } from '../../task/registry.js';
import { stageName } from './common.schema.js';

/** Where dialogue rows come from: an earlier stage, a file, or the solutions that a task writes itself. */
export const dialogueDataSchema = z
  .strictObject({
    /** The stage whose dialogues these are. */
    stage: stageName.optional(),
    /** JSON lines. */
    file: z.string().min(1).optional(),
    /** `recipe` for the recipe's task, or a task of its own. */
    task: z.union([z.literal('recipe'), taskSchema]).optional(),
    /** Different training problems of `task`. */
    n: z.int().positive().optional(),
    /** Share of them whose solution is calculated wrongly. */
    wrong: z.number().min(0).max(1).optional(),
    /** Decides problems and mistakes; equal seeds give equal ones in every stage. Default: the stage's own. */
    seed: z.int().nonnegative().optional(),
    /** The first so many rows of a stage's or a file's. */
    limit: z.int().positive().optional(),
  })
  .superRefine((data, context) => {
    const issue = (key: string, message: string) => context.addIssue({ code: 'custom', path: [key], message });
    const given = (['stage', 'file', 'task'] as const).filter((key) => data[key] !== undefined);
    if (given.length !== 1) {
      issue(
        given[1] ?? 'stage',
        given.length === 0
          ? 'is missing: give stage, file or task'
          : `excludes ${given[0]}: give one of stage, file, task`,
      );
      return;
    }
    if (given[0] === 'task') {
      if (data.n === undefined) issue('n', 'is missing: how many problems of the task');
      if (data.limit !== undefined) issue('limit', 'would be ignored: n says how many');
    } else {
      for (const key of ['n', 'wrong', 'seed'] as const) {
        if (data[key] !== undefined) issue(key, `would be ignored: it goes with task, not with ${given[0]}`);
      }
    }
  });

export type DialogueData = z.output<typeof dialogueDataSchema>;

/** One or more of them, one after another. */
export const dialogueDataList = z.array(dialogueDataSchema).min(1);

export const dataReferences = (data: readonly DialogueData[]): string[] =>
  data.flatMap(({ stage }) => (stage === undefined ? [] : [stage]));
