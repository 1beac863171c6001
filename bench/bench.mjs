// Ours against the peers on a tiny DeepSeek and a dense Qwen2 (workload.json): training, generation, GRPO; memory; start.
// On a GPU also a dense Llama of about a billion parameters, and how much of the device is used.
// What is measured, and how to read it: npm run bench -- --help
import { execFile, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';
import { Contestant } from './lib/contestant.mjs';
import { makeInputs } from './lib/inputs.mjs';
import { busySeconds, gpuLine, machineLine, physicalCores } from './lib/machine.mjs';
import { INSTALL_PEERS, peerVersions } from './lib/python.mjs';
import { advantage, roundAdvantage, summary } from './lib/statistics.mjs';
import { markdownTable, number, spread, table } from './lib/table.mjs';

const HELP = `npm run bench -- [options]

Measures ours and, where they are installed, the peers (transformers; TRL for GRPO) on the CPU, or on a GPU: same model,
same weights, same inputs, same sizes, same number of threads. Prints one table.

  training          a step (forward, backward, AdamW) of a tiny DeepSeek-V3, 16 rows of 256 tokens    tokens/s
  generation        the same model, 64 prompts of 32 tokens, 128 new tokens each, at T = 1            new tokens/s
  grpo              the same model, 16 prompts × 8 completions of 64: rollout, reward, update         s/step
  dense-training    a Qwen2 of 105 M parameters, a step on 4 rows of 256 tokens                       tokens/s
  dense-generation  the same model, 16 prompts of 32 tokens, 64 new tokens each                       new tokens/s
  start             dunwu --help; "dunwu run recipes/r1-mini.yaml" until its first training step      s

With --device cuda, and without start:

  large-training-bf16    a Llama of 1.1 B parameters, a step on 4 rows of 2048 tokens                 tokens/s
  large-generation-bf16  the same model, 64 prompts of 128 tokens, 128 new tokens each                new tokens/s

training-bf16, generation-bf16, grpo-bf16, dense-training-bf16, dense-generation-bf16: ours computes in bfloat16. Left out
where ours cannot; the line that says so says why.

training-high, grpo-high, dense-training-high: ours in float32 with compute.float32_matmul_precision: high, which may make
three products of bfloat16 for one of float32 (docs/recipes.md). training-medium, dense-training-medium: with medium, the
setting of the "tuned" peers.

Peers: "default" is the peer as it comes, in float32; "tuned" is that after torch.set_float32_matmul_precision("medium");
"bf16" is autocast to bfloat16 (training; TRL's bf16=True) or a model in bfloat16 (generation). Float32 training is
compared with float32 alone; everything else with the best of all three. On CUDA "tuned" is TF32, which is not float32:
there it is left out where ours is float32.

Each contestant has a process of its own; after a warm-up they take turns, and all but one wait. Before anything counts,
parameters and the loss of the first step must agree. Numbers are medians over all turns with (minimum–maximum).

  × best    how many times better ours is than the best peer: tokens/s ours ÷ theirs, s/step theirs ÷ ours.
            In rows of memory: ours ÷ theirs, so less is better. On the CPU it is the peak resident memory of the whole
            process, on a GPU the most that tensors had there.
  of peak FLOP/s, of bandwidth    on a GPU: operations of a training step by formula, and bytes of weights and caches
            that decoding has to read, to what a large product and a large copy reach there, measured just before
  reach     what ours is to reach there

  --rounds N        turns of each contestant (default 3)
  --only A,B        some of the works above
  --device cuda     everyone on the first CUDA device (default cpu)
  --threads N       for everyone (default OMP_NUM_THREADS, else the physical cores)
  --python PATH     Python with torch, transformers and trl (default DUNWU_PYTHON, else python3)
  --markdown        print the table as Markdown
  --json FILE       also write [{ work, dtype, unit, ours, peers, ratio, best, reach, reached }]: ours and each peer as
                    { median, min, max }, ratio for each peer, best: its name; what could not be measured is null
  --help

docs/performance.md tells how to read the table, and how to find out where the time goes (dunwu profile).

Examples:
  npm run bench -- --only training,grpo
  DUNWU_PYTHON=.venv/bin/python npm run bench -- --rounds 5 --markdown --json bench.json`;

const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, '..');
const workload = JSON.parse(readFileSync(join(here, 'workload.json'), 'utf8'));

/**
 * `amount`: what one repetition makes, for works that are told as a rate; `needs`: Python packages of the peers.
 */
