import type { Command } from 'commander';
import type { CausalModel } from '../model/causal-model.js';
import type { PhaseProfile, WorkProfile } from '../train/profile.js';
import { textTable } from '../util/text-table.js';
import { UsageError } from './errors.js';
import { type DeviceFlag, deviceOption, type TypeFlag, typeOption, wholeNumber } from './options.js';

const WORKS = ['training', 'generation'] as const;

interface ProfileFlags extends DeviceFlag, TypeFlag {
  readonly only?: (typeof WORKS)[number];
  readonly batch: number;
  readonly time: number;
  readonly rows: number;
  readonly prompt: number;
  readonly newTokens: number;
  readonly repeat: number;
  readonly threads?: number;
  readonly top: number;
  readonly json?: string;
}

/** What `dunwu profile --json` writes. Rates in FLOP/s; times in seconds, per step or per generation. */
export interface ProfileReport {
  /** The model's folder, or null for the fresh tiny DeepSeek. */
  readonly model: string | null;
  readonly model_type: string;
  readonly parameters: number;
  readonly device: string;
  readonly dtype: string;
  readonly threads: number;
  readonly float32_matmul_precision: string;
  /** Of a large matrix product, measured before the works. */
  readonly peak_flops_per_s: number;
  /** Its rows and columns. */
  readonly peak_size: number;
  readonly works: readonly (WorkProfile & { readonly shape: string })[];
}

/** `dunwu profile [MODEL]`: where the time of a training step and of generation goes. */
export function registerProfile(program: Command): void {
  typeOption(deviceOption(program.command('profile')))
    .summary('where the time of a training step and of generation goes, operator by operator')
    .description(
      'Runs training steps (next token, AdamW, random tokens) and generation (random prompts, temperature 1) under\n' +
        "libtorch's own observers, and prints: for each phase its time, the rate of its matrix products, and how that\n" +
        'stands to the rate of a large product on this machine; then its operators, the slowest first. "outside" is time\n' +
        'in no operator: JavaScript, and calling libtorch from it. Nothing is saved. Without MODEL a fresh tiny\n' +
        'DeepSeek-V3 is taken, the one of npm run bench.',
    )
    .argument('[model]', "a model's folder (without weights: fresh ones), or a run folder, whose last model is meant")
    .option('--only <work>', 'training or generation', oneWork)
    .option('--batch <n>', 'training: rows', wholeNumber('--batch', 1), 16)
    .option('--time <n>', 'training: tokens of a row', wholeNumber('--time', 1), 256)
    .option('--rows <n>', 'generation: prompts side by side', wholeNumber('--rows', 1), 64)
    .option('--prompt <n>', 'generation: tokens of a prompt', wholeNumber('--prompt', 1), 32)
    .option('--new-tokens <n>', 'generation: new tokens of each', wholeNumber('--new-tokens', 2), 128)
    .option(
      '--repeat <n>',
      'measured repetitions, after one that is not; times are means',
      wholeNumber('--repeat', 1),
      3,
    )
    .option('--threads <n>', 'threads (default: as runs have it, see dunwu doctor)', wholeNumber('--threads', 1, 1024))
    .option('--top <n>', 'operators shown of each phase', wholeNumber('--top', 1), 10)
    .option('--json <file>', 'also write everything as one JSON object')
    .addHelpText(
      'after',
      `
How to read it (more in docs/performance.md):
  products   share of the phase's time in matrix products; the rest is what fusing and fewer copies could save
  GFLOP/s    rate within the products; "of peak": to that of a large product. Small, thin ones reach less
  all, peak  the phase's operations by its whole time: how much of the machine is used in all
  a time     is an operator's own, without those that it calls; "X backward" and XBackward0 are nodes of the
             backward pass
Timing every operator costs about a microsecond a call, so the whole is a little slower than without.

Examples:
  dunwu profile
  dunwu profile runs/r1-mini --only training --batch 16 --time 128
  dunwu profile Qwen2.5-0.5B --only generation --rows 8 --top 20
  dunwu profile --dtype bfloat16 --only training
  dunwu profile --threads 1 --json profile.json && jq '.works[0].phases[1].operators[:3]' profile.json`,
    )
    .action(async (model: string | undefined, flags: ProfileFlags, command: Command) => {
      refuseUnused(flags, command);
      await profileCommand(model, flags);
    });
}

