import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { compileCommand, jobs, linkFlags, nativeSources, withHeaders } from './addon.mjs';
import { compilerCommand } from './compiler.mjs';
import { cudaHeaders } from './cuda-headers.mjs';
import { explainSystemError, family, installLines, SetupFailure } from './failure.mjs';
import { hash, hashFiles, listFiles } from './files.mjs';
import { inspect, libraryName, supported, withoutCuda } from './libtorch.mjs';
import { installWords, wantsCuda } from './libtorch-cuda.mjs';
import { readVersion } from './libtorch-version.mjs';
import { attempts } from './libtorch-wheel.mjs';
import { takeLock } from './lock.mjs';
import { packagesOutdated } from './node-packages.mjs';
import { run, which } from './run.mjs';

describe('withoutCuda', () => {
  const cpu = { root: '/t', version: '2.13.0+cpu', cuda: false, source: 'python3' as const, identity: null };
  it('warns of a CPU build where there is a GPU, and fails where CUDA is asked for', () => {
    expect(withoutCuda(cpu, { environment: {}, wanted: true })).toContain(
      'the GPU will not be used: libtorch 2.13.0+cpu in /t is no CUDA',
    );
    expect(() => withoutCuda(cpu, { environment: { DUNWU_CUDA: '1' }, wanted: true })).toThrow(
      'DUNWU_CUDA is 1, and libtorch 2.13.0+cpu in /t',
    );
    expect(withoutCuda(cpu, { environment: {}, wanted: false })).toBeNull();
    expect(withoutCuda({ ...cpu, cuda: true }, { environment: { DUNWU_CUDA: '1' }, wanted: true })).toBeNull();
  });
});

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'dunwu-setup-test-'));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

function put(files: Record<string, string>): void {
  for (const [name, text] of Object.entries(files)) {
    const file = path.join(folder, name);
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, text);
  }
}

describe('what is missing and how to install it', () => {
  it('names the system from os-release', () => {
    expect(family('linux', 'NAME="Ubuntu"\nID=ubuntu\nID_LIKE=debian\n')).toBe('debian');
    expect(family('linux', 'ID="rocky"\nID_LIKE="rhel centos fedora"\n')).toBe('fedora');
    expect(family('linux', 'ID=arch\n')).toBeNull();
    expect(family('darwin', '')).toBe('macos');
  });

  it("lists all three systems, this machine's first", () => {
    expect(installLines('compiler', 'fedora')).toEqual([
      '  Fedora:          sudo dnf install -y gcc-c++',
      '  Debian, Ubuntu:  sudo apt-get install -y g++',
      '  macOS:           xcode-select --install',
    ]);
  });

  it('puts message, detail, commands and hints in this order', () => {
    const failure = new SetupFailure('No pip.', { detail: 'a\nb\n', install: 'pip', hints: ['or else'] });
    const lines = failure.lines();
    expect(lines.slice(0, 4)).toEqual(['No pip.', '  | a', '  | b', 'To install it:']);
    expect(lines).toHaveLength(8);
    expect(lines.at(-1)).toBe('or else');
  });

  it('tells a full disk from other errors', () => {
    const full = explainSystemError(Object.assign(new Error('x'), { code: 'ENOSPC', path: '/p' }), 'unpacking');
    expect(full.message).toBe('The disk is full while unpacking (/p).');
    const other = new TypeError('bug');
    expect(explainSystemError(other, 'unpacking')).toBe(other);
  });
});

