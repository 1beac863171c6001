import { cpSync, existsSync } from 'node:fs';
import path from 'node:path';
import { FOREIGN, inStore, moveToStore, reason, runPip } from './libtorch-wheel.mjs';
import { seconds } from './report.mjs';
import { which } from './run.mjs';

/** Headers that CUDA's own need and torch does not ask for (CUDA 13 has them in a package apart). */
const MORE_HEADERS = 'nvidia-cuda-crt==13.0.*';

/** torch with NVIDIA's libraries, and what pip holds beside it meanwhile. */
const SPACE = 15e9;

/** Whether this machine has an NVIDIA GPU, as far as that can be seen without its libraries. */
export function hasNvidiaGpu() {
  return (
    ['/dev/nvidia0', '/dev/nvidiactl', '/usr/lib/wsl/lib/libcuda.so.1'].some((file) => existsSync(file)) ||
    which('nvidia-smi') !== null
  );
}

/** Whether libtorch is to be a CUDA build: where there is a GPU, unless DUNWU_CUDA says otherwise (1 or 0). */
export function wantsCuda({ environment = process.env, platform = process.platform, gpu = hasNvidiaGpu() } = {}) {
  const { DUNWU_CUDA } = environment;
  if (DUNWU_CUDA === '1' || DUNWU_CUDA === '0') return DUNWU_CUDA === '1';
  return platform === 'linux' && gpu;
}

/** What pip is told, to install torch and all that it needs into a folder. */
export function installWords(version, target, foreign = []) {
  const options = ['--only-binary=:all:', '--no-compile', '--progress-bar', 'off', '--target', target];
  return ['install', ...options, ...foreign, `torch==${version}`];
}

/**
 * Lets pip install the CUDA build of torch into .torch/torch-VERSION, whole or not at all. pip, because the build is libtorch and a
 * dozen packages of NVIDIA's, which it looks for beside itself: ../../nvidia/cu13/lib from its own lib.
 * @returns {Promise<{ folder: string } | { problem: string }>} the folder of torch, or why there is none
 */
export function installWithCuda(root, version, report) {
  return inStore(root, SPACE, async (work, pythonHasWheel) => {
    const target = path.join(work, 'installed');
    const foreign = pythonHasWheel ? [] : FOREIGN;
    report.step(`libtorch: pip installs torch==${version} with CUDA, several GB …`);
    const started = performance.now();
    const result = await runPip(installWords(version, target, foreign), work, process.env, report);
    if (result.code !== 0) return { problem: reason(result) };
    const headers = [
      'install',
      '--no-deps',
      '--only-binary=:all:',
      '--target',
      path.join(work, 'headers'),
      MORE_HEADERS,
    ];
    const more = await runPip(headers, work, process.env, report);
    if (more.code === 0) mergeNvidia(path.join(work, 'headers'), target);
    const folder = moveToStore(work, target);
    report.step(`libtorch: installed in ${path.dirname(folder)} in ${seconds(performance.now() - started)}`);
    return { folder };
  });
}

/** pip does not add to a folder that a package is in already. */
function mergeNvidia(from, to) {
  const nvidia = path.join(from, 'nvidia');
  if (existsSync(nvidia)) cpSync(nvidia, path.join(to, 'nvidia'), { recursive: true });
}
