import { existsSync, readdirSync, realpathSync, statSync } from 'node:fs';
import path from 'node:path';
import { SetupFailure } from './failure.mjs';
import { hashFiles, readJson, writeJson } from './files.mjs';
import { installWithCuda, wantsCuda } from './libtorch-cuda.mjs';
import { readVersion } from './libtorch-version.mjs';
import { fetchWheel } from './libtorch-wheel.mjs';
import { run, which } from './run.mjs';

/** The release that is fetched when none is there. */
export const WHEEL_VERSION = '2.13.0';
const OLDEST = [2, 11];
const NEWEST = [2, 14];

const suffix = process.platform === 'darwin' ? 'dylib' : 'so';
export const libraryName = (name) => `lib${name}.${suffix}`;

/**
 * @typedef {object} Libtorch
 * @property {string} root folder with lib/ and include/
 * @property {string} version such as 2.13.0+cpu
 * @property {boolean} cuda whether the CUDA library is there
 * @property {'DUNWU_TORCH' | 'python3' | 'wheel'} source which of the three places it was found in
 * @property {string} identity changes when the library does, not when the same one is unpacked again
 */

/** True for 2.11 to 2.14, whatever the patch and the build suffix. */
export function supported(version) {
  const [major, minor] = version.split('.').map(Number);
  const order = (a, b) => a[0] - b[0] || a[1] - b[1];
  return order([major, minor], OLDEST) >= 0 && order([major, minor], NEWEST) <= 0;
}

const range = `${OLDEST.join('.')} to ${NEWEST.join('.')}`;

/**
 * Looks at a folder: `{ libtorch }` when it can be used, else `{ problem }`.
 * The folder may be a libtorch, a torch package, or the folder that holds one of them.
 */
export function inspect(folder, source) {
  const cpu = path.join('lib', libraryName('torch_cpu'));
  const root = [folder, path.join(folder, 'torch'), path.join(folder, 'libtorch')].find((each) =>
    existsSync(path.join(each, cpu)),
  );
  if (root === undefined) {
    const reason = existsSync(folder) ? `there is no ${cpu} in it` : 'there is no such folder';
    return { problem: `${folder}: ${reason}` };
  }
  const header = ['include/torch/csrc/api/include/torch/torch.h', 'include/ATen/ATen.h'].find(
    (name) => !existsSync(path.join(root, name)),
  );
  if (header !== undefined) return { problem: `${root}: the C++ headers are missing (no ${header})` };
  const version = readVersion(root);
  if (version === null)
    return { problem: `${root}: no version found (version.py, build-version or include/torch/headeronly/version.h)` };
  if (!supported(version)) return { problem: `${root}: libtorch ${version} is not supported; ${range} are` };
  return {
    libtorch: {
      root: realpathSync(root),
      version,
      cuda: existsSync(path.join(root, 'lib', libraryName('torch_cuda'))),
      source,
      identity: identityOf(root),
    },
  };
}

function identityOf(root) {
  const library = statSync(path.join(root, 'lib', libraryName('torch_cpu')), { throwIfNoEntry: false });
  if (library === undefined) return null;
  const notes = ['version.py', 'build-version', 'build-hash']
    .map((name) => path.join(root, name))
    .filter((file) => existsSync(file));
  return `${library.size}-${hashFiles(root, notes).slice(0, 12)}`;
}

/** What decides where to look; while it stays the same, the last answer holds and Python need not be asked again. */
function surroundings(environment = process.env) {
  const { DUNWU_TORCH, DUNWU_CUDA, VIRTUAL_ENV, CONDA_PREFIX, PYENV_VERSION, PYTHONPATH } = environment;
  return JSON.stringify([
    DUNWU_TORCH ?? '',
    which('python3') ?? '',
    VIRTUAL_ENV ?? '',
    CONDA_PREFIX ?? '',
    PYENV_VERSION ?? '',
    PYTHONPATH ?? '',
    ...(DUNWU_CUDA === undefined ? [] : [DUNWU_CUDA]),
  ]);
}

const memory = (root) => path.join(root, '.torch/located.json');

/** The libtorch of the last set-up, or null when there is none or the surroundings changed. @returns {Libtorch | null} */
export function rememberedLibtorch(root) {
  const last = readJson(memory(root));
  if (last === null || last.surroundings !== surroundings()) return null;
  const { libtorch } = last;
  const now = identityOf(libtorch.root);
  return now !== null && now === libtorch.identity && supported(libtorch.version) ? libtorch : null;
}

/** Folder of the torch that python3 would import, found without importing it (which takes seconds); or null. */
async function pythonTorch() {
  if (which('python3') === null) return null;
  const code =
    'import importlib.util as u; s = u.find_spec("torch"); print(s.submodule_search_locations[0] if s and s.origin else "")';
  const result = await run('python3', ['-c', code], { cwd: '/', limit: 20_000 });
  const folder = result.stdout.trim();
  return result.code === 0 && folder !== '' ? folder : null;
}

/** A wheel that an earlier set-up unpacked, with CUDA or without, or null. */
function unpackedWheel(root, cuda) {
  const store = path.join(root, '.torch');
  if (!existsSync(store)) return null;
  const found = readdirSync(store)
    .filter((name) => name.startsWith('torch-'))
    .map((name) => inspect(path.join(store, name, 'torch'), 'wheel').libtorch)
    .filter((libtorch) => libtorch !== undefined && libtorch.cuda === cuda);
  return found.find((libtorch) => libtorch.version.startsWith(WHEEL_VERSION)) ?? found[0] ?? null;
}

