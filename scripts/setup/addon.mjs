import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
} from 'node:fs';
import { availableParallelism, freemem, tmpdir } from 'node:os';
import path from 'node:path';
import { compilerCommand, compilerIdentity, processorIdentity, requireCompiler } from './compiler.mjs';
import { cudaHeaders } from './cuda-headers.mjs';
import { explainSystemError, SetupFailure } from './failure.mjs';
import { fileIdentity, hash, readJson, writeJson } from './files.mjs';
import { cudaFailure, libraryName } from './libtorch.mjs';
import { seconds } from './report.mjs';
import { run } from './run.mjs';

const COMMON_FLAGS = [
  '-std=c++20',
  '-O3',
  '-fPIC',
  '-fvisibility=hidden',
  // As libtorch itself is built: some of its classes have another layout without it.
  '-DNDEBUG',
  '-DNODE_GYP_MODULE_NAME=dunwu_torch',
  '-D_GLIBCXX_USE_CXX11_ABI=1',
];
/** One file of libtorch's headers takes this much memory to compile. */
const MEMORY_PER_JOB = 1.5e9;
/** Objects of other settings that are kept, so that going back and forth between two libtorchs compiles nothing. */
const KEPT_OBJECTS = 3;

const folders = (root) => {
  const torch = path.join(root, 'packages/torch');
  return {
    native: path.join(torch, 'native'),
    build: path.join(torch, 'build'),
    objects: path.join(torch, 'build/objects'),
  };
};
const addonFile = (root) => path.join(folders(root).build, 'dunwu_torch.node');
const infoFile = (root) => path.join(folders(root).build, 'build-info.json');

/** The .cpp files of native/ and native/kernels/, and those of native/cuda/ where there are CUDA's headers. */
export function nativeSources(root, headers = null) {
  const { native } = folders(root);
  return ['', 'kernels', ...(headers === null ? [] : ['cuda'])].flatMap((sub) => {
    const folder = path.join(native, sub);
    if (!existsSync(folder)) return [];
    return readdirSync(folder)
      .filter((name) => name.endsWith('.cpp'))
      .sort()
      .map((name) => path.join(folder, name));
  });
}

