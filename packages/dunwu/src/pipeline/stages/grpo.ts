import { manualSeed } from '@dunwu/torch';
import { loadModel, saveModel } from '../../model/checkpoint.js';
import { Tokenizer } from '../../text/tokenizer.js';
import { grpo } from '../../train/grpo.js';
import { useCompute } from '../compute.js';
import { Interrupted, type StageContext, type StageResult } from '../stage.js';
import { modelOf, Owned, rewardModelOf, taskOf } from './common.js';
import type { GrpoStage } from './grpo.schema.js';
import { copyTokenizer } from './pretrain.js';
import { judgedResponses } from './provided.js';

/**
 * Reinforcement learning by rule rewards: R1-Zero and the reasoning stage of R1; with reward models beside the rules, its
 * last stage, on all scenarios.
 */
export async function run(ctx: StageContext, config: GrpoStage): Promise<StageResult> {
  useCompute(ctx.recipe.compute);
  const folder = modelOf(ctx, config.model);
  const tokenizer = Tokenizer.load(folder);
  const task = taskOf(ctx, config);
  const owned = new Owned();
  try {
    const policy = owned.add(loadModel(folder));
    const models = Object.entries(config.reward_models).map(([name, { model, ...where }]) => ({
      name,
      scorer: owned.add(rewardModelOf(ctx, model)),
      ...where,
    }));
    manualSeed(ctx.seed);
    const { outcome, tokens, flops } = await grpo(ctx, policy, tokenizer, task, config, models);
    if (outcome === 'interrupted') throw new Interrupted();
    await saveModel(policy, ctx.modelDir);
    copyTokenizer(folder, ctx.modelDir);
    const provided = judgedResponses(ctx, { answers: true });
    return { model: ctx.modelDir, tokenizer: ctx.modelDir, tokens, flops, provided };
  } finally {
    owned.dispose();
  }
}
