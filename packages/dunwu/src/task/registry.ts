import { z } from 'zod';
import { createDataset, datasetSchema } from './dataset.js';
import { createEquation, equationSchema } from './equation.js';
import { createGeneral, generalSchema } from './general.js';
import { createMixture } from './mixture.js';
import type { Task } from './problem.js';
import { describeIssues } from './schema.js';
import { createSubset } from './subset.js';
import { createWordProblem, wordProblemSchema } from './word-problem.js';

/** A task of one kind. A new task: its schema here, its line in `createTask`. */
const plainTaskSchema = z.discriminatedUnion('type', [wordProblemSchema, equationSchema, datasetSchema, generalSchema]);

/** Problems of several tasks, with relative weights. Mixtures do not nest: give the parts their weights instead. */
const mixtureSchema = z.strictObject({
  type: z.literal('mixture'),
  parts: z.array(z.strictObject({ weight: z.number().positive(), task: plainTaskSchema })).min(2),
});

/** The first `n` training problems of a task; validation and test stay its own. */
const subsetSchema = z.strictObject({
  type: z.literal('subset'),
  n: z.int().positive(),
  task: z.discriminatedUnion('type', [...plainTaskSchema.options, mixtureSchema]),
});

/** What a recipe's `task` may be, told apart by `type`. */
export const taskSchema = z.discriminatedUnion('type', [...plainTaskSchema.options, mixtureSchema, subsetSchema]);

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
    case 'general':
      return createGeneral(config);
    case 'mixture':
      return createMixture(config.parts.map(({ weight, task }) => ({ weight, task: createTask(task, base) })));
    case 'subset':
      return createSubset(createTask(config.task, base), config.n);
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