describe('libtorch', () => {
  it('supports 2.11 to 2.14, any patch and build', () => {
    for (const version of ['2.11.0', '2.13.0+cpu', '2.14.1+cu130', '2.12.0a0+git123'])
      expect(supported(version), version).toBe(true);
    for (const version of ['2.10.2', '2.9.0', '2.15.0', '1.13.0', '3.0.0', 'unknown'])
      expect(supported(version), version).toBe(false);
  });

  it('reads the version of a torch package, of a libtorch, and of headers alone', () => {
    put({
      'a/version.py': "__all__ = ['__version__', 'debug']\n__version__ = '2.13.0+cpu'\n",
      'b/build-version': '2.12.1+cu126\n',
    });
    const header = ['MAJOR 2', 'MINOR 14', 'PATCH 3'].map((part) => `#define TORCH_VERSION_${part}`).join('\n');
    put({ 'c/include/torch/headeronly/version.h': header, 'd/other': '' });
    const versions = ['a', 'b', 'c', 'd'].map((name) => readVersion(path.join(folder, name)));
    expect(versions).toEqual(['2.13.0+cpu', '2.12.1+cu126', '2.14.3', null]);
  });

  it('takes a libtorch, or the folder around it, and says what is wrong with others', () => {
    const root = path.join(folder, 'torch');
    expect(inspect(root, 'DUNWU_TORCH').problem).toContain('there is no such folder');
    put({ 'torch/version.py': "__version__ = '2.13.0+cu130'" });
    expect(inspect(root, 'DUNWU_TORCH').problem).toContain(`there is no ${path.join('lib', libraryName('torch_cpu'))}`);
    put({ [`torch/lib/${libraryName('torch_cpu')}`]: 'library' });
    expect(inspect(root, 'DUNWU_TORCH').problem).toContain('the C++ headers are missing');
    put({ 'torch/include/ATen/ATen.h': '', 'torch/include/torch/csrc/api/include/torch/torch.h': '' });
    expect(inspect(root, 'DUNWU_TORCH').libtorch).toMatchObject({
      version: '2.13.0+cu130',
      cuda: false,
      source: 'DUNWU_TORCH',
    });
    expect(inspect(folder, 'python3').libtorch?.root).toBe(inspect(root, 'python3').libtorch?.root);
    put({ [`torch/lib/${libraryName('torch_cuda')}`]: '' });
    expect(inspect(root, 'DUNWU_TORCH').libtorch?.cuda).toBe(true);
    put({ 'torch/version.py': "__version__ = '2.5.1'" });
    expect(inspect(root, 'DUNWU_TORCH').problem).toContain('libtorch 2.5.1 is not supported; 2.11 to 2.14 are');
  });

  it("asks PyTorch's CPU index first on Linux, else pip's own configuration", () => {
    const indexes = (options: object) => attempts('2.13.0', options).map(({ index }) => index.at(-1) ?? 'own');
    expect(indexes({ platform: 'linux' })).toEqual(['https://download.pytorch.org/whl/cpu', 'own']);
    expect(indexes({ platform: 'darwin' })).toEqual(['own']);
    expect(indexes({ platform: 'linux', noIndex: true })).toEqual(['own']);
  });
});