function oneWork(text: string): (typeof WORKS)[number] {
  const work = WORKS.find((known) => known === text);
  if (work === undefined) throw new UsageError(`--only ${text}: ${WORKS.join(' or ')} is needed`);
  return work;
}

const worksOf = ({ only }: ProfileFlags): readonly (typeof WORKS)[number][] => (only === undefined ? WORKS : [only]);

/** Options of one work alone: refused when it is not measured, rather than ignored. */
const OPTIONS = { training: ['batch', 'time'], generation: ['rows', 'prompt', 'newTokens'] } as const;

function refuseUnused(flags: ProfileFlags, command: Command): void {
  for (const work of WORKS.filter((one) => !worksOf(flags).includes(one))) {
    for (const name of OPTIONS[work]) {
      if (command.getOptionValueSource(name) !== 'cli') continue;
      const option = name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
      throw new UsageError(`--${option} is for ${work}, and --only ${flags.only} leaves that out`);
    }
  }
}

async function profileCommand(given: string | undefined, flags: ProfileFlags): Promise<void> {
  const { chooseCompute, largeProduct, matmulRate } = await import('../train/compute.js');
  const { profileGeneration, profileTraining } = await import('../train/profile.js');
  const folder =
    given === undefined ? null : await import('./model-folder.js').then(({ findModel }) => findModel(given));
  const choice = chooseCompute({
    dtype: flags.dtype,
    threads: flags.threads ?? 'auto',
    device: flags.device ?? 'auto',
  });
  const model = await openOrMake(folder?.folder ?? null, flags, choice.device);
  process.stderr.write('measuring the rate of a large product…\n');
  const size = largeProduct(choice.device, 2048);
  const peak = matmulRate({
    dtype: choice.dtype,
    precision: choice.precision,
    device: choice.device,
    size,
    seconds: 0.5,
  });
  const { batch, time, rows, prompt, newTokens: made, repeat } = flags;
  const measured = worksOf(flags).map((work) => {
    process.stderr.write(`profiling ${work}, ${1 + repeat} times…\n`);
    return work === 'training'
      ? { ...profileTraining(model, { batch, time, repeat }), shape: `a step on ${batch} × ${time} tokens` }
      : {
          ...profileGeneration(model, { rows, prompt, made, repeat }),
          shape: `${rows} prompts of ${prompt} tokens, ${made} new tokens each`,
        };
  });
  const report: ProfileReport = {
    model: folder?.folder ?? null,
    model_type: model.config.model_type,
    parameters: model
      .parameters()
      .filter(({ kind }) => kind !== 'buffer')
      .reduce((total, { tensor }) => total + tensor.numel, 0),
    device: choice.device,
    dtype: choice.dtype,
    threads: choice.threads,
    float32_matmul_precision: choice.precision,
    peak_flops_per_s: peak,
    peak_size: size,
    works: measured,
  };
  model.dispose();
  process.stdout.write(`${profileText(report, flags.top)}\n`);
  if (flags.json === undefined) return;
  const { writeFileSync } = await import('node:fs');
  writeFileSync(flags.json, `${JSON.stringify(report, null, 2)}\n`);
}

/** The model of a folder, with fresh weights where it has none; without a folder the bench's. */
async function openOrMake(folder: string | null, flags: ProfileFlags, device: string): Promise<CausalModel> {
  const { existsSync } = await import('node:fs');
  const path = await import('node:path');
  const { manualSeed } = await import('@dunwu/torch');
  const { loadModel } = await import('../model/checkpoint.js');
  const { parseConfig, readConfig } = await import('../model/config.js');
  const { CausalModel } = await import('../model/causal-model.js');
  const { TINY_DEEPSEEK } = await import('../model/tiny-deepseek.js');
  const config = folder === null ? parseConfig(TINY_DEEPSEEK) : readConfig(folder);
  for (const work of worksOf(flags)) {
    const length = work === 'training' ? flags.time : flags.prompt + flags.newTokens;
    if (length <= config.max_position_embeddings) continue;
    throw new UsageError(
      `${work === 'training' ? '--time' : '--prompt and --new-tokens'}: ${length} tokens; the model reaches to ` +
        `${config.max_position_embeddings} (max_position_embeddings)`,
    );
  }
  const weights = ['model.safetensors', 'model.safetensors.index.json'];
  if (folder !== null && weights.some((name) => existsSync(path.join(folder, name)))) return loadModel(folder, device);
  manualSeed(1);
  return new CausalModel(config, device);
}