/**
 * Finds libtorch: DUNWU_TORCH, then the torch that python3 can import, then one in the project's .torch folder, which is fetched
 * when it is not there yet: with CUDA where there is a GPU, for the CPU otherwise, or when that cannot be had.
 * @returns {Promise<Libtorch>}
 */
export async function findLibtorch(root, report) {
  const libtorch = await search(root, report);
  const without = withoutCuda(libtorch);
  if (without !== null) report.warn(without);
  if (libtorch.cuda && libtorch.source === 'wheel') await requireCudaLibraries(libtorch);
  writeJson(memory(root), { surroundings: surroundings(), libtorch });
  return libtorch;
}

/**
 * What to say of a build without CUDA where CUDA is wanted; null where nothing is, or was already.
 * @throws SetupFailure when DUNWU_CUDA asks for it
 */
export function withoutCuda({ root, version, cuda, source }, { environment = process.env, wanted = wantsCuda() } = {}) {
  if (cuda || !wanted) return null;
  if (environment.DUNWU_CUDA === '1') {
    throw new SetupFailure(`DUNWU_CUDA is 1, and libtorch ${version} in ${root} is no CUDA build.`, {
      hints: [
        'Install torch with CUDA in a virtual environment, and stay in it:',
        `  python3 -m venv .venv && . .venv/bin/activate && pip install torch==${WHEEL_VERSION}`,
        'or unset DUNWU_CUDA, and the CPU build is used. docs/gpu.md has more.',
      ],
    });
  }
  if (source === 'wheel') return null; // withCuda has said why
  return `the GPU will not be used: libtorch ${version} in ${root} is no CUDA build; DUNWU_CUDA=1 takes another (docs/gpu.md)`;
}

async function search(root, report) {
  const named = process.env.DUNWU_TORCH;
  if (named) {
    const { libtorch, problem } = inspect(path.resolve(named), 'DUNWU_TORCH');
    if (libtorch) return libtorch;
    throw new SetupFailure(`DUNWU_TORCH cannot be used. ${problem}.`, {
      hints: [
        `It has to name a libtorch or torch folder of version ${range}, with lib/ and include/ in it:`,
        '  export DUNWU_TORCH="$(python3 -c \'import torch; print(torch.__path__[0])\')"',
        'or unset it (unset DUNWU_TORCH), and set-up fetches libtorch by itself.',
      ],
    });
  }
  const folder = await pythonTorch();
  if (folder !== null) {
    const { libtorch, problem } = inspect(folder, 'python3');
    if (libtorch && (libtorch.cuda || process.env.DUNWU_CUDA !== '1')) return libtorch;
    report.warn(
      `the torch that python3 imports is passed over. ${problem ?? `${libtorch.root} is no CUDA build, and DUNWU_CUDA is 1`}.`,
    );
  }
  if (wantsCuda()) {
    const installed = unpackedWheel(root, true) ?? (await withCuda(root, report));
    if (installed !== null) return installed;
  }
  const kept = unpackedWheel(root, false);
  if (kept !== null) return kept;
  const unpacked = await fetchWheel(root, WHEEL_VERSION, report);
  const { libtorch, problem } = inspect(unpacked, 'wheel');
  if (libtorch) return libtorch;
  throw new SetupFailure(`The wheel that pip fetched cannot be used. ${problem}.`, {
    hints: ['Remove the folder .torch and run it again.'],
  });
}

/** The CUDA build, installed now; or null, after a line that says why not. */
async function withCuda(root, report) {
  const installed = await installWithCuda(root, WHEEL_VERSION, report).catch((error) => {
    if (error instanceof SetupFailure) return { problem: error.message };
    throw error;
  });
  const { libtorch, problem } = installed.folder === undefined ? installed : inspect(installed.folder, 'wheel');
  if (libtorch?.cuda === true) return libtorch;
  report.warn(
    `the GPU will not be used: ${problem ?? `the torch ${libtorch.version} that pip gives is no CUDA build`}. To use it, install ` +
      'torch with CUDA in a virtual environment, stay in that, and run npm run setup -- --force (docs/gpu.md)',
  );
  return null;
}

/** A CUDA wheel loads only with NVIDIA's libraries beside it: say so now, not after a minute of compiling. */
async function requireCudaLibraries(libtorch) {
  const code = 'import ctypes, sys; ctypes.CDLL(sys.argv[1])';
  const result = await run('python3', ['-c', code, path.join(libtorch.root, 'lib', libraryName('torch_cpu'))], {
    limit: 120_000,
  });
  if (result.code === 0 || result.missing) return;
  throw cudaFailure(libtorch, result.stderr.trim().split('\n').at(-1) ?? '');
}

/** The failure for a CUDA build without NVIDIA's libraries: which ones, and the two ways to get them. */
export function cudaFailure(libtorch, detail) {
  const listed = readJson(path.join(libtorch.root, '../nvidia-requirements.json')) ?? [];
  return new SetupFailure(
    `libtorch ${libtorch.version} in ${libtorch.root} is a CUDA build, and NVIDIA's libraries are not there.`,
    {
      detail,
      hints: [
        ...(listed.length > 0 ? ['It needs:', ...listed.map((line) => `  ${line}`)] : []),
        'With an NVIDIA GPU, let pip install torch with all of them into a virtual environment, and stay in it:',
        `  python3 -m venv .venv && . .venv/bin/activate && pip install torch==${WHEEL_VERSION}`,
        'Without one, use the CPU build:',
        `  python3 -m venv .venv && . .venv/bin/activate && pip install torch==${WHEEL_VERSION} --index-url https://download.pytorch.org/whl/cpu`,
        'Then run it again: set-up uses the torch that python3 imports.',
      ],
    },
  );
}
