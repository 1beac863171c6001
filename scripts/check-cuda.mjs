#!/usr/bin/env node
// Compiles the sources that set-up compiles for a CUDA libtorch alone (packages/torch/native/cuda), on a machine without a GPU.
// Any libtorch has the headers of its CUDA classes; CUDA's own are given.   node scripts/check-cuda.mjs FOLDER
// FOLDER: with include/cuda_runtime_api.h in it: a CUDA toolkit, or of NVIDIA's pip packages nvidia/cu13 (docs/gpu.md)
import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { compileCommand, nativeSources } from './setup/addon.mjs';
import { requireCompiler } from './setup/compiler.mjs';
import { cudaHeaders } from './setup/cuda-headers.mjs';
import { findLibtorch } from './setup/libtorch.mjs';
import { Report } from './setup/report.mjs';
import { run } from './setup/run.mjs';

const root = fileURLToPath(new URL('..', import.meta.url)).replace(/\/$/, '');
const [folder] = process.argv.slice(2);
if (folder === undefined || !existsSync(folder)) {
  console.error('node scripts/check-cuda.mjs FOLDER    FOLDER: with include/cuda_runtime_api.h in it');
  process.exit(2);
}
process.env.CUDA_HOME = path.resolve(folder);
const found = await findLibtorch(root, new Report({ quiet: true }));
const libtorch = { ...found, cuda: true };
const headers = cudaHeaders(libtorch);
if (headers === null) {
  console.error(`${folder}: include/cuda_runtime_api.h and include/crt/host_defines.h are not both there`);
  process.exit(1);
}
// Builds without CUDA lack the note of how libtorch was built that its headers include.
const flags = found.cuda ? [] : ['-DC10_USING_CUSTOM_GENERATED_MACROS'];
const compiler = await requireCompiler(tmpdir());
for (const source of nativeSources(root, headers).filter((one) => path.basename(path.dirname(one)) === 'cuda')) {
  const [program, ...rest] = compileCommand(root, libtorch, compiler, source);
  const result = await run(program, [...rest, ...flags, '-fsyntax-only', source]);
  console.log(`${path.relative(root, source)}: ${result.code === 0 ? 'compiles' : 'does not compile'} (${headers})`);
  if (result.code !== 0) {
    console.error(result.output);
    process.exitCode = 1;
  }
}
