import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { getRandomState, openSafetensors, scope, setRandomState, writeSafetensors } from '@dunwu/torch';
import { restoreAdapter, saveAdapter } from '../model/adapter-folder.js';
import type { CausalModel } from '../model/causal-model.js';
import { loadModel, saveModel } from '../model/checkpoint.js';
import { writeFileAtomic } from '../util/fs.js';
import type { Optimizer } from './optimizer.js';

/**
 * Everything a training stage needs to go on bit for bit: weights (a Hugging Face folder; of a model with adapters only
 * those, in PEFT's layout: the others do not change), moments, the default generator, and whatever plain JSON the stage keeps (data position, random sources, counters).
 */
export async function saveTrainingState(
  dir: string,
  model: CausalModel,
  optimizer: Optimizer,
  plain: Readonly<Record<string, unknown>>,
): Promise<void> {
  if (model.lora === null) await saveModel(model, dir);
  else await saveAdapter(model, dir);
  scope(() => {
    writeSafetensors(join(dir, 'optimizer.safetensors'), { ...optimizer.state(), 'random.cpu': getRandomState() });
  });
  await writeFileAtomic(join(dir, 'state.json'), `${JSON.stringify(plain)}\n`);
}

/** Puts back what saveTrainingState wrote, into a model and an optimiser of the same configuration. */
export function loadTrainingState(dir: string, model: CausalModel, optimizer: Optimizer): Record<string, unknown> {
  if (model.lora === null) {
    const saved = loadModel(dir);
    model.copyFrom(saved);
    saved.dispose();
  } else {
    restoreAdapter(model, dir);
  }
  scope(() => {
    using file = openSafetensors(join(dir, 'optimizer.safetensors'));
    const tensors = new Map(
      file.names.filter((name) => name !== 'random.cpu').map((name) => [name, file.tensor(name)]),
    );
    optimizer.load(tensors);
    setRandomState(file.tensor('random.cpu').clone());
  });
  return JSON.parse(readFileSync(join(dir, 'state.json'), 'utf8')) as Record<string, unknown>;
}
