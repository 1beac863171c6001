import { readFileSync } from 'node:fs';
import path from 'node:path';
import { manualSeed } from '@dunwu/torch';
import { loadModel, saveModel } from '../../model/checkpoint.js';
import { copyScalarModel, ScalarModel } from '../../model/scalar-model.js';
import { Tokenizer } from '../../text/tokenizer.js';
import { ppo } from '../../train/ppo.js';
import { useCompute } from '../compute.js';
import { Interrupted, type StageContext, type StageResult } from '../stage.js';
import { modelOf, Owned, rewardModelOf, taskOf } from './common.js';
import type { PpoStage } from './ppo.schema.js';
import { copyTokenizer } from './pretrain.js';
import { judgedResponses } from './provided.js';

/** RLHF: what the rule-based way is compared with. The reference is the policy as it was. */
export async function run(ctx: StageContext, config: PpoStage): Promise<StageResult> {
  const device = useCompute(ctx.recipe.compute);
  const folder = modelOf(ctx, config.model);
  const task = taskOf(ctx, config);
  const tokenizer = Tokenizer.load(folder);
  if (config.value.init === 'reward-model') checkTokenizer(folder, modelOf(ctx, config.reward_model), config);
  manualSeed(ctx.seed);
  const owned = new Owned();
  try {
    const rewardModel = owned.add(rewardModelOf(ctx, config.reward_model, device));
    const policy = owned.add(loadModel(folder, device));
    const reference = owned.add(loadModel(folder, device));
    reference.setTrainable(false);
    const value = owned.add(
      config.value.init === 'policy'
        ? new ScalarModel(loadModel(folder, device))
        : copyScalarModel(rewardModel.rewardModel.model),
    );
    const { outcome, tokens, flops } = await ppo(
      ctx,
      { policy, reference, value, rewardModel },
      tokenizer,
      task,
      config,
    );
    if (outcome === 'interrupted') throw new Interrupted();
    await saveModel(policy, ctx.modelDir);
    copyTokenizer(folder, ctx.modelDir);
    // Its rules only look on.
    const provided = judgedResponses(ctx, { answers: false });
    return { model: ctx.modelDir, tokenizer: ctx.modelDir, tokens, flops, provided };
  } finally {
    owned.dispose();
  }
}

/** A value function reads the policy's tokens. @throws Error when the reward model has another vocabulary */
function checkTokenizer(policy: string, rewardModel: string, config: PpoStage): void {
  const [ours, theirs] = [policy, rewardModel].map((folder) => readFileSync(path.join(folder, 'tokenizer.json')));
  if (ours?.equals(theirs as Buffer)) return;
  throw new Error(
    `value.init: the reward model of stage '${config.reward_model}' has another tokenizer than the policy of stage ` +
      `'${config.model}', so it cannot become its value function: use init policy`,
  );
}
