import { cpSync, existsSync } from 'node:fs';
import { join } from 'node:path';
import { manualSeed } from '@dunwu/torch';
import { Loader } from '../../data/loader.js';
import { createSource } from '../../data/source.js';
import { saveModel } from '../../model/checkpoint.js';
import { createTask } from '../../task/registry.js';
import { CHAT_TEMPLATE_FILE } from '../../text/chat-template.js';
import { Tokenizer } from '../../text/tokenizer.js';
import { pretrain } from '../../train/pretrain.js';
import { useCompute } from '../compute.js';
import { encodeDocument } from '../documents.js';
import { Interrupted, type Note, type StageContext, type StageResult } from '../stage.js';
import { newModel, savingsNote } from './new-model.js';
import type { PretrainStage } from './pretrain.schema.js';

/** Trains a base model from nothing on the corpus. */
export async function run(ctx: StageContext, config: PretrainStage): Promise<StageResult> {
  const device = useCompute(ctx.recipe.compute);
  const { tokenizer: folder } = ctx.artefact(config.tokenizer);
  if (folder === undefined) throw new Error(`stage '${config.tokenizer}' left no tokenizer`);
  const tokenizer = Tokenizer.load(folder);
  const task = createTask(ctx.recipe.task, ctx.recipe.base);
  const source = createSource(config.corpus, {
    task,
    seed: ctx.seed,
    base: ctx.recipe.base,
  });
  const pad = tokenizer.special_id('pad');
  const loader = new Loader(source, (document) => encodeDocument(tokenizer, document, config.prompt_loss_weight), {
    ...config.packing,
    pad,
  });
  manualSeed(ctx.seed);
  const model = newModel(ctx, config.model, tokenizer, 'model', device);
  try {
    const { outcome, tokens, flops } = await pretrain(ctx, model, loader, config);
    if (outcome === 'interrupted') throw new Interrupted();
    await saveModel(model, ctx.modelDir);
    copyTokenizer(folder, ctx.modelDir);
    return {
      model: ctx.modelDir,
      tokenizer: ctx.modelDir,
      tokens,
      flops,
      notes: [savingsNote(model), memoryNote()],
    };
  } finally {
    source.close();
    model.dispose();
  }
}

function memoryNote(): Note {
  const peak = (process.resourceUsage().maxRSS / 1024).toFixed(0);
  return { en: `peak memory of the process so far ${peak} MiB`, zh: `进程至此的内存峰值 ${peak} MiB` };
}

/** A model folder carries its tokenizer, so that it is complete on its own. */
export function copyTokenizer(from: string, to: string): void {
  for (const name of ['tokenizer.json', 'tokenizer_config.json', CHAT_TEMPLATE_FILE]) {
    if (existsSync(join(from, name))) cpSync(join(from, name), join(to, name));
  }
}