describe('a CUDA libtorch', () => {
  const headers = (place: string, version: number) => ({
    [`${place}/include/cuda_runtime_api.h`]: `#define CUDART_VERSION  ${version}\n`,
    [`${place}/include/crt/host_defines.h`]: '',
  });
  const libtorch = (version = '2.13.0+cu130') => ({
    root: path.join(folder, 'site/torch'),
    version,
    cuda: true,
    source: 'python3' as const,
    identity: '',
  });
  const found = (version?: string, environment = {}) => {
    const place = cudaHeaders(libtorch(version), environment, path.join(folder, 'toolkit'));
    return place === null ? null : path.relative(folder, place);
  };

  it("takes CUDA's headers beside it, then those of a toolkit, of its own major version", () => {
    put({ 'site/torch/lib/x': '' });
    expect(found()).toBeNull();
    put(headers('toolkit', 12080));
    expect(found()).toBeNull();
    expect(found('2.12.0+cu126')).toBe('toolkit/include');
    put(headers('home', 13010));
    expect(found('2.13.0+cu130', { CUDA_HOME: path.join(folder, 'home') })).toBe('home/include');
    put({ 'site/nvidia/cu13/include/cuda_runtime_api.h': '#define CUDART_VERSION  13000\n' });
    expect(found()).toBeNull(); // without crt/ it is not the whole
    put(headers('site/nvidia/cu13', 13000));
    expect(found('2.13.0+cu130', { CUDA_HOME: path.join(folder, 'home') })).toBe('site/nvidia/cu13/include');
    expect(cudaHeaders({ ...libtorch(), cuda: false }, {}, path.join(folder, 'toolkit'))).toBeNull();
  });

  it('is wanted where there is a GPU, unless DUNWU_CUDA says otherwise', () => {
    const wanted = (platform: string, gpu: boolean, DUNWU_CUDA?: string) =>
      wantsCuda({
        platform: platform as NodeJS.Platform,
        gpu,
        environment: DUNWU_CUDA === undefined ? {} : { DUNWU_CUDA },
      });
    expect(wanted('linux', true)).toBe(true);
    expect(wanted('linux', false)).toBe(false);
    expect(wanted('darwin', true)).toBe(false);
    expect(wanted('linux', true, '0')).toBe(false);
    expect(wanted('linux', false, '1')).toBe(true);
  });

  it('is what pip installs with all that it needs, into one folder', () => {
    const words = installWords('2.13.0', '/store/x');
    expect(words[0]).toBe('install');
    expect(words.at(-1)).toBe('torch==2.13.0');
    expect(words).not.toContain('--no-deps');
    expect(words[words.indexOf('--target') + 1]).toBe('/store/x');
  });

  it('compiles native/cuda with them, and links the CUDA libraries that are there', () => {
    put({ 'packages/torch/native/a.cpp': '', 'packages/torch/native/cuda/graph.cpp': '' });
    const names = (headers: string | null) => nativeSources(folder, headers).map((file: string) => path.basename(file));
    expect(names(null)).toEqual(['a.cpp']);
    expect(names('/include')).toEqual(['a.cpp', 'graph.cpp']);
    put(headers('site/nvidia/cu13', 13000));
    const compiler = { command: ['g++'], kind: 'gcc' as const, version: '' };
    const flag = `-I${path.join(folder, 'site/nvidia/cu13/include')}`;
    const flags = (name: string) =>
      compileCommand(folder, libtorch(), compiler, path.join(folder, 'packages/torch/native', name));
    expect(flags('cuda/graph.cpp')).toContain(flag);
    expect(flags('a.cpp')).not.toContain(flag);
    for (const name of ['torch', 'torch_cpu', 'torch_cuda', 'c10', 'c10_cuda'])
      put({ [`site/torch/lib/${libraryName(name)}`]: '' });
    const linked = (cuda: boolean) =>
      linkFlags({ ...libtorch(), cuda }, 'gcc').filter((one: string) => /^-l/.test(one));
    expect(linked(true)).toEqual(['-ltorch', '-ltorch_cpu', '-lc10', '-ltorch_cuda', '-lc10_cuda']);
    expect(linked(false)).toEqual(['-ltorch', '-ltorch_cpu', '-lc10']);
  });
});

describe('npm packages', () => {
  const lock = (packages: object) => JSON.stringify({ lockfileVersion: 3, packages });
  const zod = { version: '4.6.7', integrity: 'sha512-a' };

  it('are up to date when npm installed what the lock file says', () => {
    const wanted = {
      '': {},
      'packages/a': {},
      'node_modules/a': { link: true },
      'node_modules/zod': zod,
      'node_modules/mac': { version: '1.0.0', optional: true },
    };
    put({ 'package-lock.json': lock(wanted) });
    expect(packagesOutdated(folder)).toBe('node_modules is missing');
    put({
      'node_modules/.package-lock.json': lock({
        'node_modules/a': { link: true },
        'node_modules/zod': { ...zod, resolved: 'https://x' },
      }),
    });
    expect(packagesOutdated(folder)).toBeNull();
    put({
      'node_modules/.package-lock.json': lock({
        'node_modules/a': { link: true },
        'node_modules/zod': { ...zod, version: '4.6.6' },
      }),
    });
    expect(packagesOutdated(folder)).toBe('zod 4.6.7 is wanted, 4.6.6 is installed');
    put({ 'node_modules/.package-lock.json': lock({ 'node_modules/a': { link: true } }) });
    expect(packagesOutdated(folder)).toBe('zod is not installed');
  });
});

