import { rmSync } from 'node:fs';
import { constants } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { addonCurrent, buildAddon } from './addon.mjs';
import { explainSystemError, SetupFailure } from './failure.mjs';
import { findLibtorch, rememberedLibtorch } from './libtorch.mjs';
import { takeLock } from './lock.mjs';
import { installPackages, packagesOutdated } from './node-packages.mjs';
import { Report, seconds } from './report.mjs';
import { stopChildren } from './run.mjs';
import { compileTypescript, typescriptCurrent } from './typescript.mjs';

const ROOT = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '');

const USAGE = `node scripts/setup.mjs [--quiet] [--check] [--force]
  --quiet  say only what is being done, nothing when all is up to date
  --check  change nothing; exit with 1 when something is missing or out of date
  --force  look for libtorch again, and build again even when up to date`;

const SOURCES = {
  DUNWU_TORCH: 'named by DUNWU_TORCH',
  python3: 'the torch that python3 imports',
  wheel: 'fetched wheel',
};

const describe = (libtorch) =>
  `libtorch ${libtorch.version}${libtorch.cuda ? ' with CUDA' : ''}, ${SOURCES[libtorch.source]} (${libtorch.root})`;

/** What each step would do now; all false and null when there is nothing to do. Changes nothing, starts no program. */
function survey() {
  const packages = packagesOutdated(ROOT);
  const libtorch = rememberedLibtorch(ROOT);
  const addon = libtorch !== null && packages === null && addonCurrent(ROOT, libtorch);
  const typescript = packages === null && typescriptCurrent(ROOT);
  return { packages, libtorch, addon, typescript, done: packages === null && libtorch !== null && addon && typescript };
}

/** Runs the steps. @returns the exit code: 0 ready, 1 something is missing, 2 wrong option */
export async function main(options) {
  const known = ['--quiet', '--check', '--force', '--help'];
  const unknown = options.find((option) => !known.includes(option));
  if (unknown !== undefined || options.includes('--help')) {
    console.log(unknown === undefined ? USAGE : `setup: unknown option ${unknown}\n${USAGE}`);
    return unknown === undefined ? 0 : 2;
  }
  const report = new Report({ quiet: options.includes('--quiet') });
  if (process.platform === 'win32') {
    return fail(
      report,
      new SetupFailure('Windows is supported through WSL: wsl --install, then clone and run it there.'),
    );
  }
  const force = options.includes('--force');
  const before = survey();
  if (options.includes('--check')) return check(report, before);
  if (before.done && !force) {
    report.same(`up to date: Node ${process.versions.node}, ${describe(before.libtorch)} [${report.elapsed()}]`);
    return 0;
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    process.once(signal, () => {
      stopChildren();
      report.step('interrupted; what was finished is kept, run it again to go on');
      process.exit(128 + constants.signals[signal]);
    });
  }
  try {
    const release = await takeLock(path.join(ROOT, '.torch/setup.lock'), (pid) => {
      report.step(
        `waiting for another set-up in this folder (process ${pid}; if there is none, remove .torch/setup.lock) …`,
      );
    });
    try {
      await work(report, force);
    } finally {
      release();
    }
    report.step(`ready [${report.elapsed()}]`);
    return 0;
  } catch (error) {
    const explained = explainSystemError(error, 'setting up');
    if (explained instanceof SetupFailure) return fail(report, explained);
    throw error;
  }
}

/** The steps in order, each looking again: another set-up may just have done the work. */
async function work(report, force) {
  report.same(`Node ${process.versions.node}`);

  // Two downloads that do not need each other.
  const [, libtorch] = await bothOrNone(preparePackages(report), prepareLibtorch(report, force));

  if (!force && addonCurrent(ROOT, libtorch)) report.same('addon: up to date');
  else {
    if (force) rmSync(path.join(ROOT, 'packages/torch/build/objects'), { recursive: true, force: true });
    await buildAddon(ROOT, libtorch, report);
  }

  if (!force && typescriptCurrent(ROOT)) report.same('TypeScript: up to date');
  else {
    report.step('TypeScript: compiling (tsc -b) …');
    const started = performance.now();
    await compileTypescript(ROOT);
    report.step(`TypeScript: compiled in ${seconds(performance.now() - started)}`);
  }
}

/** Waits for both; when one fails, what the other one started is stopped. */
async function bothOrNone(...steps) {
  try {
    return await Promise.all(steps);
  } catch (error) {
    stopChildren();
    await Promise.allSettled(steps);
    throw error;
  }
}

async function preparePackages(report) {
  const outdated = packagesOutdated(ROOT);
  if (outdated === null) {
    report.same('npm packages: up to date');
    return;
  }
  report.step(`npm packages: ${outdated}; npm ci …`);
  const started = performance.now();
  await installPackages(ROOT);
  report.step(`npm packages: installed in ${seconds(performance.now() - started)}`);
}

async function prepareLibtorch(report, force) {
  const remembered = force ? null : rememberedLibtorch(ROOT);
  if (remembered !== null) {
    report.same(`libtorch: ${describe(remembered)}`);
    return remembered;
  }
  const libtorch = await findLibtorch(ROOT, report);
  report.step(`libtorch: using ${describe(libtorch)}`);
  return libtorch;
}

function check(report, now) {
  const line = (name, good, bad) => report.same(`${name}: ${good ? 'up to date' : bad}`);
  line('npm packages', now.packages === null, now.packages);
  report.same(`libtorch: ${now.libtorch === null ? 'to be looked for' : describe(now.libtorch)}`);
  line('addon', now.addon, 'to be built');
  line('TypeScript', now.typescript, 'to be compiled');
  return now.done ? 0 : 1;
}

function fail(report, failure) {
  const [first, ...rest] = failure.lines();
  console.error(`${report.paint(31, 'setup: failed:')} ${first}${rest.map((line) => `\n${line}`).join('')}`);
  return 1;
}
