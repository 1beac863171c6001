import { cpSync, existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import type { DType } from '@dunwu/torch';
import { type Command, Option } from 'commander';
import { UsageError } from './errors.js';
import { findModel, requireAdapter } from './model-folder.js';

interface MergeFlags {
  readonly dtype?: DType;
}

const DTYPES = ['float32', 'bfloat16', 'float16'] as const;

/** What a model's folder has beside what saveModel writes; the merged model's is the base's. */
const BESIDE = ['tokenizer.json', 'tokenizer_config.json', 'special_tokens_map.json', 'chat_template.jinja'];

/** `dunwu merge MODEL ADAPTER OUT`: a model with an adapter in its weights. */
export function registerMerge(program: Command): void {
  program
    .command('merge')
    .summary("put an adapter (LoRA) into a model's weights")
    .description(
      'Adds an adapter to the model that it was trained on, W + (alpha / r) · B A, and writes what comes out as an ordinary\n' +
        "model: Hugging Face's layout, with the base's tokenizer. The adapter is a folder of PEFT's: adapter_config.json and\n" +
        'adapter_model.safetensors. Computed in float32, stored as the base is.',
    )
    .argument('<model>', "the base model's folder, or a run folder: then its last model")
    .argument('<adapter>', "the adapter's folder")
    .argument('<out>', 'folder for the merged model; made, or empty')
    .addOption(new Option('--dtype <dtype>', 'how weights are stored (default: as in the base)').choices([...DTYPES]))
    .addHelpText(
      'after',
      `
Examples:
  dunwu merge Qwen2.5-0.5B-Instruct my-adapter merged
  dunwu merge runs/sft/models/base runs/sft/models/tuned/adapter merged --dtype bfloat16`,
    )
    .action(mergeCommand);
}

async function mergeCommand(given: string, adapter: string, out: string, flags: MergeFlags): Promise<void> {
  const { folder } = await findModel(given);
  requireAdapter(folder, adapter);
  if (existsSync(out) && readdirSync(out).length > 0) {
    throw new UsageError(`${out}: is not empty; give a folder that is not there yet`);
  }
  const [{ loadModel, saveModel }, { loadAdapter }, { absorbAdapters }, { chooseCompute }] = await Promise.all([
    import('../model/checkpoint.js'),
    import('../model/adapter-folder.js'),
    import('../model/lora.js'),
    import('../train/compute.js'),
  ]);
  chooseCompute({ device: 'cpu' });
  const dtype = flags.dtype ?? (await storedDtype(folder));
  const model = loadModel(folder);
  try {
    loadAdapter(model, adapter);
    const { rank } = model.lora as NonNullable<typeof model.lora>;
    const matrices = model.trained().length / 2;
    absorbAdapters(model);
    await saveModel(model, out, { dtype });
    for (const name of BESIDE) {
      if (existsSync(path.join(folder, name))) cpSync(path.join(folder, name), path.join(out, name));
    }
    process.stdout.write(`${out}: ${folder} with ${adapter} (rank ${rank}, ${matrices} matrices), ${dtype}\n`);
  } finally {
    model.dispose();
  }
}

/** What most of the base's weights are stored as. */
async function storedDtype(folder: string): Promise<DType> {
  const { openCheckpoint } = await import('@dunwu/torch');
  using source = openCheckpoint(folder);
  const bytes = new Map<DType, number>();
  for (const name of source.names) {
    const info = source.info(name);
    bytes.set(info.dtype, (bytes.get(info.dtype) ?? 0) + info.bytes);
  }
  const most = [...bytes].sort((a, b) => b[1] - a[1])[0]?.[0];
  return DTYPES.find((dtype) => dtype === most) ?? 'float32';
}
