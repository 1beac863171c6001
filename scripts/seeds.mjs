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
console.log(
  '| seed | model | greedy % (95 % interval) | sampled % | pass@8 % | format % | language consistency %, sampled | mean length | minutes |',
);
console.log('|---|---|---|---|---|---|---|---|---|');
for (const seed of seeds) {
  const file = path.join(folder(seed), 'report.json');
  if (!existsSync(file)) {
    console.log(`| ${seed} | no report yet | | | | | | | |`);
    continue;
  }
  const report = JSON.parse(readFileSync(file, 'utf8'));
  for (const stage of report.stages.filter((entry) => entry.eval)) {
    const e = stage.eval;
    const minutes =
      stage === report.stages.filter((entry) => entry.eval).at(-1) ? (report.seconds / 60).toFixed(1) : '';
    console.log(
      `| ${seed} | ${stage.name} | ${percent(e.accuracy)} (${percent(e.ci95[0])}–${percent(e.ci95[1])}) | ${percent(e.sampled?.accuracy)} | ` +
        `${percent(passAt(e.sampled)[1])} | ${percent(e.format)} | ${percent(e.sampled?.language_consistency)} | ${e.mean_length.toFixed(0)} | ${minutes} |`,
    );
  }
}