describe('the addon', () => {
  it('takes native/*.cpp and native/kernels/*.cpp, and follows their own headers', () => {
    put({
      'packages/torch/native/binding.cpp': '#include <ATen/ATen.h>\n#include "handles.h"\n',
      'packages/torch/native/handles.h': '#include "util.h"\n',
      'packages/torch/native/util.h': '#include "handles.h"\n', // a circle
      'packages/torch/native/unused.h': '',
      'packages/torch/native/kernels/norm.cpp': '#include "math.h"\n',
      'packages/torch/native/kernels/math.h': '',
    });
    const native = path.join(folder, 'packages/torch/native');
    const names = (files: Iterable<string>) => [...files].map((file) => path.relative(native, file)).sort();
    expect(names(nativeSources(folder))).toEqual(['binding.cpp', 'kernels/norm.cpp']);
    expect(names(withHeaders(path.join(native, 'binding.cpp')))).toEqual(['binding.cpp', 'handles.h', 'util.h']);
    expect(names(withHeaders(path.join(native, 'kernels/norm.cpp')))).toEqual(['kernels/math.h', 'kernels/norm.cpp']);
  });

  it('compiles as many files at once as cores, memory and work allow', () => {
    expect(jobs(6, 2, 8e9)).toBe(2);
    expect(jobs(1, 8, 64e9)).toBe(1);
    expect(jobs(6, 8, 4e9)).toBe(2);
    expect(jobs(6, 8, 0.5e9)).toBe(1);
  });

  it('takes the compiler that CXX names, words and all', () => {
    expect(compilerCommand({ CXX: 'ccache g++-13', PATH: '' })).toEqual(['ccache', 'g++-13']);
    expect(compilerCommand({ PATH: '' })).toBeNull();
    put({ 'c++': '' });
    expect(compilerCommand({ PATH: folder }, 'linux')).toBeNull(); // there, but no program
  });
});

describe('stamps', () => {
  it('change with a name, a content, and where one part ends', () => {
    put({ 'a.txt': '1', 'sub/b.txt': '2', 'node_modules/c.txt': '3' });
    const files = listFiles(folder);
    expect(files.map((file: string) => path.relative(folder, file)).sort()).toEqual(['a.txt', 'sub/b.txt']);
    const before = hashFiles(folder, files);
    expect(hashFiles(folder, [...files].reverse())).toBe(before);
    put({ 'a.txt': '2' });
    expect(hashFiles(folder, files)).not.toBe(before);
    expect(hash('ab', 'c')).not.toBe(hash('a', 'bc'));
  });
});

describe('the lock', () => {
  it('is held by one, waited for, and taken over from the dead', async () => {
    const file = path.join(folder, 'setup.lock');
    const release = await takeLock(file);
    expect(readFileSync(file, 'utf8')).toBe(String(process.pid));
    let waitedFor = 0;
    const second = takeLock(file, (pid: number) => {
      waitedFor = pid;
    });
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(waitedFor).toBe(process.pid);
    release();
    (await second)();
    expect(listFiles(folder)).toEqual([]);

    const dead = spawn(process.execPath, ['-e', '']);
    await new Promise((resolve) => dead.on('exit', resolve));
    writeFileSync(file, String(dead.pid));
    (await takeLock(file))();
    expect(listFiles(folder)).toEqual([]);
  });
});

describe('running programs', () => {
  it('gives output and exit code, and tells a missing program', async () => {
    const result = await run(process.execPath, ['-e', 'console.log("out"); console.error("err"); process.exit(3)']);
    expect(result).toMatchObject({ code: 3, stdout: 'out\n', stderr: 'err\n', stopped: null, missing: false });
    expect(await run(path.join(folder, 'nothing'), [])).toMatchObject({ code: null, missing: true });
  });

  it('stops a program at its limit, children included', async () => {
    const started = performance.now();
    const sleepers =
      "require('child_process').spawn('sleep', ['30'], { stdio: 'inherit' }); setInterval(() => {}, 1000)";
    const result = await run(process.execPath, ['-e', sleepers], { limit: 300 });
    expect(result.stopped).toContain('stopped after');
    // The output stays open as long as any child lives: being here means that none does.
    expect(performance.now() - started).toBeLessThan(5000);
  });

  it('finds programs as the shell does', () => {
    expect(which('node', path.dirname(process.execPath))).toBe(path.join(path.dirname(process.execPath), 'node'));
    expect(which('node', '')).toBeNull();
    expect(which(process.execPath)).toBe(process.execPath);
  });
});
