import { type Command, Option } from 'commander';
import { UsageError } from './errors.js';

/** Parsers of option values for commander. @throws UsageError that names the option, what was given and what is allowed */

export function wholeNumber(option: string, least: number, most = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^\d+$/.test(text) && Number.isSafeInteger(value) && value >= least && value <= most) return value;
    const upTo = most === Number.MAX_SAFE_INTEGER ? '' : ` and ≤ ${most}`;
    throw new UsageError(`${option} ${text}: a whole number ≥ ${least}${upTo} is needed`);
  };
}

/** A number with `low` ≤ (or <, when `open`) number ≤ `high`. */
export function realNumber(
  option: string,
  low: number,
  high = Number.POSITIVE_INFINITY,
  open = false,
): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() !== '' && Number.isFinite(value) && (open ? value > low : value >= low) && value <= high) {
      return value;
    }
    const upper = high === Number.POSITIVE_INFINITY ? '' : ` and ≤ ${high}`;
    throw new UsageError(`${option} ${text}: a number ${open ? '>' : '≥'} ${low}${upper} is needed`);
  };
}

/** The values of a repeatable option, in the order given. */
export function collect(value: string, before: readonly string[] = []): string[] {
  return [...before, value];
}

/** Of commands that load a model: see openModel. */
export interface AdapterFlag {
  readonly adapter?: string;
}

export function adapterOption(command: Command): Command {
  return command.option('--adapter <dir>', "an adapter for the model (LoRA), in PEFT's layout");
}

/** Of commands that compute with a model. */
export interface DeviceFlag {
  /** Default: as recipes have it, CUDA where there is one. */
  readonly device?: string;
}

/** Adds the option of {@link DeviceFlag}. Whether the device is there, the engine says when it is loaded. */
export function deviceOption(command: Command): Command {
  return command.option('--device <device>', 'auto, cpu, cuda or cuda:N (default: CUDA where there is one)', (text) => {
    if (/^(auto|cpu|cuda(:\d+)?)$/.test(text)) return text;
    throw new UsageError(`--device ${text}: auto, cpu, cuda or cuda:N is needed`);
  });
}

const TYPES = ['float32', 'bfloat16'] as const;

/** Of commands that compute with a model in the type that is asked for. */
export interface TypeFlag {
  readonly dtype: (typeof TYPES)[number];
}

/** Adds the option of {@link TypeFlag}. */
export function typeOption(command: Command): Command {
  return command.addOption(
    new Option('--dtype <type>', "what products are computed in, as a recipe's compute.dtype")
      .choices(TYPES)
      .default('float32'),
  );
}

/** How a command that lets a model speak draws its tokens. */
export interface SamplingFlags {
  readonly temperature: number;
  readonly topP: number;
  readonly topK: number;
}

/** Adds the options of {@link SamplingFlags}. */
export function samplingOptions(command: Command): Command {
  return command
    .option('--temperature <x>', '0 takes the most likely token each time', realNumber('--temperature', 0), 0.6)
    .option(
      '--top-p <x>',
      'draw among the likeliest tokens that reach this share',
      realNumber('--top-p', 0, 1, true),
      0.95,
    )
    .option('--top-k <n>', 'draw among the n likeliest tokens; 0 means all', wholeNumber('--top-k', 0), 0);
}

export interface SpeculativeFlag {
  readonly speculative?: boolean;
}

/** Adds the option of {@link SpeculativeFlag}. */
export function speculativeOption(command: Command): Command {
  return command.option(
    '--speculative',
    "draft with the model's module of multi-token prediction; says how many drafts were right",
  );
}
