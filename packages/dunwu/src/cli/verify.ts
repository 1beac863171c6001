import type { Command } from 'commander';
import type { ParityDetails, ParityPart, ParityReport } from '../eval/parity.js';
import { textWidth } from '../util/text-width.js';
import { EXIT } from './errors.js';
import { type DeviceFlag, deviceOption, realNumber } from './options.js';

interface VerifyFlags extends DeviceFlag {
  readonly json?: boolean;
  readonly tolerance: number;
}

/** `dunwu verify FOLDER`: does this program compute what the checkpoint's reference computed? */
export function registerVerify(program: Command): void {
  deviceOption(program.command('verify'))
    .summary('compare a checkpoint with what its reference computed')
    .description(
      'Loads the checkpoint of FOLDER and compares it with golden.safetensors beside it: logits, hidden states, loss and\n' +
        'gradients (relative errors), choices of the router, greedy continuation, losses of a few AdamW steps; whatever\n' +
        'is there. For anyone who ports a checkpoint. docs/verify.md has the layout and how to make such a file.\n' +
        'Exit code 1 when something is above the tolerance or not equal.',
    )
    .argument('<folder>', 'config.json, model.safetensors (or shards with an index), golden.safetensors')
    .option('--json', `print one JSON object: ${KEYS.join(', ')}; null where the fixture has nothing`)
    .option(
      '--tolerance <x>',
      'largest error that passes (relative; absolute for the losses of AdamW)',
      realNumber('--tolerance', 0, 1),
      1e-5,
    )
    .addHelpText(
      'after',
      `
Examples:
  dunwu verify my-port                     every comparison, and the verdict
  dunwu verify my-port --json | jq .logits
  dunwu verify my-port --tolerance 1e-4    for a reference computed in another way`,
    )
    .action(async (folder: string, flags: VerifyFlags) => {
      const [{ checkParity }, { chooseCompute }] = await Promise.all([
        import('../eval/parity.js'),
        import('../train/compute.js'),
      ]);
      const choice = chooseCompute(flags.device === undefined ? {} : { device: flags.device });
      const details = await checkParity(folder, choice.device);
      const { parts: _, ...report } = details;
      const text = flags.json ? JSON.stringify(report) : parityText(folder, details, flags.tolerance);
      process.stdout.write(`${text}\n`);
      if (failures(report, flags.tolerance).length > 0) process.exitCode = EXIT.failed;
    });
}

const KEYS: readonly (keyof ParityReport)[] = [
  'logits',
  'hidden_max',
  'loss',
  'grad_max',
  'router_equal',
  'greedy_equal',
  'adamw5_max',
];

/** The keys of a report that do not pass. What the fixture lacks passes. */
export function failures(report: ParityReport, tolerance: number): (keyof ParityReport)[] {
  return KEYS.filter((key) => {
    const value = report[key];
    return value === false || (typeof value === 'number' && !(value <= tolerance));
  });
}

/** Every comparison on a line, then each key of the report with its worst one, then the verdict. */
export function parityText(folder: string, details: ParityDetails, tolerance: number): string {
  const shown = details.parts.map((part) => [part.name, partValue(part), partVerdict(part, tolerance)]);
  const failed = failures(details, tolerance);
  const summary = KEYS.map((key) => {
    const value = details[key];
    const text = value === null ? '–' : typeof value === 'number' ? errorText(value) : value ? 'equal' : 'different';
    return [key, text, value === null ? 'not in the fixture' : failed.includes(key) ? 'FAILED' : 'ok'];
  });
  const verdict =
    failed.length === 0
      ? `The same as the reference, within ${tolerance.toExponential()}.`
      : `NOT the same as the reference: ${failed.join(', ')} (tolerance ${tolerance.toExponential()}).`;
  return [
    `${folder}: errors against the reference, in float32`,
    ...columns([...shown, [''], ...summary]),
    '',
    verdict,
  ].join('\n');
}

function partValue({ key, error }: ParityPart): string {
  if (key === 'router_equal' || key === 'greedy_equal') return error === 0 ? 'equal' : 'different';
  return errorText(error);
}

function partVerdict({ key, error }: ParityPart, tolerance: number): string {
  return key === null ? '(for information)' : error <= tolerance ? 'ok' : 'FAILED';
}

const errorText = (error: number): string => (error === Number.MAX_VALUE ? 'not finite' : error.toExponential(1));

function columns(rows: readonly (readonly string[])[]): string[] {
  const width = Math.max(...rows.map(([name = '']) => textWidth(name)));
  return rows.map(([name = '', value = '', verdict = '']) =>
    name === '' ? '' : `  ${name}${' '.repeat(width - textWidth(name))}  ${value.padStart(10)}  ${verdict}`,
  );
}
