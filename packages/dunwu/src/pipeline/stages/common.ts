import type { Task } from '../../task/problem.js';
import { createTask } from '../../task/registry.js';
import type { StageContext } from '../stage.js';

/** The stage's own task when its configuration has one, else the recipe's. */
export function taskOf(ctx: StageContext, config: { readonly task?: unknown }): Task {
  return createTask(config.task ?? ctx.recipe.task, ctx.recipe.base);
}

/** The model folder that an earlier stage left. @throws Error when it left none. */
export function modelOf(ctx: StageContext, stage: string): string {
  const { model } = ctx.artefact(stage);
  if (model === undefined) throw new Error(`stage '${stage}' left no model`);
  return model;
}

/** The data file that an earlier stage left. @throws Error when it left none. */
export function datasetOf(ctx: StageContext, stage: string): string {
  const { dataset } = ctx.artefact(stage);
  if (dataset === undefined) throw new Error(`stage '${stage}' left no dataset`);
  return dataset;
}
