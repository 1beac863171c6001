import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

/**
 * The folder of CUDA's headers for a CUDA build of libtorch, or null: those that pip installed beside it, then a toolkit
 * (CUDA_HOME, CUDA_PATH, /usr/local/cuda). Of the same major version as libtorch: some of its classes look different with another.
 */
export function cudaHeaders(libtorch, environment = process.env, toolkit = '/usr/local/cuda') {
  if (!libtorch.cuda) return null;
  const packages = path.join(libtorch.root, '../nvidia');
  const beside = existsSync(packages) ? readdirSync(packages).sort() : [];
  const folders = [
    ...beside.map((name) => path.join(packages, name)),
    ...[environment.CUDA_HOME, environment.CUDA_PATH, toolkit].filter(Boolean),
  ].map((folder) => path.join(folder, 'include'));
  const wanted = libtorch.version.match(/\+cu(\d+)\d$/)?.[1];
  return folders.find((folder) => isComplete(folder) && [undefined, majorOf(folder)].includes(wanted)) ?? null;
}

const isComplete = (folder) =>
  ['cuda_runtime_api.h', 'crt/host_defines.h'].every((name) => existsSync(path.join(folder, name)));

/** `#define CUDART_VERSION 13000` is 13. */
function majorOf(folder) {
  const text = readFileSync(path.join(folder, 'cuda_runtime_api.h'), 'utf8');
  return text.match(/^#define CUDART_VERSION\s+(\d+)\d{3}$/m)?.[1];
}
