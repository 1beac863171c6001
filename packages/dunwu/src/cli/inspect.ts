import type { Command } from 'commander';
import type { BatchMemory } from '../model/batch-memory.js';
import type { ModelConfig } from '../model/config.js';
import type { LoraMemory } from '../model/lora-size.js';
import type { ModelMemory, ModelSize } from '../model/size.js';
import { textTable } from '../util/text-table.js';
import { wholeNumber } from './options.js';

interface InspectFlags {
  readonly lora?: number;
  readonly json?: boolean;
}

/** What the checkpoint's files hold, as their headers say. */
interface Stored {
  readonly names: readonly string[];
  readonly files: number;
  readonly tensors: number;
  readonly bytes: number;
  readonly dtypes: Readonly<Record<string, number>>;
}

/** `dunwu inspect MODEL`: how large a model is and what it needs, without loading it. */
export function registerInspect(program: Command): void {
  program
    .command('inspect')
    .summary('how large a model is, and what memory it needs')
    .description(
      'Says, from config.json and the headers of the weights (nothing is loaded): parameters of each part, in all and of\n' +
        'those that a token is computed with; bytes that the cache holds for a token, beside those of plain multi-head\n' +
        'attention; memory to train and to serve; floating-point operations. Modules of multi-token prediction stand apart\n' +
        '(they share embedding and head). MODEL may lack its weights: then only what\n' +
        'config.json says is shown. What a config asks for and this program cannot do is named.',
    )
    .argument('<model>', "a model's folder, or a run folder, whose last model is meant")
    .option(
      '--lora <rank>',
      'also: memory to train adapters of this rank on every projection',
      wholeNumber('--lora', 1),
    )
    .option('--json', 'print one JSON object; memory in bytes')
    .addHelpText(
      'after',
      `
Examples:
  dunwu inspect runs/r1-mini
  dunwu inspect Qwen2.5-0.5B
  dunwu inspect Qwen2.5-0.5B --lora 16
  dunwu inspect my-model --json | jq .memory`,
    )
    .action(async (model: string, flags: InspectFlags) => {
      const { findModel } = await import('./model-folder.js');
      const { folder } = await findModel(model);
      const { readConfig } = await import('../model/config.js');
      const { modelMemory, modelSize } = await import('../model/size.js');
      const { batchMemory } = await import('../model/batch-memory.js');
      const { loraMemory, loraSize } = await import('../model/lora-size.js');
      const { countFlops } = await import('../train/flops.js');
      const stored = await readStored(folder);
      const { storedPrediction } = await import('../model/mtp.js');
      const asked = readConfig(folder);
      const config = stored === null ? asked : storedPrediction(asked, stored.names);
      const size = modelSize(config);
      const memory = modelMemory(size);
      const batch = { float32: batchMemory(config, 4), bfloat16: batchMemory(config, 2) };
      const lora = flags.lora === undefined ? undefined : loraMemory(memory, loraSize(config, flags.lora), flags.lora);
      const flops = countFlops(config);
      const context = Math.min(1024, config.max_position_embeddings);
      const work = { context, forward: flops.forward(context), training: flops.training(context) };
      const files = stored === null ? null : withoutNames(stored);
      const report = {
        model: folder,
        model_type: config.model_type,
        ...size,
        memory: { ...memory, batch },
        ...(lora === undefined ? {} : { lora }),
        flops: work,
        stored: files,
      };
      process.stdout.write(
        `${flags.json ? JSON.stringify(report) : inspectText(folder, config, size, { ...memory, batch }, work, stored, lora)}\n`,
      );
    });
}

async function readStored(folder: string): Promise<Stored | null> {
  const { existsSync, readFileSync } = await import('node:fs');
  const path = await import('node:path');
  const index = path.join(folder, 'model.safetensors.index.json');
  const single = existsSync(path.join(folder, 'model.safetensors'));
  if (!single && !existsSync(index)) return null;
  const { openCheckpoint } = await import('@dunwu/torch');
  using source = openCheckpoint(folder);
  const dtypes: Record<string, number> = {};
  let bytes = 0;
  for (const name of source.names) {
    const info = source.info(name);
    bytes += info.bytes;
    dtypes[info.dtype] = (dtypes[info.dtype] ?? 0) + 1;
  }
  const places = single
    ? 1
    : new Set(Object.values((JSON.parse(readFileSync(index, 'utf8')) as { weight_map: object }).weight_map)).size;
  return { names: source.names, files: places, tensors: source.names.length, bytes, dtypes };
}

const withoutNames = ({ names: _, ...rest }: Stored): Omit<Stored, 'names'> => rest;

