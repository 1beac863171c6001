import { manualSeed } from '@dunwu/torch';
import { readPreferences, readSafetyLabels } from '../../data/preferences.js';
import { loadModel } from '../../model/checkpoint.js';
import { readConfig } from '../../model/config.js';
import { ScalarModel } from '../../model/scalar-model.js';
import { RewardModel, rewardTokens } from '../../reward/reward-model.js';
import { Tokenizer } from '../../text/tokenizer.js';
import {
  type LabelExample,
  type PairExample,
  type RewardEvaluation,
  type RewardExamples,
  trainRewardModel,
} from '../../train/reward-model.js';
import { useCompute } from '../compute.js';
import { percent, table } from '../markdown.js';
import { Interrupted, type Note, type StageContext, type StageResult } from '../stage.js';
import { modelOf } from './common.js';
import { LeftOut, noDifference, readAll, tooLong } from './preference-data.js';
import { copyTokenizer } from './pretrain.js';
import type { RewardModelStage } from './reward-model.schema.js';

/** A learnt judge: what RLHF rewards with, and R1's last stage beside its rules. */
export async function run(ctx: StageContext, config: RewardModelStage): Promise<StageResult> {
  const device = useCompute(ctx.recipe.compute);
  const folder = modelOf(ctx, config.model);
  const tokenizer = Tokenizer.load(folder);
  const leftOut = new LeftOut();
  const data = examplesOf(ctx, config, tokenizer, readConfig(folder).max_position_embeddings, leftOut);
  leftOut.tell(ctx);
  manualSeed(ctx.seed);
  const model = new RewardModel(new ScalarModel(loadModel(folder, device)), config.rows, config.reads);
  try {
    const { outcome, tokens, flops, trained, heldOut } = await trainRewardModel(ctx, model.model, data, config);
    if (outcome === 'interrupted') throw new Interrupted();
    await model.save(ctx.modelDir);
    copyTokenizer(folder, ctx.modelDir);
    return {
      model: ctx.modelDir,
      tokenizer: ctx.modelDir,
      tokens,
      flops,
      notes: [...(heldOut === null ? [] : [heldOutNote(config, heldOut)]), ...leftOut.notes],
      extra: {
        rows: config.rows,
        reads: config.reads,
        trained,
        left_out: leftOut.counts,
        ...(heldOut === null ? {} : { held_out: withoutEmptyBins(heldOut) }),
      },
    };
  } finally {
    model.dispose();
  }
}

function examplesOf(
  ctx: StageContext,
  { rows, reads, data }: RewardModelStage,
  tokenizer: Tokenizer,
  longest: number,
  leftOut: LeftOut,
): RewardExamples {
  const long = tooLong(longest);
  const tokensOf = (prompt: string, response: string): number[] => rewardTokens(tokenizer, { prompt, response }, reads);
  if (rows === 'safety') {
    const examples: LabelExample[] = [];
    for (const { where, prompt, response, safe } of readAll(ctx, data, readSafetyLabels)) {
      const tokens = tokensOf(prompt, response);
      if (tokens.length > longest) leftOut.add(long, where);
      else examples.push({ prompt, tokens, safe });
    }
    return { rows, examples };
  }
  const examples: PairExample[] = [];
  for (const { where, prompt, chosen, rejected } of readAll(ctx, data, readPreferences)) {
    const [better, worse] = [tokensOf(prompt, chosen), tokensOf(prompt, rejected)];
    if (Math.max(better.length, worse.length) > longest) leftOut.add(long, where);
    else if (String(better) === String(worse)) leftOut.add(noDifference, where);
    else examples.push({ prompt, chosen: better, rejected: worse });
  }
  return { rows, examples };
}

/** JSON has no number for the mean of nothing. */
function withoutEmptyBins(evaluation: RewardEvaluation): RewardEvaluation {
  const { error, bins } = evaluation.calibration;
  return { ...evaluation, calibration: { error, bins: bins.filter(({ count }) => count > 0) } };
}

/** Accuracy, margin and the reliability diagram's table. */
function heldOutNote({ rows }: RewardModelStage, { n, accuracy, margin, calibration }: RewardEvaluation): Note {
  const bins = calibration.bins.filter(({ count }) => count > 0);
  const body = bins.map(({ low, high, count, forecast, observed }) => [
    `${low.toFixed(2)}–${high.toFixed(2)}`,
    String(count),
    percent(forecast),
    percent(observed),
  ]);
  const error = percent(calibration.error);
  const words =
    rows === 'preference'
      ? {
          en: {
            head: `${n} pairs held out: the better response scores higher in ${percent(accuracy)}, by ${margin.toFixed(2)} on average; expected calibration error ${error}`,
            columns: ['modelled chance to be right', 'pairs', 'mean', 'right'],
          },
          zh: {
            head: `留出 ${n} 对：较好的回答得分更高的占 ${percent(accuracy)}，平均分差 ${margin.toFixed(2)}；期望校准误差 ${error}`,
            columns: ['模型认为判对的概率', '对数', '平均', '实际判对'],
          },
        }
      : {
          en: {
            head: `${n} responses held out: ${percent(accuracy)} judged as labelled, safe and unsafe ${margin.toFixed(2)} apart on average; expected calibration error ${error}`,
            columns: ['modelled chance to be safe', 'responses', 'mean', 'safe'],
          },
          zh: {
            head: `留出 ${n} 个回答：${percent(accuracy)} 判断与标注一致，安全与不安全平均相差 ${margin.toFixed(2)}；期望校准误差 ${error}`,
            columns: ['模型认为安全的概率', '回答数', '平均', '实际安全'],
          },
        };
  const text = ({ head, columns }: { head: string; columns: string[] }): string => `${head}\n\n${table(columns, body)}`;
  return { en: text(words.en), zh: text(words.zh) };
}
