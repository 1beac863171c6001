// Ours against the peers on one tiny DeepSeek (workload.json): training step, generation, GRPO step; and memory.
// What is measured, and how to read it: npm run bench -- --help
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';
import { Contestant } from './lib/contestant.mjs';
import { makeInputs } from './lib/inputs.mjs';
import { busySeconds, machineLine, physicalCores } from './lib/machine.mjs';
import { INSTALL_PEERS, peerVersions } from './lib/python.mjs';
import { advantage, roundAdvantage, summary } from './lib/statistics.mjs';
import { number, spread, table } from './lib/table.mjs';

const HELP = `npm run bench -- [options]

Measures ours and, where they are installed, the peers (transformers; TRL for GRPO) on the same tiny DeepSeek-V3: same
weights, same inputs, same sizes, same number of threads, in float32 on the CPU.

  training    a step (forward, backward, AdamW) on 16 rows of 256 tokens          tokens/s, more is better
  generation  64 prompts of 32 tokens, 128 new tokens each, sampled at T = 1      new tokens/s, more is better
  grpo        16 prompts × 8 completions of 64 tokens: rollout, reward, update    seconds per step, less is better

and each one's peak resident memory. "default" is the peer as it comes; "tuned" is the peer after
torch.set_float32_matmul_precision("medium"). Each contestant has a process of its own; after a warm-up they take turns,
and all but one wait. Numbers are medians over all turns with (minimum–maximum); × is how many times better ours is.

  --rounds N        turns of each contestant (default 3)
  --only A,B        some of training,generation,grpo
  --threads N       for everyone (default OMP_NUM_THREADS, else the physical cores)
  --python PATH     Python with torch, transformers and trl (default DUNWU_PYTHON, else python3)
  --json FILE       also write [{ work, unit, ours, peers, ratio }]
  --help`;

const here = dirname(fileURLToPath(import.meta.url));
const workload = JSON.parse(readFileSync(join(here, 'workload.json'), 'utf8'));

/**
 * `amount`: what one repetition makes, for works that are told as a rate. `warmUp`: repetitions before the first turn;
 * `settle`: untimed ones at the begin of each turn, after the wait; `repeat`: timed ones.
 */
const WORKS = {
  training: {
    unit: 'tokens/s',
    amount: workload.training.batch * workload.training.time,
    needs: ['torch', 'transformers'],
    warmUp: 3,
    settle: 1,
    repeat: 5,
  },
  generation: {
    unit: 'tokens/s',
    amount: workload.generation.batch * workload.generation.new,
    needs: ['torch', 'transformers'],
    warmUp: 1,
    settle: 0,
    repeat: 2,
  },
  grpo: { unit: 's/step', amount: null, needs: ['torch', 'transformers', 'trl'], warmUp: 2, settle: 0, repeat: 2 },
};

const SETTINGS = ['default', 'tuned'];

/** Threads of the one before may spin on for a moment, waiting for more to do. */
const PAUSE_BETWEEN_TURNS = 300;

/** Share of the processor that other programs may have used during the turns. */
const BUSY = 0.04;

class UsageError extends Error {}

function readOptions(args) {
  let values;
  try {
    ({ values } = parseArgs({
      args,
      options: {
        rounds: { type: 'string', default: '3' },
        only: { type: 'string' },
        threads: { type: 'string', default: process.env.OMP_NUM_THREADS || String(physicalCores()) },
        python: { type: 'string', default: process.env.DUNWU_PYTHON || 'python3' },
        json: { type: 'string' },
        help: { type: 'boolean', default: false },
      },
    }));
  } catch (error) {
    throw new UsageError(error.message);
  }
  const count = (name) => {
    if (!/^[1-9]\d{0,3}$/.test(values[name])) {
      throw new UsageError(`--${name} must be a whole number from 1 to 9999, not ${JSON.stringify(values[name])}`);
    }
    return Number(values[name]);
  };
  const works = values.only === undefined ? Object.keys(WORKS) : values.only.split(',');
  const unknown = works.find((work) => !Object.hasOwn(WORKS, work));
  if (unknown !== undefined) {
    throw new UsageError(`--only: ${JSON.stringify(unknown)} is none of ${Object.keys(WORKS).join(', ')}`);
  }
  if (values.json !== undefined) {
    // Now, and not after five minutes of measuring.
    try {
      writeFileSync(values.json, '', { flag: 'a' });
    } catch (error) {
      throw new UsageError(`--json: ${error.message}`);
    }
  }
  return {
    rounds: count('rounds'),
    threads: count('threads'),
    works: Object.keys(WORKS).filter((work) => works.includes(work)),
    python: values.python,
    json: values.json,
    help: values.help,
  };
}

