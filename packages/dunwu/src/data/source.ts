import { z } from 'zod';
import type { Task } from '../task/problem.js';
import { isWorkedTask } from '../task/worked.js';
import { createWorkedSolutions, workedSolutionsSchema } from './corpus.js';
import type { DocumentSource } from './document.js';
import { createJsonlSource, createTextSource, jsonlSourceSchema, textSourceSchema } from './text-source.js';

/** What a recipe's corpus may be, told apart by `type`. */
export const sourceSchema = z.discriminatedUnion('type', [workedSolutionsSchema, textSourceSchema, jsonlSourceSchema]);

export type SourceConfig = z.output<typeof sourceSchema>;

export interface SourceContext {
  /** The task whose training problems `worked-solutions` solves. */
  readonly task?: Task;
  readonly seed: number | string;
  /** Folder that relative paths start from. */
  readonly base?: string;
}

/** Throws when `worked-solutions` is asked for without a task that can write solutions. */
export function createSource(config: SourceConfig, context: SourceContext): DocumentSource {
  switch (config.type) {
    case 'worked-solutions': {
      const { task } = context;
      if (task === undefined || !isWorkedTask(task)) {
        throw new Error(
          `corpus worked-solutions: ${task ? `task ${task.id} cannot write solutions` : 'there is no task'}; ` +
            'use a generated task (word-problem, equation), or a corpus of type text or jsonl',
        );
      }
      return createWorkedSolutions(config, task, context.seed);
    }
    case 'text':
      return createTextSource(config, context.base);
    case 'jsonl':
      return createJsonlSource(config, context.base);
  }
}
