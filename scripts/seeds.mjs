#!/usr/bin/env node
// Runs a recipe with several seeds, one after another, and prints the table of results that the documents quote.
//   node scripts/seeds.mjs recipes/r1-zero-mini.yaml --seeds 1,2,3 --out runs/seeds [--table-only]
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { cpus } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seeds: { type: 'string', default: '1,2,3' },
    out: { type: 'string', default: 'runs/seeds' },
    'table-only': { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h', default: false },
  },
});
if (values.help || positionals.length !== 1) {
  console.log('usage: node scripts/seeds.mjs RECIPE [--seeds 1,2,3] [--out DIR] [--table-only]');
  process.exit(values.help ? 0 : 2);
}
const dunwu = fileURLToPath(new URL('../packages/dunwu/bin/dunwu.js', import.meta.url));
const seeds = values.seeds.split(',').map(Number);
const folder = (seed) => path.join(values.out, `seed-${seed}`);

if (!values['table-only']) {
  for (const seed of seeds) {
    if (existsSync(path.join(folder(seed), 'report.json'))) continue;
    const args = [dunwu, 'run', positionals[0], '--seed', String(seed), '--out', folder(seed), '--resume'];
    const { status } = spawnSync(process.execPath, args, { stdio: 'inherit' });
    if (status !== 0) process.exit(status ?? 1);
  }
}

const percent = (share) => (share === undefined || share === null ? '–' : (100 * share).toFixed(1));
const passAt = (sampled) => {
  const table = sampled?.pass_at_k;
  return typeof table === 'object' ? Object.entries(table).at(-1) : ['k', table];
};
console.log(`${cpus()[0]?.model}, ${cpus().length} cores; ${path.basename(positionals[0])}\n`);
const range = (ci95) => (ci95 ? ` (${percent(ci95[0])}–${percent(ci95[1])})` : '');
const rows = seeds.flatMap((seed) => {
  const file = path.join(folder(seed), 'report.json');
  if (!existsSync(file)) return [[`${seed}`, 'no report yet']];
  const report = JSON.parse(readFileSync(file, 'utf8'));
  const evaluated = report.stages.filter((entry) => entry.eval);
  return evaluated.map((stage) => {
    const { accuracy, ci95, format, sampled, general, mean_length } = stage.eval;
    return [
      `${seed}`,
      stage.name,
      `${percent(accuracy)}${range(ci95)}`,
      `${percent(sampled?.accuracy)}${range(sampled?.ci95)}`,
      percent(passAt(sampled)?.[1]),
      `${percent(format)} / ${percent(sampled?.format)}`,
      `${percent(sampled?.language_consistency)}${range(sampled?.language_consistency_ci95)}`,
      ...(report.stages.some((entry) => entry.eval?.general)
        ? [percent(general?.instruction_following), percent(general?.refusal)]
        : []),
      mean_length.toFixed(0),
      stage === evaluated.at(-1) ? (report.seconds / 60).toFixed(1) : '',
    ];
  });
});
const general = rows.some((row) => row.length > 9);
const head = [
  'seed',
  'evaluation',
  'greedy % (95 % interval)',
  'sampled %',
  'pass@8 %',
  'format %, greedy / sampled',
  'language consistency %, sampled',
  ...(general ? ['instructions followed %', 'harm refused %'] : []),
  'mean length',
  'minutes',
];
for (const cells of [head, head.map(() => '---'), ...rows]) console.log(`| ${cells.join(' | ')} |`);
