import { readFileSync, realpathSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import path from 'node:path';
import { SetupFailure } from './failure.mjs';
import { fileIdentity, hash } from './files.mjs';
import { run, which } from './run.mjs';

/** The command of the C++ compiler, as words (`ccache g++` is two): CXX, else the system's usual names; or null. */
export function compilerCommand(environment = process.env, platform = process.platform) {
  const named = environment.CXX?.trim();
  if (named) return named.split(/\s+/);
  // GCC first on Linux: libtorch's OpenMP there is GCC's.
  const names = platform === 'darwin' ? ['clang++', 'c++'] : ['g++', 'c++', 'clang++'];
  const found = names.find((name) => which(name, environment.PATH) !== null);
  return found === undefined ? null : [found];
}

/** Changes when another compiler is chosen or the chosen one is updated; null when there is none. */
export function compilerIdentity(command = compilerCommand()) {
  if (command === null) return null;
  const files = command.map((word) => which(word));
  if (files[0] === null) return null;
  return files
    .map((file, index) => (file === null ? command[index] : `${file}:${fileIdentity(realpathSync(file))}`))
    .join(' ');
}

/**
 * Checks that the compiler is there and knows C++20.
 * @returns {Promise<{ command: string[], kind: 'gcc' | 'clang', version: string }>}
 */
export async function requireCompiler(scratch) {
  const command = compilerCommand();
  const named = process.env.CXX?.trim();
  if (command === null || which(command[0]) === null) {
    const what = named ? `CXX names ${command?.[0]}, which is not there` : 'no C++ compiler was found';
    throw new SetupFailure(`A C++20 compiler is missing: ${what}.`, { install: 'compiler' });
  }
  const [program, ...first] = command;
  const version = await run(program, [...first, '--version'], { limit: 20_000 });
  const source = path.join(scratch, 'check.cpp');
  writeFileSync(
    source,
    '#include <concepts>\n#include <span>\n#include <vector>\nstatic_assert(__cplusplus >= 202002L);\n',
  );
  const check = await run(program, [...first, '-std=c++20', '-fsyntax-only', source], { limit: 60_000 });
  if (version.code !== 0 || check.code !== 0) {
    throw new SetupFailure(
      `${command.join(' ')} cannot compile C++20 with its standard library (GCC 11, Clang 14 or newer can).`,
      {
        detail: version.code === 0 ? `${firstLine(version.stdout)}\n${check.output}` : version.output,
        install: 'compiler',
        hints: ['Another compiler can be named: CXX=/path/to/g++ npm run setup'],
      },
    );
  }
  return { command, kind: /clang/i.test(version.stdout) ? 'clang' : 'gcc', version: firstLine(version.stdout) };
}

const firstLine = (text) => text.trim().split('\n')[0] ?? '';

/** Changes when the program moves to a processor with other instructions (kernels are compiled for the one here). */
export function processorIdentity() {
  let features = '';
  try {
    features = readFileSync('/proc/cpuinfo', 'utf8').match(/^(?:flags|Features)\s*:(.*)$/m)?.[1] ?? '';
  } catch {
    // not Linux: the model's name has to do
  }
  const model = cpus()[0]?.model ?? '';
  return `${process.arch} ${model} ${hash(features).slice(0, 12)}`;
}