/** The report for people. */
export function profileText(report: ProfileReport, top: number): string {
  const { model, model_type, parameters, device, dtype, threads, float32_matmul_precision: precision } = report;
  const peak = report.peak_flops_per_s;
  return [
    `${model ?? 'a fresh tiny model'}: ${model_type}, ${(parameters / 1e6).toPrecision(3)} M parameters, ${dtype}, ` +
      (device === 'cpu' ? `${threads} ${threads === 1 ? 'thread' : 'threads'}` : device),
    `peak: ${rate(peak)} GFLOP/s in a product of [${report.peak_size}, ${report.peak_size}]${dtype === 'float32' ? `, '${precision}'` : ''}, measured now`,
    ...report.works.flatMap((work) => [
      '',
      `${work.work}: ${work.shape}: ${milliseconds(work.seconds)} ms, ` +
        `${Math.round(work.tokens / work.seconds).toLocaleString('en-US')} tokens/s`,
      '',
      ...phaseTable(work, peak),
      ...work.phases.flatMap((phase) => ['', ...operatorTable(phase, top)]),
    ]),
  ].join('\n');
}

function phaseTable({ phases, seconds }: WorkProfile, peak: number): string[] {
  const total = (pick: (phase: PhaseProfile) => number): number => phases.reduce((sum, phase) => sum + pick(phase), 0);
  const all = {
    name: 'all',
    seconds,
    outside: total(({ outside }) => outside),
    products: { flops: total(({ products }) => products.flops), seconds: total(({ products }) => products.seconds) },
  };
  const rows = [...phases, all].map(({ name, seconds: own, outside, products }) => [
    name,
    milliseconds(own),
    percent(own / seconds),
    percent(outside / own),
    percent(products.seconds / own),
    (products.flops / 1e9).toPrecision(3),
    ...(products.flops === 0
      ? ['–', '–', '–']
      : [
          rate(products.flops / products.seconds),
          percent(products.flops / products.seconds / peak),
          percent(products.flops / own / peak),
        ]),
  ]);
  const header = ['phase', 'ms', 'share', 'outside', 'products', 'GFLOP', 'GFLOP/s', 'of peak', 'all, peak'];
  return indented([header, ...rows]);
}

function operatorTable(phase: PhaseProfile, top: number): string[] {
  const row = (name: string, calls: string, seconds: number, flops = 0): string[] => [
    name,
    calls,
    milliseconds(seconds),
    percent(seconds / phase.seconds),
    flops > 0 ? rate(flops / seconds) : '',
  ];
  const calls = (count: number): string => count.toLocaleString('en-US', { maximumFractionDigits: 1 });
  const rest = phase.operators.slice(top);
  const restCalls = rest.reduce((sum, one) => sum + one.calls, 0);
  const restSeconds = rest.reduce((sum, one) => sum + one.seconds, 0);
  return indented([
    [phase.name, 'calls', 'ms', 'share', 'GFLOP/s'],
    ...phase.operators.slice(0, top).map((one) => row(one.name, calls(one.calls), one.seconds, one.flops)),
    ...(rest.length === 0 ? [] : [row(`${rest.length} other operators`, calls(restCalls), restSeconds)]),
    row('outside operators (JavaScript, dispatch)', '', phase.outside),
  ]);
}

const indented = (rows: readonly string[][]): string[] =>
  textTable(rows, (column) => column === 0).map((line) => `  ${line}`);
const milliseconds = (seconds: number): string => (seconds * 1000).toFixed(seconds < 0.01 ? 2 : 1);
const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;
const rate = (flops: number): string => (flops / 1e9).toPrecision(3);