const KINDS = {
  training: {
    unit: 'tokens/s',
    amount: ({ training }) => training.batch * training.time,
    needs: ['torch', 'transformers'],
  },
  generation: {
    unit: 'tokens/s',
    amount: ({ generation }) => generation.batch * generation.new,
    needs: ['torch', 'transformers'],
  },
  grpo: { unit: 's/step', amount: null, needs: ['torch', 'transformers', 'trl'] },
};

const DEVICES = ['cpu', 'cuda'];
const FLOAT32 = ['default', 'tuned'];
const SETTINGS = [...FLOAT32, 'bf16'];

/**
 * `model`: whose part of workload.json; `dtype`, `precision`: what ours computes in, and its float32 products; `reach`: times the best peer; `warmUp`:
 * repetitions before the first turn; `settle`: untimed ones at the begin of each turn, after the wait; `repeat`: timed;
 * `devices`: where it is measured; `share`: of what the device can do, in percent, to reach.
 */
const WORKS = {
  training: work('training', 'tiny', 2, { warmUp: 3, settle: 1, repeat: 5, settings: FLOAT32 }),
  'training-high': work('training', 'tiny', 2, {
    warmUp: 3,
    settle: 1,
    repeat: 5,
    settings: FLOAT32,
    precision: 'high',
    devices: ['cpu'],
  }),
  'training-medium': work('training', 'tiny', 2, {
    warmUp: 3,
    settle: 1,
    repeat: 5,
    settings: FLOAT32,
    precision: 'medium',
    devices: ['cpu'],
  }),
  'training-bf16': work('training', 'tiny', 3, { warmUp: 3, settle: 1, repeat: 5, dtype: 'bfloat16' }),
  generation: work('generation', 'tiny', 10, { repeat: 2 }),
  'generation-bf16': work('generation', 'tiny', 10, { repeat: 2, dtype: 'bfloat16' }),
  grpo: work('grpo', 'tiny', 5, { warmUp: 2, repeat: 2 }),
  'grpo-high': work('grpo', 'tiny', 5, { warmUp: 2, repeat: 2, precision: 'high', devices: ['cpu'] }),
  'grpo-bf16': work('grpo', 'tiny', 5, { warmUp: 2, repeat: 2, dtype: 'bfloat16' }),
  'dense-training': work('training', 'dense', 1.1, { repeat: 3, settings: FLOAT32 }),
  'dense-training-high': work('training', 'dense', 1.1, {
    repeat: 3,
    settings: FLOAT32,
    precision: 'high',
    devices: ['cpu'],
  }),
  'dense-training-medium': work('training', 'dense', 1.1, {
    repeat: 3,
    settings: FLOAT32,
    precision: 'medium',
    devices: ['cpu'],
  }),
  'dense-training-bf16': work('training', 'dense', 1.1, { repeat: 3, dtype: 'bfloat16' }),
  'dense-generation': work('generation', 'dense', 3, { repeat: 2 }),
  'dense-generation-bf16': work('generation', 'dense', 3, { repeat: 2, dtype: 'bfloat16' }),
  'large-training-bf16': work('training', 'large', 1.1, { repeat: 3, dtype: 'bfloat16', devices: ['cuda'], share: 50 }),
  'large-generation-bf16': work('generation', 'large', 3, {
    repeat: 2,
    dtype: 'bfloat16',
    devices: ['cuda'],
    share: 70,
  }),
  start: null,
};

function work(kind, model, reach, plan) {
  const amount = KINDS[kind].amount?.(workload[model]) ?? null;
  const usual = {
    warmUp: 1,
    settle: 0,
    dtype: 'float32',
    precision: 'auto',
    settings: SETTINGS,
    devices: DEVICES,
    share: null,
  };
  return { ...KINDS[kind], kind, model, reach, amount, ...usual, ...plan };
}

/** On CUDA "tuned" is TF32, whose products are not float32's: no peer of ours in float32. */
const settingsOf = ({ dtype, settings }, device) =>
  settings.filter((setting) => setting !== 'tuned' || device === 'cpu' || dtype !== 'float32');

/** The start is that of the program, wherever it computes after. */
const devicesOf = (name) => WORKS[name]?.devices ?? ['cpu'];

/** Of ours to the peer's peak memory, at most. */
const MEMORY_REACH = 0.8;