/** A source and the files beside it that it includes, directly or not. */
export function withHeaders(source, seen = new Set()) {
  if (seen.has(source)) return seen;
  seen.add(source);
  for (const [, name] of readFileSync(source, 'utf8').matchAll(/^\s*#\s*include\s*"([^"]+)"/gm)) {
    const header = path.resolve(path.dirname(source), name);
    if (existsSync(header)) withHeaders(header, seen);
  }
  return seen;
}

const isKernel = (source) => path.basename(path.dirname(source)) === 'kernels';
const isCuda = (source) => path.basename(path.dirname(source)) === 'cuda';

/** Kernels are compiled for the processor here; the rest waits for libtorch and gains nothing from it. */
function processorFlags() {
  return process.arch === 'arm64' ? ['-mcpu=native'] : ['-march=native', '-mprefer-vector-width=512'];
}

/** OpenMP's flags, such that the addon uses the one runtime that libtorch loads: two would fight over the cores. */
function openmp(libtorch, compilerKind) {
  const near = (folder, pattern) =>
    existsSync(folder)
      ? readdirSync(folder)
          .filter((name) => pattern.test(name))
          .map((name) => path.join(folder, name))
      : [];
  const lib = path.join(libtorch.root, 'lib');
  if (process.platform === 'darwin') {
    const runtime = near(lib, /^libomp\.dylib$/)[0];
    const header = existsSync(path.join(libtorch.root, 'include/omp.h'));
    return runtime !== undefined && header
      ? { compile: ['-Xpreprocessor', '-fopenmp'], link: [runtime] }
      : { compile: [], link: [] };
  }
  // Clang's own runtime would be a second one; without OpenMP our loops run on one thread, libtorch's on all.
  if (compilerKind === 'clang') return { compile: [], link: [] };
  const runtime = near(lib, /^libgomp.*\.so/)[0] ?? near(`${libtorch.root}.libs`, /^libgomp.*\.so/)[0];
  if (runtime === undefined) return { compile: ['-fopenmp'], link: ['-fopenmp'] };
  return { compile: ['-fopenmp'], link: [runtime, '-Xlinker', '-rpath', '-Xlinker', path.dirname(runtime)] };
}

function compileFlags(root, libtorch, kind, source) {
  const include = path.join(libtorch.root, 'include');
  return [
    ...COMMON_FLAGS,
    ...(isKernel(source) ? processorFlags() : []),
    ...openmp(libtorch, kind).compile,
    ...[
      path.join(root, 'node_modules/node-api-headers/include'),
      include,
      path.join(include, 'torch/csrc/api/include'),
      ...(isCuda(source) ? [cudaHeaders(libtorch)] : []),
    ].map((folder) => `-I${folder}`),
  ];
}

/** The words of the command that compiles a source, up to the source. */
export function compileCommand(root, libtorch, compiler, source) {
  return [...compiler.command, ...compileFlags(root, libtorch, compiler.kind, source)];
}

export function linkFlags(libtorch, kind) {
  const lib = path.join(libtorch.root, 'lib');
  const names = ['torch', 'torch_cpu', 'c10', ...(libtorch.cuda ? ['torch_cuda', 'c10_cuda'] : [])];
  const present = names.filter((name) => existsSync(path.join(lib, libraryName(name))));
  return [
    ...(process.platform === 'darwin'
      ? ['-bundle', '-undefined', 'dynamic_lookup']
      : ['-shared', '-Wl,--no-as-needed']),
    `-L${lib}`,
    ...present.map((name) => `-l${name}`),
    ...openmp(libtorch, kind).link,
    ...['-Xlinker', '-rpath', '-Xlinker', lib],
  ];
}

const libtorchKey = (libtorch) => [
  libtorch.root,
  libtorch.version,
  libtorch.identity,
  libtorch.cuda,
  cudaHeaders(libtorch),
];

/** What the addon depends on, apart from the compiler. */
function addonKey(root, libtorch) {
  const { native } = folders(root);
  const sources = nativeSources(root, cudaHeaders(libtorch));
  const files = [...new Set(sources.flatMap((source) => [...withHeaders(source)]))].sort();
  const kernels = sources.some(isKernel) ? processorIdentity() : '';
  const headers = readJson(path.join(root, 'node_modules/node-api-headers/package.json'))?.version ?? '';
  const contents = files.flatMap((file) => [path.relative(native, file), readFileSync(file)]);
  return hash(root, libtorchKey(libtorch), kernels, headers, COMMON_FLAGS, ...contents);
}

/** Whether the addon was built from these sources with this libtorch, processor and compiler (if one is here at all). */
export function addonCurrent(root, libtorch) {
  const info = readJson(infoFile(root));
  if (info === null || fileIdentity(addonFile(root)) !== info.addon) return false;
  const compiler = compilerIdentity();
  return info.key === addonKey(root, libtorch) && (compiler === null || compiler === info.compiler.identity);
}

/** How many files to compile at once: as many as there are cores and memory for. */
export function jobs(files, cores = availableParallelism(), memory = freemem()) {
  return Math.max(1, Math.min(files, cores, Math.floor(memory / MEMORY_PER_JOB)));
}

/** Compiles what changed, links, and tries the result before it takes the old addon's place. */
export async function buildAddon(root, libtorch, report) {
  const { objects } = folders(root);
  const sources = nativeSources(root, cudaHeaders(libtorch));
  if (sources.length === 0)
    throw new SetupFailure(`There are no sources in ${folders(root).native}: is the clone complete? (git status)`);
  if (libtorch.cuda && cudaHeaders(libtorch) === null) {
    report.warn(
      "CUDA's headers were not found: decoding will launch its operators one by one, without CUDA graphs " +
        '(docs/gpu.md: CUDA_HOME, or pip install nvidia-cuda-runtime nvidia-cuda-crt)',
    );
  }
  const scratch = mkdtempSync(path.join(tmpdir(), 'dunwu-setup-'));
  try {
    mkdirSync(objects, { recursive: true });
    const compiler = await requireCompiler(scratch);
    if (compiler.kind === 'clang' && process.platform === 'linux') {
      report.warn(
        'compiled with Clang, the fused kernels use one thread (its OpenMP is not the one of libtorch); GCC has no such limit: CXX=g++',
      );
    }
    const key = addonKey(root, libtorch);
    const outputs = await compileAll(root, libtorch, compiler, sources, objects, report);
    await link(root, libtorch, compiler, outputs, report);
    writeJson(infoFile(root), {
      key,
      addon: fileIdentity(addonFile(root)),
      torch: { path: libtorch.root, version: libtorch.version, source: libtorch.source, cuda: libtorch.cuda },
      compiler: {
        command: compiler.command.join(' '),
        version: compiler.version,
        identity: compilerIdentity(compilerCommand()),
      },
      flags: [...COMMON_FLAGS, ...openmp(libtorch, compiler.kind).compile].join(' '),
      kernelFlags: processorFlags(),
      processor: processorIdentity(),
      node: process.versions.node,
    });
    prune(objects);
  } catch (error) {
    throw explainSystemError(error, 'building the addon');
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

async function compileAll(root, libtorch, compiler, sources, objects, report) {
  const { native } = folders(root);
  const identity = compilerIdentity(compiler.command);
  const all = sources.map((source) => {
    const command = compileCommand(root, libtorch, compiler, source);
    const contents = [...withHeaders(source)].sort().map((file) => readFileSync(file));
    const key = hash(
      identity,
      command,
      libtorchKey(libtorch),
      isKernel(source) ? processorIdentity() : '',
      ...contents,
    );
    const name = path
      .relative(native, source)
      .replace(/\//g, '-')
      .replace(/\.cpp$/, '');
    return {
      source,
      command,
      name: path.relative(native, source),
      object: path.join(objects, `${name}.${key.slice(0, 16)}.o`),
    };
  });
  const now = new Date();
  // The largest first: it would hold up the end when begun last.
  const missing = all
    .filter(({ object }) => !existsSync(object))
    .sort((a, b) => statSync(b.source).size - statSync(a.source).size);
  for (const { object } of all) if (existsSync(object)) utimesSync(object, now, now);
  const parallel = jobs(missing.length);
  if (missing.length > 0)
    report.step(
      `addon: compiling ${missing.length} of ${all.length} files with ${compiler.version}, ${parallel} at a time …`,
    );
  const queue = [...missing];
  let failure = null;
  let done = 0;
  const worker = async () => {
    for (let job = queue.shift(); job !== undefined && failure === null; job = queue.shift()) {
      const started = performance.now();
      const temporary = `${job.object}.${process.pid}.tmp`;
      const [program, ...flags] = job.command;
      const result = await run(program, [...flags, '-c', job.source, '-o', temporary], {
        limit: 20 * 60_000,
      });
      if (result.code !== 0) {
        rmSync(temporary, { force: true });
        failure ??= compileFailure(job, result, compiler);
        return;
      }
      renameSync(temporary, job.object);
      done += 1;
      report.step(
        `addon: compiled ${job.name} in ${seconds(performance.now() - started)} (${done} of ${missing.length})`,
      );
    }
  };
  await Promise.all(Array.from({ length: parallel }, worker));
  if (failure !== null) throw failure;
  return all.map(({ object }) => object);
}

function compileFailure(job, result, compiler) {
  if (/No space left/i.test(result.output))
    return Object.assign(new Error('disk full'), { code: 'ENOSPC', path: job.object });
  const header = result.output.match(/fatal error: '?([^':\s]+)'?(?:: No such file| file not found)/)?.[1];
  const killed = result.code === null || /Killed|internal compiler error.*signal/i.test(result.output);
  let what = `${job.name} does not compile`;
  if (header !== undefined) what = `${job.name} does not compile: the header ${header} is missing`;
  else if (killed)
    what = `the compiler was killed at ${job.name}${result.stopped ? ` (${result.stopped})` : ', most likely for want of memory (it needs about 2 GB)'}`;
  return new SetupFailure(`The addon could not be built: ${what}.`, {
    detail: `${compiler.version}\n${errorLines(result.output)}`,
    install: header === undefined ? null : 'compiler',
    hints:
      header === undefined
        ? []
        : ["If it is one of libtorch's, the libtorch folder is incomplete: remove .torch, or check DUNWU_TORCH."],
  });
}

/** The lines around the first errors: C++ messages run to thousands of lines. */
function errorLines(output) {
  const lines = output.split('\n');
  const first = lines.findIndex((line) => /\b(fatal )?error\b/.test(line));
  return lines.slice(Math.max(0, first), Math.max(0, first) + 20).join('\n');
}

async function link(root, libtorch, compiler, outputs, report) {
  const started = performance.now();
  const final = addonFile(root);
  const temporary = path.join(path.dirname(final), `linking-${process.pid}.node`);
  try {
    const [program, ...first] = compiler.command;
    const linked = await run(program, [...first, ...outputs, '-o', temporary, ...linkFlags(libtorch, compiler.kind)], {
      limit: 5 * 60_000,
    });
    if (linked.code !== 0) {
      if (/No space left/i.test(linked.output))
        throw Object.assign(new Error('disk full'), { code: 'ENOSPC', path: temporary });
      throw new SetupFailure(`The addon could not be linked with libtorch ${libtorch.version} in ${libtorch.root}.`, {
        detail: linked.output,
      });
    }
    const runtimes = await tryAddon(temporary, libtorch);
    if (runtimes.length > 1)
      report.warn(`two OpenMP runtimes are loaded (${runtimes.join(', ')}): threads will compete`);
    renameSync(temporary, final);
    report.step(
      `addon: linked with libtorch ${libtorch.version} and loaded in ${seconds(performance.now() - started)}`,
    );
  } finally {
    rmSync(temporary, { force: true });
  }
}

/** Loads the addon in a process of its own. @returns the OpenMP runtimes that came with it (Linux) */
async function tryAddon(file, libtorch) {
  const code = `require(process.argv[1]);
    let maps = ''; try { maps = require('node:fs').readFileSync('/proc/self/maps', 'utf8'); } catch {}
    console.log(JSON.stringify([...new Set(maps.match(/\\/\\S*lib(?:gomp|iomp5|omp)[^\\/\\s]*\\.so\\S*/g) ?? [])]));`;
  const result = await run(process.execPath, ['-e', code, file], { limit: 120_000 });
  if (result.code === 0) return JSON.parse(result.stdout.trim().split('\n').at(-1));
  const message = result.stderr.match(/Error: (.*)/)?.[1] ?? (result.stderr.trim() || `exit code ${result.code}`);
  if (libtorch.cuda && /lib(cu|nv|nccl)\w*\.so/.test(message)) throw cudaFailure(libtorch, message);
  throw new SetupFailure(`The addon was built, but Node cannot load it: ${message}`, {
    hints: /GLIBC|CXXABI/.test(message)
      ? [
          'The C++ library that Node finds is older than the compiler; update the system, or set CXX to its own compiler.',
        ]
      : [],
  });
}

/** Keeps the last few objects of each source. */
function prune(objects) {
  const bySource = new Map();
  for (const name of readdirSync(objects)) {
    const file = path.join(objects, name);
    if (name.endsWith('.tmp')) rmSync(file, { force: true });
    else bySource.set(name.split('.')[0], [...(bySource.get(name.split('.')[0]) ?? []), file]);
  }
  for (const files of bySource.values()) {
    const newest = files.sort((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs);
    for (const file of newest.slice(KEPT_OBJECTS)) rmSync(file);
  }
}
