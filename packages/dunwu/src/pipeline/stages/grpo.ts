import { manualSeed } from '@dunwu/torch';
import { loadModel } from '../../model/checkpoint.js';
import { Tokenizer } from '../../text/tokenizer.js';
import { grpo } from '../../train/grpo.js';
import { useCompute } from '../compute.js';
import { Interrupted, type StageContext, type StageResult } from '../stage.js';
import { modelOf, Owned, rewardModelOf, taskOf } from './common.js';
import type { GrpoStage } from './grpo.schema.js';
import { judgedResponses } from './provided.js';
import { saveTrained } from './save-trained.js';

/**
 * Reinforcement learning by rule rewards: R1-Zero and the reasoning stage of R1; with reward models beside the rules, its
 * last stage, on all scenarios.
 */
export async function run(ctx: StageContext, config: GrpoStage): Promise<StageResult> {
  const device = useCompute(ctx.recipe.compute);
  const folder = modelOf(ctx, config.model);
  const tokenizer = Tokenizer.load(folder);
  const task = taskOf(ctx, config);
  const owned = new Owned();
  try {
    const policy = owned.add(loadModel(folder, device));
    const models = Object.entries(config.reward_models).map(([name, { model, ...where }]) => ({
      name,
      scorer: owned.add(rewardModelOf(ctx, model, device)),
      ...where,
    }));
    manualSeed(ctx.seed);
    const { outcome, tokens, flops } = await grpo(ctx, policy, tokenizer, task, config, models);
    if (outcome === 'interrupted') throw new Interrupted();
    const saved = await saveTrained(ctx, policy, folder);
    return { ...saved, tokens, flops, provided: judgedResponses(ctx, { answers: true }) };
  } finally {
    owned.dispose();
  }
}