const PART_NAMES: Readonly<Record<ModelSize['parts'][number]['part'], string>> = {
  embedding: 'embedding',
  attention: 'attention',
  dense: 'feed-forward, dense',
  experts: 'experts, routed',
  shared: 'experts, shared',
  router: 'router',
  norms: 'norms',
  head: 'head',
};

export function inspectText(
  folder: string,
  config: ModelConfig,
  size: ModelSize,
  memory: ModelMemory & { readonly batch: Readonly<Record<'float32' | 'bfloat16', BatchMemory>> },
  flops: { readonly context: number; readonly forward: number; readonly training: number },
  stored: Omit<Stored, 'names'> | null,
  lora?: LoraMemory,
): string {
  const count = (value: number): string => value.toLocaleString('en-US');
  const rows = [
    ['', 'parameters', 'a token meets'],
    ...size.parts.map(({ part, total, active }) => [PART_NAMES[part], count(total), count(active)]),
    ['all', count(size.total), count(size.active)],
    ...(size.prediction === null
      ? []
      : [['multi-token prediction', count(size.prediction.total), count(size.prediction.active)]]),
  ];
  const { num_hidden_layers: layers, hidden_size: hidden, vocab_size: vocabulary } = config;
  const most = config.max_position_embeddings;
  const share = ((100 * size.cache) / size.plainCache).toFixed(1);
  const dtypes =
    stored === null
      ? ''
      : Object.entries(stored.dtypes)
          .map(([name, n]) => `${n} ${name}`)
          .join(', ');
  const facts = [
    [
      'checkpoint',
      stored === null
        ? 'no weights in this folder'
        : `${stored.tensors} tensors (${dtypes}) in ${stored.files} ${stored.files === 1 ? 'file' : 'files'}, ${byteText(stored.bytes)}`,
    ],
    [
      'cache',
      `${byteText(memory.cachePerToken)} a token (float32); plain multi-head attention ${byteText(4 * size.plainCache)} (${share} %)`,
    ],
    [
      'to serve',
      `${byteText(memory.weights)} of weights (float32) and ${byteText(memory.cachePerToken * most)} for each sequence of ${count(most)} tokens; ` +
        `in bfloat16 ${byteText(memory.rounded)} of rounded weights and ${byteText((memory.cachePerToken * most) / 2)}`,
    ],
    [
      'to train',
      `${byteText(memory.training)} (float32 weights, gradients, AdamW's moments) and ${byteText(memory.summing)} while gradients of embedding and head are added; GRPO's or PPO's reference ${byteText(memory.reference)} more`,
    ],
    ...(lora === undefined
      ? []
      : [
          [
            'with LoRA',
            `${byteText(lora.training)} to train ${count(lora.parameters)} weights of adapters of rank ${lora.rank} on every projection; GRPO's reference 0 B more, its rollouts with merged weights ${byteText(lora.merging)} more (in bfloat16 none)`,
          ],
        ]),
    [
      'a batch',
      (['float32', 'bfloat16'] as const)
        .map((dtype) => `${byteText(memory.batch[dtype].token)} and ${byteText(memory.batch[dtype].logits)} (${dtype})`)
        .join(', ') +
        ': for each token computed at one time, and for the logits of each that a loss is taken of, at most 1,024',
    ],
    [
      'operations',
      `${unit(flops.forward)}FLOP a token at ${count(flops.context)} tokens, ${unit(flops.training)}FLOP to train on it`,
    ],
  ];
  const head = `${folder}: ${config.model_type}, ${layers} layers of width ${hidden}, vocabulary ${count(vocabulary)}, ${count(most)} positions`;
  const table = textTable(rows, (column) => column === 0).map((line) => `  ${line}`);
  return [head, '', ...table, '', ...facts.map(([name, text]) => `${(name as string).padEnd(12)}${text}`)].join('\n');
}

/** 1.9 GiB; whole numbers below a KiB. */
export function byteText(bytes: number): string {
  let value = bytes;
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let at = 0;
  for (; value >= 1024 && at < units.length - 1; at++) value /= 1024;
  return `${at === 0 ? value : value.toPrecision(value >= 100 ? Math.floor(Math.log10(value)) + 1 : 3)} ${units[at]}`;
}

function unit(value: number): string {
  let rest = value;
  const units = ['', 'k', 'M', 'G', 'T', 'P'];
  let at = 0;
  for (; rest >= 1000 && at < units.length - 1; at++) rest /= 1000;
  return `${rest.toPrecision(3)} ${units[at]}`;
}
