import path from 'node:path';
import { saveAdapter } from '../../model/adapter-folder.js';
import type { CausalModel } from '../../model/causal-model.js';
import { saveModel } from '../../model/checkpoint.js';
import { absorbAdapters } from '../../model/lora.js';
import type { Note, StageContext } from '../stage.js';
import { parameterCount } from './new-model.js';
import { copyTokenizer } from './pretrain.js';

/**
 * Writes the model that a stage has trained, with its tokenizer. One with adapters leaves them in `adapter/`, in PEFT's
 * layout, and the model has them in its weights, so that later stages take it as any other.
 *
 * @param base the folder of the model that the stage began with
 */
export async function saveTrained(
  ctx: StageContext,
  model: CausalModel,
  base: string,
): Promise<{ readonly model: string; readonly tokenizer: string; readonly notes: readonly Note[] }> {
  const notes: Note[] = [];
  if (model.lora !== null) {
    const folder = path.join(ctx.modelDir, 'adapter');
    await saveAdapter(model, folder, { base: path.relative(folder, base) });
    notes.push(adapterNote(model));
    absorbAdapters(model);
  }
  await saveModel(model, ctx.modelDir);
  copyTokenizer(base, ctx.modelDir);
  return { model: ctx.modelDir, tokenizer: ctx.modelDir, notes };
}

function adapterNote(model: CausalModel): Note {
  const trained = model.trained();
  const weights = trained.reduce((sum, { tensor }) => sum + tensor.numel, 0);
  const all = parameterCount(model);
  const share = `${((100 * weights) / all).toPrecision(2)} %`;
  const [rank, matrices] = [model.lora?.rank, trained.length / 2];
  return {
    en: `LoRA of rank ${rank} on ${matrices} matrices: ${weights} weights trained beside ${all} (${share}); the adapter is in adapter/, the model has it merged in`,
    zh: `LoRA，秩 ${rank}，作用于 ${matrices} 个矩阵：在 ${all} 个权重之外训练 ${weights} 个（${share}）；适配器在 adapter/ 中，模型里已合并`,
  };
}
