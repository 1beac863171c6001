import { z } from 'zod';
import { isMixture } from '../task/mixture.js';
import type { Task } from '../task/problem.js';
import { isWorkedTask, type WorkedTask } from '../task/worked.js';
import { createWorkedSolutions, workedSolutionsSchema } from './corpus.js';
import type { Document, DocumentSource } from './document.js';
import { createGeneralCorpus, generalCorpusSchema } from './general.js';
import { createMixtureSource } from './mixture.js';
import { createJsonlSource, createTextSource, jsonlSourceSchema, textSourceSchema } from './text-source.js';

const plainSourceSchema = z.discriminatedUnion('type', [
  workedSolutionsSchema,
  textSourceSchema,
  jsonlSourceSchema,
  generalCorpusSchema,
]);

/** Documents of several sources, with relative weights. Mixtures do not nest: give the parts their weights instead. */
const mixtureSourceSchema = z.strictObject({
  type: z.literal('mixture'),
  parts: z.array(z.strictObject({ weight: z.number().positive(), source: plainSourceSchema })).min(2),
});

/** What a recipe's corpus may be, told apart by `type`. */
export const sourceSchema = z.discriminatedUnion('type', [...plainSourceSchema.options, mixtureSourceSchema]);

export type SourceConfig = z.output<typeof sourceSchema>;

export interface SourceContext {
  /** The task whose training problems `worked-solutions` solves; of a mixture, its one part that has worked solutions. */
  readonly task?: Task;
  readonly seed: number | string;
  /** Folder that relative paths start from. */
  readonly base?: string;
}

/** Throws when `worked-solutions` is asked for without a task that can write solutions. */
export function createSource(config: SourceConfig, context: SourceContext): DocumentSource<Document> {
  switch (config.type) {
    case 'worked-solutions':
      return createWorkedSolutions(config, workedTask(context.task), context.seed);
    case 'text':
      return createTextSource(config, context.base);
    case 'jsonl':
      return createJsonlSource(config, context.base);
    case 'general':
      return createGeneralCorpus(config, context.seed);
    case 'mixture': {
      const parts = config.parts.map(({ weight, source }, i) => ({
        weight,
        source: createSource(source, { ...context, seed: `${context.seed}:${i}` }),
      }));
      return createMixtureSource(parts, context.seed);
    }
  }
}

function workedTask(task: Task | undefined): WorkedTask {
  const found = (task !== undefined && isMixture(task) ? task.parts.map((part) => part.task) : [task]).filter(
    (one) => one !== undefined && isWorkedTask(one),
  );
  if (found.length === 1) return found[0] as WorkedTask;
  throw new Error(
    `corpus worked-solutions: ${
      task === undefined
        ? 'there is no task'
        : found.length === 0
          ? `task ${task.id} cannot write solutions`
          : `task ${task.id} has ${found.length} parts that can write solutions`
    }; use a generated task (word-problem, equation) as the recipe's task, or a corpus of another type`,
  );
}
