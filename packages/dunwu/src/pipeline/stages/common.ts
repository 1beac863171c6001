import type { Device } from '@dunwu/torch';
import { type PromptedResponse, RewardModel } from '../../reward/reward-model.js';
import type { Task } from '../../task/problem.js';
import { createTask } from '../../task/registry.js';
import { Tokenizer } from '../../text/tokenizer.js';
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

/** A reward model with its own tokenizer: what the trainers ask for scores (train/model-rewards.ts: ResponseScorer). */
export interface LoadedRewardModel {
  readonly rewardModel: RewardModel;
  readonly reads: RewardModel['reads'];
  score(items: readonly PromptedResponse[]): number[];
  dispose(): void;
}

/** The reward model that an earlier stage left; the caller disposes it. @throws Error when the stage left another thing */
export function rewardModelOf(ctx: StageContext, stage: string, device: Device): LoadedRewardModel {
  const folder = modelOf(ctx, stage);
  const rewardModel = RewardModel.load(folder, device);
  try {
    const tokenizer = Tokenizer.load(folder);
    return {
      rewardModel,
      reads: rewardModel.reads,
      score: (items) => rewardModel.score(tokenizer, items),
      dispose: () => rewardModel.dispose(),
    };
  } catch (error) {
    rewardModel.dispose();
    throw error;
  }
}

/** What a stage loads and disposes at its end, whatever happened. */
export class Owned {
  readonly #all: { dispose(): void }[] = [];

  add<T extends { dispose(): void }>(one: T): T {
    this.#all.push(one);
    return one;
  }

  dispose(): void {
    for (const one of this.#all) one.dispose();
  }
}
