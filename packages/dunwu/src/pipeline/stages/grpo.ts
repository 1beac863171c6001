import { manualSeed } from '@dunwu/torch';
import { loadModel, saveModel } from '../../model/checkpoint.js';
import { Tokenizer } from '../../text/tokenizer.js';
import { grpo } from '../../train/grpo.js';
import { useCompute } from '../compute.js';
import { Interrupted, type StageContext, type StageResult } from '../stage.js';
import { modelOf, taskOf } from './common.js';
import type { GrpoStage } from './grpo.schema.js';
import { copyTokenizer } from './pretrain.js';

/** R1-Zero: reinforcement learning on the base model by rule rewards alone. */
export async function run(ctx: StageContext, config: GrpoStage): Promise<StageResult> {
  useCompute(ctx.recipe.compute);
  const folder = modelOf(ctx, config.model);
  const tokenizer = Tokenizer.load(folder);
  const policy = loadModel(folder);
  const task = taskOf(ctx, config);
  manualSeed(ctx.seed);
  try {
    const { outcome, tokens, flops } = await grpo(ctx, policy, tokenizer, task, config);
    if (outcome === 'interrupted') throw new Interrupted();
    await saveModel(policy, ctx.modelDir);
    copyTokenizer(folder, ctx.modelDir);
    return { model: ctx.modelDir, tokenizer: ctx.modelDir, tokens, flops };
  } finally {
    policy.dispose();
  }
}