const say = (line) => console.error(line);
const running = new Set();

/** Starts one contestant and warms it up; null (after a line that says why) when a peer cannot take part. */
async function start(name, command, args, threads, { warmUp }, optional) {
  // The tiny model is measured on the processor, whatever else the machine has.
  const contestant = new Contestant(name, command, args, {
    OMP_NUM_THREADS: String(threads),
    CUDA_VISIBLE_DEVICES: '',
  });
  running.add(contestant);
  try {
    const about = await contestant.ready();
    const { first_loss } = await contestant.run(warmUp);
    return { contestant, about, firstLoss: first_loss, rounds: [], peakBytes: 0 };
  } catch (error) {
    stop(contestant);
    if (!optional) throw error;
    say(`\n${error.message}\n${name}: left out`);
    process.exitCode = 1;
    return null;
  }
}

function stop(contestant) {
  contestant.stop();
  running.delete(contestant);
}

/** Numbers of different works are worth nothing: same size, and the same loss on the same batch. */
function checkSameWork(ours, peer, name) {
  if (ours.about.parameters !== peer.about.parameters) {
    throw new Error(
      `${name} has ${peer.about.parameters} parameters, ours ${ours.about.parameters}: not the same model`,
    );
  }
  // Off default, products may be rounded to bfloat16's 8 bits (on processors with AMX "medium" does so too).
  const tolerance = name.includes('default') ? 1e-4 : 2e-3;
  if (ours.firstLoss !== undefined && !(Math.abs(ours.firstLoss - peer.firstLoss) < tolerance)) {
    throw new Error(
      `${name} begins with the loss ${peer.firstLoss}, ours with ${ours.firstLoss}, on the same weights and tokens: ` +
        'not the same computation',
    );
  }
}

/** One work: everyone is started and warmed up, then takes turns. */
async function measure(work, folder, versions, load, { rounds, threads, python }) {
  const plan = WORKS[work];
  const contestants = {
    ours: await start('ours', process.execPath, [join(here, 'ours.mjs'), work, folder, threads], threads, plan, false),
  };
  const missing = plan.needs.filter((name) => versions[name] === undefined);
  for (const setting of missing.length > 0 ? [] : SETTINGS) {
    const name = `peer (${setting})`;
    const script = join(here, 'peers', 'peer.py');
    const peer = await start(name, python, [script, work, setting, folder, threads], threads, plan, true);
    if (peer === null) continue;
    checkSameWork(contestants.ours, peer, name);
    contestants[setting] = peer;
  }
  say(
    `${work}: ${Object.entries(contestants)
      .map(([name, { about }]) => `${name}: ${about.describes}`)
      .join('; ')}`,
  );
  for (let round = 1; round <= rounds; round++) {
    const seen = [];
    for (const [name, entry] of Object.entries(contestants)) {
      await sleep(PAUSE_BETWEEN_TURNS);
      const before = { busy: busySeconds(), time: performance.now() };
      const { seconds, cpu_seconds, peak_bytes } = await entry.contestant.run(plan.settle + plan.repeat);
      load.others += busySeconds() - before.busy - cpu_seconds;
      load.possible += ((performance.now() - before.time) / 1000) * availableParallelism();
      const timed = seconds.slice(plan.settle);
      const values = plan.amount === null ? timed : timed.map((one) => plan.amount / one);
      entry.rounds.push(values);
      entry.peakBytes = peak_bytes;
      seen.push(`${name} ${number(summary(values).median)}`);
    }
    say(`${work}: round ${round} of ${rounds}: ${seen.join(', ')} ${plan.unit}`);
  }
  for (const { contestant } of Object.values(contestants)) stop(contestant);
  return contestants;
}