/** Seconds at most. */
const START_REACH = { help: 0.3, step: 3 };

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
        device: { type: 'string', default: 'cpu' },
        threads: { type: 'string', default: process.env.OMP_NUM_THREADS || String(physicalCores()) },
        python: { type: 'string', default: process.env.DUNWU_PYTHON || 'python3' },
        markdown: { type: 'boolean', default: false },
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
  const { device } = values;
  if (!DEVICES.includes(device)) {
    throw new UsageError(`--device: ${JSON.stringify(device)} is none of ${DEVICES.join(', ')}`);
  }
  const offered = Object.keys(WORKS).filter((work) => devicesOf(work).includes(device));
  const works = values.only === undefined ? offered : values.only.split(',');
  const unknown = works.find((work) => !Object.hasOwn(WORKS, work));
  if (unknown !== undefined) {
    throw new UsageError(`--only: ${JSON.stringify(unknown)} is none of ${Object.keys(WORKS).join(', ')}`);
  }
  const elsewhere = works.find((work) => !offered.includes(work));
  if (elsewhere !== undefined) {
    throw new UsageError(`--only: ${elsewhere} is measured with --device ${devicesOf(elsewhere)} alone`);
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
    device,
    works: offered.filter((work) => works.includes(work)),
    named: values.only !== undefined,
    python: values.python,
    markdown: values.markdown,
    json: values.json,
    help: values.help,
  };
}

const say = (line) => console.error(line);
const running = new Set();

