import { manualSeed } from '@dunwu/torch';
import { readPreferences } from '../../data/preferences.js';
import { loadModel, saveModel } from '../../model/checkpoint.js';
import { renderDocument, renderPrompt } from '../../text/template.js';
import { Tokenizer } from '../../text/tokenizer.js';
import { type DpoPair, type DpoSummary, dpo } from '../../train/dpo.js';
import { useCompute } from '../compute.js';
import { percent } from '../markdown.js';
import { Interrupted, type Note, type StageContext, type StageResult } from '../stage.js';
import { modelOf } from './common.js';
import type { DpoStage } from './dpo.schema.js';
import { LeftOut, noDifference, readAll, tooLong } from './preference-data.js';
import { copyTokenizer } from './pretrain.js';

/** Preferences without a reward model: the policy learns from the pairs themselves. */
export async function run(ctx: StageContext, config: DpoStage): Promise<StageResult> {
  const device = useCompute(ctx.recipe.compute);
  const folder = modelOf(ctx, config.model);
  const tokenizer = Tokenizer.load(folder);
  const policy = loadModel(folder, device);
  const reference = loadModel(folder, device);
  reference.setTrainable(false);
  manualSeed(ctx.seed);
  try {
    const leftOut = new LeftOut();
    const pairs = pairsOf(ctx, config, tokenizer, policy.config.max_position_embeddings, leftOut);
    leftOut.tell(ctx);
    const { outcome, tokens, flops, trained, heldOut } = await dpo(ctx, { policy, reference }, pairs, config);
    if (outcome === 'interrupted') throw new Interrupted();
    await saveModel(policy, ctx.modelDir);
    copyTokenizer(folder, ctx.modelDir);
    return {
      model: ctx.modelDir,
      tokenizer: ctx.modelDir,
      tokens,
      flops,
      notes: [...(heldOut === null ? [] : [heldOutNote(heldOut)]), ...leftOut.notes],
      extra: {
        trained,
        left_out: leftOut.counts,
        ...(heldOut === null ? {} : { held_out: { n: heldOut.n, ...heldOut.metrics } }),
      },
    };
  } finally {
    policy.dispose();
    reference.dispose();
  }
}

function pairsOf(
  ctx: StageContext,
  { data }: DpoStage,
  tokenizer: Tokenizer,
  longest: number,
  leftOut: LeftOut,
): DpoPair[] {
  const long = tooLong(longest);
  const pairs: DpoPair[] = [];
  for (const { where, prompt, chosen, rejected } of readAll(ctx, data, readPreferences)) {
    const promptLength = renderPrompt(tokenizer, prompt).length;
    const [better, worse] = [chosen, rejected].map((response) => renderDocument(tokenizer, prompt, response)) as [
      number[],
      number[],
    ];
    if (Math.max(better.length, worse.length) > longest) leftOut.add(long, where);
    else if (String(better) === String(worse)) leftOut.add(noDifference, where);
    else {
      pairs.push({ prompt, chosen: { tokens: better, promptLength }, rejected: { tokens: worse, promptLength } });
    }
  }
  return pairs;
}

function heldOutNote({ n, metrics }: NonNullable<DpoSummary['heldOut']>): Note {
  const [accuracy, margin] = [percent(metrics.accuracy as number), (metrics.margin as number).toFixed(2)];
  return {
    en: `${n} pairs held out: the policy has moved towards the better response in ${accuracy}, margin ${margin} on average`,
    zh: `留出 ${n} 对：策略偏向较好回答的占 ${accuracy}，平均分差 ${margin}`,
  };
}
