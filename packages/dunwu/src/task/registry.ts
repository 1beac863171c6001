import { z } from 'zod';
import { createDataset, datasetSchema } from './dataset.js';
import { createEquation, equationSchema } from './equation.js';
import type { Task } from './problem.js';
import { describeIssues } from './schema.js';
import { createWordProblem, wordProblemSchema } from './word-problem.js';

/** What a recipe's `task` may be, told apart by `type`. A new task: its schema here, its line in `createTask`. */
export const taskSchema = z.discriminatedUnion('type', [wordProblemSchema, equationSchema, datasetSchema]);

/** With defaults filled in. */
export type TaskConfig = z.output<typeof taskSchema>;
/** As a person writes it. */
export type TaskInput = z.input<typeof taskSchema>;

export const TASK_TYPES: readonly TaskConfig['type'][] = taskSchema.options.map((option) => option.shape.type.value);

/**
 * The task that a configuration describes; defaults are filled in.
 * @param base folder that relative paths start from (the recipe's).
 * @throws Error that names each wrong key, or the task types there are.
 */
export function createTask(input: unknown, base = process.cwd()): Task {
  const config = parseTask(input);
  switch (config.type) {
    case 'word-problem':
      return createWordProblem(config);
    case 'equation':
      return createEquation(config);
    case 'dataset':
      return createDataset(config, base);
  }
}

function parseTask(input: unknown): TaskConfig {
  const type = typeof input === 'object' && input !== null && 'type' in input ? input.type : undefined;
  if (!TASK_TYPES.some((known) => known === type)) {
    const found = type === undefined ? 'no type' : `type ${JSON.stringify(type)}`;
    throw new Error(`task: ${found}; type must be one of ${TASK_TYPES.join(', ')}`);
  }
  const parsed = taskSchema.safeParse(input);
  if (!parsed.success) throw new Error(`task (${String(type)}): ${describeIssues(parsed.error)}`);
  return parsed.data;
}