/** Starts one contestant and warms it up; null (after a line that says why) when a peer cannot take part. */
async function start(name, command, args, { threads, device }, { warmUp }, optional) {
  const contestant = new Contestant(name, command, [...args, threads, device], {
    OMP_NUM_THREADS: String(threads),
    // On the processor, whatever else the machine has.
    ...(device === 'cpu' ? { CUDA_VISIBLE_DEVICES: '' } : {}),
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
function checkSameWork(ours, peer, name, { dtype, precision }) {
  if (ours.about.parameters !== peer.about.parameters) {
    throw new Error(
      `${name} has ${peer.about.parameters} parameters, ours ${ours.about.parameters}: not the same model`,
    );
  }
  // Off default, products may be rounded to bfloat16's 8 bits (on processors with AMX "medium" does so too, ours and theirs).
  const exact = name.includes('default') && dtype === 'float32' && precision !== 'medium';
  const tolerance = exact ? 1e-4 : 2e-3;
  if (ours.firstLoss !== undefined && !(Math.abs(ours.firstLoss - peer.firstLoss) < tolerance)) {
    throw new Error(
      `${name} begins with the loss ${peer.firstLoss}, ours with ${ours.firstLoss}, on the same weights and tokens: ` +
        'not the same computation',
    );
  }
}

/** Why ours cannot do a work in its dtype here, or null. */
async function problemOf({ kind, dtype }, { threads, device }) {
  if (dtype === 'float32') return null;
  // A step of GRPO tells no number that hangs on nothing but its computation; its rollouts are generation.
  const args = [join(here, 'ours.mjs'), 'check-bfloat16', kind === 'grpo' ? 'generation' : kind, threads, device];
  const { stdout } = await promisify(execFile)(process.execPath, args);
  return JSON.parse(stdout).problem;
}

/** One work: everyone is started and warmed up, then takes turns. */
async function measure(name, folder, versions, load, options) {
  const { rounds, python } = options;
  const plan = WORKS[name];
  const place = join(folder, plan.model);
  const own = [join(here, 'ours.mjs'), plan.kind, plan.dtype, plan.precision, place];
  const contestants = { ours: await start('ours', process.execPath, own, options, plan, false) };
  const missing = plan.needs.filter((needed) => versions[needed] === undefined);
  for (const setting of missing.length > 0 ? [] : settingsOf(plan, options.device)) {
    const called = `peer (${setting})`;
    const script = join(here, 'peers', 'peer.py');
    const peer = await start(called, python, [script, plan.kind, setting, place], options, plan, true);
    if (peer === null) continue;
    checkSameWork(contestants.ours, peer, called, plan);
    contestants[setting] = peer;
  }
  say(
    `${name}: ${Object.entries(contestants)
      .map(([one, { about }]) => `${one}: ${about.describes}`)
      .join('; ')}`,
  );
  for (let round = 1; round <= rounds; round++) {
    const seen = [];
    for (const [one, entry] of Object.entries(contestants)) {
      await sleep(PAUSE_BETWEEN_TURNS);
      const before = { busy: busySeconds(), time: performance.now() };
      const { seconds, cpu_seconds, peak_bytes } = await entry.contestant.run(plan.settle + plan.repeat);
      load.others += busySeconds() - before.busy - cpu_seconds;
      load.possible += ((performance.now() - before.time) / 1000) * availableParallelism();
      const timed = seconds.slice(plan.settle);
      const values = plan.amount === null ? timed : timed.map((took) => plan.amount / took);
      entry.rounds.push(values);
      entry.peakBytes = peak_bytes;
      seen.push(`${one} ${number(summary(values).median)}`);
    }
    say(`${name}: round ${round} of ${rounds}: ${seen.join(', ')} ${plan.unit}`);
  }
  for (const { contestant } of Object.values(contestants)) stop(contestant);
  return contestants;
}

/** How long people wait: for the help, and for the first training step of the main recipe, each a fresh process. */
async function measureStart(folder, { rounds, threads }) {
  const dunwu = join(root, 'packages', 'dunwu', 'bin', 'dunwu.js');
  const env = { ...process.env, OMP_NUM_THREADS: String(threads) };
  const help = [];
  const step = [];
  // The first of each reads its files from the disk.
  for (let round = 0; round <= rounds; round++) {
    const began = performance.now();
    await promisify(execFile)(process.execPath, [dunwu, '--help'], { env });
    if (round > 0) help.push((performance.now() - began) / 1000);
  }
  for (let round = 0; round <= rounds; round++) {
    const seconds = await firstStep(dunwu, join(folder, `run-${round}`), env);
    if (round > 0) step.push(seconds);
  }
  say(`start: help ${number(summary(help).median)} s, first training step ${number(summary(step).median)} s`);
  return [
    entryOf('dunwu --help', '–', 's', START_REACH.help, { ours: [help] }),
    entryOf('first training step after start', 'float32', 's', START_REACH.step, { ours: [step] }),
  ];
}

/** Seconds from the start of the main recipe until its metrics have a loss. */
async function firstStep(dunwu, out, env) {
  const began = performance.now();
  const args = [dunwu, 'run', join(root, 'recipes', 'r1-mini.yaml'), '--out', out];
  const child = spawn(process.execPath, args, { env, stdio: ['ignore', 'ignore', 'pipe'] });
  let errors = '';
  child.stderr.on('data', (data) => {
    errors += data;
  });
  const ended = new Promise((resolve) => {
    child.on('close', resolve);
  });
  const contestant = { stop: () => child.kill('SIGKILL') };
  running.add(contestant);
  try {
    while (!readIfThere(join(out, 'metrics.jsonl')).includes('"loss":')) {
      if (child.exitCode !== null || child.signalCode !== null)
        throw new Error(`dunwu run ended before its first training step:\n${errors}`);
      await sleep(5);
    }
    return (performance.now() - began) / 1000;
  } finally {
    stop(contestant);
    await ended;
  }
}

function readIfThere(file) {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

/**
 * One entry of the result, and the spread of the best peer's ratio over the rounds for the table. In seconds or percent the
 * reach is one of ours alone, in the unit; null where there is none.
 */
function entryOf(work, dtype, unit, reach, samples) {
  const { ours, ...peers } = samples;
  const rate = unit === 'tokens/s';
  const memory = unit === 'MiB';
  const share = unit === '%';
  const each = (pick) => Object.fromEntries(Object.entries(peers).map(([name, rounds]) => [name, pick(rounds)]));
  const measured = (rounds) => summary(rounds.flat());
  // Of memory it is ours ÷ theirs, as for a rate, although less is better.
  const ratioOf = (mine, theirs) => advantage(mine, theirs, rate || memory);
  const ratio = each((rounds) => ratioOf(measured(ours).median, measured(rounds).median));
  const names = Object.keys(peers).sort((a, b) => (memory ? ratio[b] - ratio[a] : ratio[a] - ratio[b]));
  const best = names[0] ?? null;
  const alone = unit === 's';
  const value = alone || share ? measured(ours).median : best === null ? null : ratio[best];
  const atMost = alone || memory;
  return {
    entry: {
      work,
      dtype,
      unit,
      ours: measured(ours),
      peers: each(measured),
      ratio,
      best,
      reach: reach === null ? null : { [atMost ? 'most' : 'least']: reach },
      reached: value === null || reach === null ? null : atMost ? value <= reach : value >= reach,
    },
    range: best === null ? null : roundAdvantage(ours, peers[best], rate || memory),
  };
}

/** @param limits of the device, where how much of it is used is told */
function entriesOf(name, contestants, limits) {
  const { dtype, unit, reach } = WORKS[name];
  const each = (pick) => Object.fromEntries(Object.entries(contestants).map(([one, entry]) => [one, pick(entry)]));
  const speed = each(({ rounds }) => rounds);
  const memory = each(({ peakBytes }) => [[peakBytes / 2 ** 20]]);
  return [
    entryOf(name, dtype, unit, reach, speed),
    ...(limits === null ? [] : shareOf(name, contestants.ours, limits)),
    entryOf(`${name}, memory`, dtype, 'MiB', MEMORY_REACH, memory),
  ];
}

/** How much of what the device can do ours uses, in percent: of its operations in training, of its bandwidth in decoding. */
function shareOf(name, { rounds }, { flops, bandwidth, asked }) {
  const { kind, model, dtype, amount, share } = WORKS[name];
  if (kind === 'grpo') return [];
  const training = kind === 'training';
  const most = training ? asked[model].training / flops[dtype] : asked[model].generation[dtype] / bandwidth;
  const shares = rounds.map((rates) => rates.map((rate) => (100 * most * rate) / amount));
  return [entryOf(`${name}, of ${training ? 'peak FLOP/s' : 'bandwidth'}`, dtype, '%', share, { ours: shares })];
}

function resultRows(results) {
  const header = ['work', 'ours in', 'unit', 'ours', ...SETTINGS.map((name) => `peer ${name}`), '× best', 'reach'];
  const rows = results.map(({ entry, range }) => {
    const { best, reach, unit } = entry;
    const spreadText =
      range === null || range.min === range.max ? '' : ` (${range.min.toFixed(2)}–${range.max.toFixed(2)})`;
    const goal = reach?.least === undefined ? `≤ ${reach?.most}` : `≥ ${reach.least}`;
    return [
      entry.work,
      entry.dtype,
      unit,
      spread(entry.ours),
      ...SETTINGS.map((name) => (entry.peers[name] === undefined ? '–' : spread(entry.peers[name]))),
      best === null ? '–' : `${entry.ratio[best].toFixed(2)}${spreadText}`,
      reach === null ? '–' : `${goal} ${['s', '%'].includes(unit) ? unit : '×'}`,
    ];
  });
  return [header, ...rows];
}

/** What the device can do at most. @throws Error when there is none */
async function limitsOf({ threads, device }) {
  const { stdout } = await promisify(execFile)(process.execPath, [join(here, 'ours.mjs'), 'limits', threads, device]);
  const limits = JSON.parse(stdout);
  if (limits === null) {
    throw new Error(
      `--device ${device}: libtorch sees no such device here ("dunwu doctor" shows what there is, docs/gpu.md why)`,
    );
  }
  return limits;
}

async function main() {
  const options = readOptions(process.argv.slice(2));
  if (options.help) {
    console.log(HELP);
    return;
  }
  const began = performance.now();
  const limits = options.device === 'cpu' ? null : await limitsOf(options);
  const load = { others: 0, possible: 0 };
  const versions = await peerVersions(options.python);
  for (const name of options.works) {
    const missing = (WORKS[name]?.needs ?? []).filter((needed) => versions[needed] === undefined);
    if (missing.length === 0) continue;
    say(
      `${name}: no peers, as ${options.python} has no ${missing.join(', no ')}. To install them:\n  ${INSTALL_PEERS}`,
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
    for (const model of new Set(options.works.flatMap((name) => WORKS[name]?.model ?? []))) {
      mkdirSync(join(folder, model));
      writeFileSync(join(folder, model, 'inputs.json'), JSON.stringify(makeInputs(workload[model])));
      const args = [join(here, 'ours.mjs'), 'write-model', join(folder, model, 'model'), model];
      await promisify(execFile)(process.execPath, args);
    }
    const results = [];
    let described = '';
    for (const name of options.works) {
      if (WORKS[name] === null) {
        results.push(...(await measureStart(folder, options)));
        continue;
      }
      const problem = await problemOf(WORKS[name], options);
      if (problem !== null) {
        say(`${name}: left out: ${problem}`);
        if (options.named) process.exitCode = 1;
        continue;
      }
      const contestants = await measure(name, folder, versions, load, options);
      results.push(...entriesOf(name, contestants, limits));
      described = contestants.ours.about.describes;
    }
    if (results.length === 0) return;
    const peers = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
    const rows = resultRows(results);
    console.log(options.markdown ? markdownTable(rows) : table(rows));
    console.log(
      `\nmedian (minimum–maximum); × best: times better than the best peer, of memory ours ÷ theirs\n\n` +
        machineLine(options.threads),
    );
    if (limits !== null) {
      const rate = (value, unit) => `${number(value / 1e12)} ${unit}`;
      console.log(
        `${gpuLine()}; measured: ${rate(limits.flops.float32, 'TFLOP/s in float32')}, ` +
          `${rate(limits.flops.bfloat16, 'in bfloat16')}, ${rate(limits.bandwidth, 'TB/s')}`,
      );
    }
    if (described !== '') console.log(`\nours: ${described}; peers: ${peers.length > 0 ? peers.join(', ') : 'none'}`);
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