/** One entry of the result, and the spread of its ratio over the rounds for the table. */
function entryOf(work, unit, moreIsBetter, samples) {
  const { ours, ...peers } = samples;
  const measured = (rounds) => summary(rounds.flat());
  const ratios = (pick) => Object.fromEntries(Object.entries(peers).map(([name, rounds]) => [name, pick(rounds)]));
  return {
    entry: {
      work,
      unit,
      ours: measured(ours),
      peers: ratios(measured),
      ratio: ratios((rounds) => advantage(measured(ours).median, measured(rounds).median, moreIsBetter)),
    },
    spreads: ratios((rounds) => roundAdvantage(ours, rounds, moreIsBetter)),
  };
}

function entriesOf(work, contestants) {
  const each = (pick) => Object.fromEntries(Object.entries(contestants).map(([name, one]) => [name, pick(one)]));
  return [
    entryOf(
      work,
      WORKS[work].unit,
      WORKS[work].amount !== null,
      each(({ rounds }) => rounds),
    ),
    entryOf(
      `${work} memory`,
      'MiB peak',
      false,
      each(({ peakBytes }) => [[peakBytes / 2 ** 20]]),
    ),
  ];
}

function resultTable(results) {
  const header = [
    'work',
    'unit',
    'ours',
    ...SETTINGS.map((name) => `peer ${name}`),
    ...SETTINGS.map((name) => `× ${name}`),
  ];
  const rows = results.map(({ entry, spreads }) => [
    entry.work,
    entry.unit,
    spread(entry.ours),
    ...SETTINGS.map((name) => (entry.peers[name] === undefined ? '–' : spread(entry.peers[name]))),
    ...SETTINGS.map((name) => {
      if (entry.ratio[name] === undefined) return '–';
      const { min, max } = spreads[name];
      const range = min === max ? '' : ` (${min.toFixed(2)}–${max.toFixed(2)})`;
      return `${entry.ratio[name].toFixed(2)}${range}`;
    }),
  ]);
  return table([header, ...rows]);
}

async function main() {
  const options = readOptions(process.argv.slice(2));
  if (options.help) {
    console.log(HELP);
    return;
  }
  const began = performance.now();
  const load = { others: 0, possible: 0 };
  const versions = await peerVersions(options.python);
  for (const work of options.works) {
    const missing = WORKS[work].needs.filter((name) => versions[name] === undefined);
    if (missing.length === 0) continue;
    say(
      `${work}: no peers, as ${options.python} has no ${missing.join(', no ')}. To install them:\n  ${INSTALL_PEERS}`,
    );
  }
  const folder = mkdtempSync(join(tmpdir(), 'dunwu-bench-'));
  const cleanUp = () => {
    for (const contestant of running) stop(contestant);
    rmSync(folder, { recursive: true, force: true });
  };
  for (const signal of ['SIGINT', 'SIGTERM']) {
    process.once(signal, () => {
      cleanUp();
      process.exit(130);
    });
  }
  try {
    writeFileSync(join(folder, 'inputs.json'), JSON.stringify(makeInputs(workload)));
    await promisify(execFile)(process.execPath, [join(here, 'ours.mjs'), 'write-model', join(folder, 'model')]);
    const results = [];
    let described = '';
    for (const work of options.works) {
      const contestants = await measure(work, folder, versions, load, options);
      results.push(...entriesOf(work, contestants));
      described = contestants.ours.about.describes;
    }
    const peers = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
    console.log(resultTable(results));
    console.log(
      '\nmedian (minimum–maximum); × = how many times better ours is: more tokens/s, less s/step, less memory',
    );
    console.log(machineLine(options.threads));
    console.log(`ours: ${described}; peers: ${peers.length > 0 ? peers.join(', ') : 'none'}`);
    const busy = load.others / load.possible;
    if (busy > BUSY) {
      console.log(
        `warning: other programs used ${(busy * 100).toFixed(0)} % of the processor meanwhile: do not quote these numbers`,
      );
    }
    if (options.json !== undefined) {
      writeFileSync(
        options.json,
        `${JSON.stringify(
          results.map(({ entry }) => entry),
          null,
          2,
        )}\n`,
      );
    }
    say(`${Math.round((performance.now() - began) / 1000)} s in all`);
  } finally {
    cleanUp();
  }
}

try {
  await main();
} catch (error) {
  console.error(`bench: ${error.message}`);
  if (error instanceof UsageError) console.error('npm run bench -- --help lists the options');
  process.exitCode = error instanceof UsageError ? 2 : 1;
}
