import { mkdirSync, readdirSync, renameSync, rmSync, statfsSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { explainSystemError, SetupFailure } from './failure.mjs';
import { fileIdentity, listFiles, readJson, writeJson } from './files.mjs';
import { readVersion } from './libtorch-version.mjs';
import { megabytes, seconds } from './report.mjs';
import { run, which } from './run.mjs';

const CPU_INDEX = 'https://download.pytorch.org/whl/cpu';
/** Until the first bytes arrive; a download that flows may take as long as it needs. */
const CONNECT_LIMIT = 40_000;
/** Without a new byte. */
const STALL_LIMIT = 60_000;
const UNPACKER = fileURLToPath(new URL('unpack_wheel.py', import.meta.url));

/**
 * Where pip is sent for the CPU build, in order. On Linux the public index serves the CUDA build: PyTorch's index of CPU builds comes
 * first.
 */
export function attempts(version, { platform = process.platform, noIndex = false } = {}) {
  const own = { label: "pip's own configuration", index: [], only: false };
  const cpu = { label: `PyTorch's CPU wheels (${CPU_INDEX})`, index: ['--index-url', CPU_INDEX], only: true };
  const all = platform !== 'linux' || noIndex ? [own] : [cpu, own];
  return all.map((each) => ({ ...each, requirement: `torch==${version}` }));
}

/** pip's settings of this machine: certificates and proxies stay in force when an index is asked alone. */
async function pipSettings() {
  const result = await run('python3', ['-m', 'pip', 'config', 'list'], { limit: 20_000 });
  const settings = {};
  for (const [, name, value] of result.stdout.matchAll(/^(?:global|download|install|:env:)\.([\w-]+)='(.*)'$/gm))
    settings[name] = value;
  return settings;
}

/** The environment in which pip asks the named index and nothing else. */
function onlyThisIndex(settings) {
  const environment = { ...process.env, PIP_CONFIG_FILE: '/dev/null' };
  for (const name of ['PIP_INDEX_URL', 'PIP_EXTRA_INDEX_URL', 'PIP_FIND_LINKS', 'PIP_NO_INDEX'])
    delete environment[name];
  for (const name of ['cert', 'client-cert', 'proxy', 'trusted-host']) {
    const variable = `PIP_${name.toUpperCase().replace('-', '_')}`;
    if (settings[name] !== undefined) environment[variable] ??= settings[name];
  }
  return environment;
}

const sizeOf = (folder) =>
  listFiles(folder).reduce((sum, file) => sum + Number(fileIdentity(file)?.split('-')[0] ?? 0), 0);

/** Options that let pip take wheels for another Python than the one that it runs in; libtorch itself does not depend on it. */
export const FOREIGN = ['--python-version', '3.12'];

/** One call of pip that works within a folder; stopped when nothing arrives there. */
export async function runPip(words, folder, environment, report) {
  const temporary = path.join(folder, 'pip');
  rmSync(temporary, { recursive: true, force: true });
  mkdirSync(temporary, { recursive: true });
  let bytes = 0;
  let lastByte = performance.now();
  let lastLine = performance.now();
  const stalled = (spent) => {
    const now = performance.now();
    const size = sizeOf(folder);
    if (size > bytes) {
      bytes = size;
      lastByte = now;
    }
    if (bytes > 0 && now - lastLine > 10_000) {
      lastLine = now;
      report.step(`libtorch: ${megabytes(bytes)} so far, ${megabytes((bytes / spent) * 1000)}/s`);
    }
    if (bytes === 0 && spent > CONNECT_LIMIT) return `no answer within ${seconds(CONNECT_LIMIT)}`;
    if (bytes > 0 && now - lastByte > STALL_LIMIT) return `nothing arrived for ${seconds(STALL_LIMIT)}`;
    return null;
  };
  const common = ['-m', 'pip', '--timeout', '10', '--retries', '0', '--disable-pip-version-check'];
  return run('python3', [...common, ...words], {
    cwd: '/',
    env: { ...environment, TMPDIR: temporary, PIP_RETRIES: '0', PIP_DEFAULT_TIMEOUT: '10' },
    stalled,
  });
}

/** Resolves with pip's result and the wheel's path or null. */
async function download(attempt, folder, environment, report, foreign = []) {
  const fixed = ['download', '--no-deps', '--only-binary=:all:', ...foreign, '--progress-bar', 'off', '--dest', folder];
  const result = await runPip([...fixed, ...attempt.index, attempt.requirement], folder, environment, report);
  const wheel = result.code === 0 ? readdirSync(folder).find((name) => /^torch-.*\.whl$/.test(name)) : undefined;
  return { result, wheel: wheel === undefined ? null : path.join(folder, wheel) };
}

/** The line of pip's output that says most. */
export function reason(result) {
  if (result.stopped !== null) return result.stopped;
  const lines = result.output.trim().split('\n');
  const network = lines.find((line) =>
    /Connection|timed out|Temporary failure|SSLError|ProxyError|40\d|50\d/.test(line),
  );
  return (network ?? lines.filter((line) => /^ERROR/.test(line)).at(-1) ?? lines.at(-1) ?? 'pip said nothing').slice(
    0,
    300,
  );
}

/** Where the wheel really came from, out of pip's output. */
function origin(output) {
  return output.match(/^\s*(?:Downloading|Processing|Using cached) (\S+)/m)?.[1] ?? 'pip';
}

/**
 * Fetches the torch wheel with pip and unpacks its libraries and headers to .torch/torch-VERSION, whole or not at all.
 * @returns {Promise<string>} the folder
 */
export async function fetchWheel(root, version, report) {
  // The wheel is 190 MB, unpacked 530 MB.
  return inStore(root, 1.5e9, async (work, pythonHasWheel) => {
    const wheel = await fetchFirst(version, pythonHasWheel, work, report);
    return unpack(wheel, work, report);
  });
}

/** Does what fetches libtorch: within .torch, in a folder of its own that is gone afterwards. */
export async function inStore(root, space, fetch) {
  const pythonHasWheel = await requirePip();
  const store = path.join(root, '.torch');
  mkdirSync(store, { recursive: true });
  removeLeftovers(store);
  requireSpace(store, space);
  const work = path.join(store, `unfinished-${process.pid}`);
  mkdirSync(work);
  try {
    return await fetch(work, pythonHasWheel);
  } catch (error) {
    throw explainSystemError(error, 'fetching libtorch');
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

async function fetchFirst(version, pythonHasWheel, work, report) {
  const settings = await pipSettings();
  const tried = [];
  for (const attempt of attempts(version, { noIndex: settings['no-index'] !== undefined })) {
    report.step(`libtorch: asking ${attempt.label} for ${attempt.requirement} …`);
    const environment = attempt.only ? onlyThisIndex(settings) : process.env;
    const started = performance.now();
    let answer = await download(attempt, work, environment, report);
    // When this Python is too new or too old for torch, another one's wheel serves.
    if (answer.wheel === null && !pythonHasWheel && answer.result.stopped === null) {
      answer = await download(attempt, work, environment, report, FOREIGN);
    }
    const spent = seconds(performance.now() - started);
    if (answer.wheel !== null) {
      report.step(`libtorch: got ${path.basename(answer.wheel)} from ${origin(answer.result.output)} in ${spent}`);
      return answer.wheel;
    }
    if (/No space left/i.test(answer.result.output))
      throw Object.assign(new Error('disk full'), { code: 'ENOSPC', path: work });
    const line = `${attempt.label}: no wheel after ${spent}: ${reason(answer.result)}`;
    report.step(`libtorch: ${line}`);
    tried.push(line);
  }
  const intelMac = process.platform === 'darwin' && process.arch === 'x64';
  throw new SetupFailure(`pip could not fetch torch ${version}.`, {
    detail: tried.join('\n'),
    hints: [
      ...(intelMac ? ['PyTorch no longer makes wheels for Macs with an Intel processor.'] : []),
      'No network? On a machine that has one:',
      `  python3 -m pip download --no-deps --only-binary=:all: torch==${version} --index-url ${CPU_INDEX}`,
      'bring the wheel here and let pip see it:',
      '  export PIP_FIND_LINKS=/folder/with/the/wheel',
      'or name an unpacked libtorch (https://pytorch.org/get-started/locally) or torch folder:',
      '  export DUNWU_TORCH=/folder/libtorch',
    ],
  });
}

/** Makes sure that there is a pip; resolves with whether torch has wheels for its Python. */
async function requirePip() {
  if (which('python3') === null) {
    throw new SetupFailure('python3 is missing: it fetches libtorch (and is needed for nothing else).', {
      install: 'python',
      hints: ['Or name an unpacked libtorch yourself: export DUNWU_TORCH=/folder/libtorch'],
    });
  }
  const pip = await run('python3', ['-m', 'pip', '--version'], { cwd: '/', limit: 30_000 });
  if (pip.code === 0) {
    const minor = Number(pip.stdout.match(/\(python 3\.(\d+)\)/)?.[1]);
    return minor >= 10 && minor <= 14;
  }
  throw new SetupFailure(`${which('python3')} has no pip: it fetches libtorch (and is needed for nothing else).`, {
    detail: pip.stderr.trim().split('\n').at(-1) ?? '',
    install: 'pip',
    hints: ['Or name an unpacked libtorch yourself: export DUNWU_TORCH=/folder/libtorch'],
  });
}

/** What an interrupted set-up left behind. Called under the lock, so nobody else is using it. */
function removeLeftovers(store) {
  for (const name of readdirSync(store)) {
    if (name.startsWith('unfinished-')) rmSync(path.join(store, name), { recursive: true, force: true });
  }
}

function requireSpace(store, needed) {
  const { bavail, bsize } = statfsSync(store);
  const free = bavail * bsize;
  if (free < needed) {
    throw new SetupFailure(
      `Too little disk space in ${store}: ${megabytes(free)} free, ${megabytes(needed)} needed for libtorch.`,
      {
        hints: ['Free some, or name a libtorch on another disk: export DUNWU_TORCH=/folder/libtorch'],
      },
    );
  }
}

/** Gives what was made in the working folder its name in the store. @returns the folder of torch */
export function moveToStore(work, made) {
  const version = readVersion(path.join(made, 'torch')) ?? 'unknown';
  const final = path.join(path.dirname(work), `torch-${version}`);
  rmSync(final, { recursive: true, force: true });
  renameSync(made, final);
  return path.join(final, 'torch');
}

async function unpack(wheel, work, report) {
  const target = path.join(work, 'unpacked');
  const started = performance.now();
  const result = await run('python3', [UNPACKER, wheel, target], { limit: 10 * 60_000 });
  if (result.code !== 0) {
    if (/No space left/i.test(result.output))
      throw Object.assign(new Error('disk full'), { code: 'ENOSPC', path: target });
    throw new SetupFailure(`Could not unpack ${path.basename(wheel)}${result.stopped ? ` (${result.stopped})` : ''}.`, {
      detail: result.stderr,
    });
  }
  const requirements = readJson(path.join(target, 'requirements.json')) ?? [];
  writeJson(
    path.join(target, 'nvidia-requirements.json'),
    requirements.filter((line) => /^(nvidia|cuda)-/.test(line)),
  );
  const final = moveToStore(work, target);
  report.step(
    `libtorch: unpacked lib and include to ${path.relative(process.cwd(), final) || final} in ${seconds(performance.now() - started)}`,
  );
  return final;
}
