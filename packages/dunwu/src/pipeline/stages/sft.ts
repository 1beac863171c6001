import { manualSeed } from '@dunwu/torch';
import { loadModel } from '../../model/checkpoint.js';
import { Tokenizer } from '../../text/tokenizer.js';
import { sft } from '../../train/sft.js';
import { useCompute } from '../compute.js';
import { Interrupted, type StageContext, type StageResult } from '../stage.js';
import { modelOf } from './common.js';
import { checkRowLength, prepareRows } from './dialogue-data.js';
import { saveTrained } from './save-trained.js';
import type { SftStage } from './sft.schema.js';

/** Supervised fine-tuning: the same model goes on learning from dialogues. */
export async function run(ctx: StageContext, config: SftStage): Promise<StageResult> {
  const device = useCompute(ctx.recipe.compute);
  const folder = modelOf(ctx, config.model);
  checkRowLength(ctx, config.packing.time, folder);
  const tokenizer = Tokenizer.load(folder);
  const { rows, notes, provided, extra } = prepareRows(ctx, config.data, tokenizer, {
    mask: config.mask,
    template: config.template,
    longest: config.packing.time + 1,
  });
  const model = loadModel(folder, device);
  manualSeed(ctx.seed);
  try {
    const { outcome, tokens, flops } = await sft(ctx, model, rows, config);
    if (outcome === 'interrupted') throw new Interrupted();
    const saved = await saveTrained(ctx, model, folder);
    return { ...saved, tokens, flops, notes: [...saved.notes, ...notes], provided, extra };
  } finally {
    model.dispose();
  }
}
