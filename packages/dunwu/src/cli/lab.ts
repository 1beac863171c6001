import path from 'node:path';
import type { Command } from 'commander';
import type { KlLabRow, KlLabSettings } from '../objective/kl-lab.js';
import { UsageError } from '../util/errors.js';
import { writeFileAtomic } from '../util/fs.js';
import { textTable } from '../util/text-table.js';
import { registerLabHacks } from './lab-hacks.js';
import { realNumber, wholeNumber } from './options.js';

interface KlFlags {
  readonly kl: readonly number[];
  readonly stale: number;
  readonly vocabulary: number;
  readonly policies: number;
  readonly samples: number;
  readonly seed: number;
  readonly json?: boolean;
  readonly svg?: string;
}

/** `dunwu lab`: experiments on the formulas themselves, without a model. */
export function registerLab(program: Command): void {
  const lab = program
    .command('lab')
    .summary('measure the formulas themselves, without a model')
    .description('Experiments on the formulas themselves: exact numbers beside sampled ones, without a model.');
  lab
    .command('kl')
    .summary('KL estimators: bias, spread and gradient')
    .description(
      'Compares the estimators of KL(π_θ ‖ π_ref) that recipes can name (k1, k2, k3, k3-unbiased, exact), and the ' +
        "lecture notes' slip of the pen, with the exact KL. Random policies over a small vocabulary are placed at exact " +
        'distances from a random reference; tokens are sampled from them (on-policy), or from an older policy that ' +
        'π_θ has since left (off-policy, as after the first mini-batch).\n\n' +
        'bias: mean value − KL, enumerated over the vocabulary, then from the samples with its standard error; |bias|: ' +
        "its root mean square over the policies. sd: spread of one token's value. Gradient as a loss: cosine with the gradient of the KL, length relative to " +
        "it (right: 1 and 1), noise: spread of one token's gradient. All but the cosine in units of the KL or of its " +
        'gradient. docs/kl.md explains each and what this does not show.',
    )
    .option('--kl <list>', 'distances KL(π_θ ‖ π_ref) in nats, by commas', distances, [0.001, 0.01, 0.1, 1])
    .option(
      '--stale <nats>',
      'KL(π_old ‖ π_θ) of the older policy that samples off-policy',
      realNumber('--stale', 0, 100, true),
      0.01,
    )
    .option('--vocabulary <n>', 'tokens in the vocabulary', wholeNumber('--vocabulary', 2), 32)
    .option('--policies <n>', 'random policies at each distance', wholeNumber('--policies', 1), 32)
    .option('--samples <n>', 'tokens sampled from each policy', wholeNumber('--samples', 2), 10_000)
    .option('--seed <n>', 'seed of policies and samples', wholeNumber('--seed', 0), 1)
    .option('--json', 'print one JSON object: settings, and a row for each distance, sampling policy and estimator')
    .option('--svg <file>', 'draw spread, bias and gradient over the distance')
    .addHelpText(
      'after',
      `
Examples:
  dunwu lab kl
  dunwu lab kl --kl 0.01,0.1 --stale 0.1 --svg kl.svg
  dunwu lab kl --json | jq '.rows[] | select(.samples_of == "old") | [.kl, .estimator, .gradient.cosine]'`,
    )
    .action(klCommand);
  registerLabHacks(lab);
}

function distances(text: string): number[] {
  const parse = realNumber('--kl', 1e-6);
  const list = text.split(',').map((part) => parse(part.trim()));
  if (new Set(list).size < list.length) throw new UsageError(`--kl ${text}: a distance stands there twice`);
  return list;
}

async function klCommand(flags: KlFlags): Promise<void> {
  const { vocabulary } = flags;
  if (vocabulary > 1024) throw new UsageError(`--vocabulary ${vocabulary}: at most 1024: every token is enumerated`);
  const [{ klLab }, { createProgress }] = await Promise.all([
    import('../objective/kl-lab.js'),
    import('../util/progress.js'),
  ]);
  const { kl, stale, policies, samples, seed } = flags;
  const settings: KlLabSettings = { distances: kl, staleness: stale, vocabulary, policies, samples, seed };
  const progress = createProgress({ out: process.stderr });
  progress.start('kl', kl.length * policies, { unit: 'policies' });
  let rows: KlLabRow[];
  try {
    rows = await klLab(settings, (done) => progress.update(done));
  } catch (error) {
    if (error instanceof RangeError) throw new UsageError(error.message);
    throw error;
  } finally {
    progress.end();
  }
  if (flags.svg !== undefined) {
    const [{ renderSvg }, { klLabChart }] = await Promise.all([
      import('../pipeline/plot.js'),
      import('../pipeline/kl-lab-chart.js'),
    ]);
    try {
      await writeFileAtomic(flags.svg, await renderSvg(klLabChart(rows)));
    } catch (error) {
      throw new UsageError(`--svg ${flags.svg}: cannot be written into ${path.dirname(flags.svg)}: ${String(error)}`);
    }
  }
  process.stdout.write(`${flags.json ? JSON.stringify({ settings, rows }) : klLabText(settings, rows)}\n`);
}

const HEAD = ['', 'bias / KL', 'sampled', '± error', '|bias|', 'sd / KL', '', 'cosine', 'length', 'noise'];

/** A table for each distance, on-policy and off. */
export function klLabText(settings: KlLabSettings, rows: readonly KlLabRow[]): string {
  const { policies, samples, vocabulary, staleness, seed } = settings;
  const blocks = [
    `${policies} policies over ${vocabulary} tokens at each distance, ${samples} samples of each, seed ${seed}`,
  ];
  for (const kl of settings.distances) {
    for (const samplesOf of ['policy', 'old'] as const) {
      const from = samplesOf === 'policy' ? 'on-policy' : `samples of π_old, KL(π_old ‖ π_θ) = ${staleness}`;
      const own = rows.filter((row) => row.kl === kl && row.samples_of === samplesOf);
      const cells = own.map(({ estimator, value, gradient }) => [
        estimator,
        share(value.bias / kl),
        share(value.sampled_bias / kl),
        share(value.standard_error / kl),
        share(value.bias_rms / kl),
        ratio(value.standard_deviation / kl),
        '',
        gradient.cosine === null ? '–' : ratio(gradient.cosine),
        ratio(gradient.norm),
        ratio(gradient.noise),
      ]);
      const lines = textTable([HEAD, ...cells], (column) => column === 0);
      blocks.push(`KL(π_θ ‖ π_ref) = ${kl}, ${from}\n${lines.map((line) => `  ${line}`).join('\n')}`);
    }
  }
  return blocks.join('\n\n');
}

/** In per cent; what rounding leaves of an exact 0 is shown as 0, and what is merely small as 0.00 %. */
function share(value: number): string {
  if (Math.abs(value) < 1e-9) return '0';
  const percent = 100 * value;
  if (Math.abs(percent) >= 1000) return `${percent.toExponential(1)} %`;
  return `${percent.toFixed(Math.abs(percent) < 1 ? 2 : 1).replace(/^-(0\.0+)$/, '$1')} %`;
}

function ratio(value: number): string {
  if (Math.abs(value) < 1e-6) return '0';
  if (Math.abs(value) >= 1000) return value.toExponential(1);
  return Math.abs(value) < 0.01 ? value.toPrecision(2) : value.toFixed(3);
}
