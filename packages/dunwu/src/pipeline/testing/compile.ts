import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const packageRoot = fileURLToPath(new URL('../../../', import.meta.url));

/**
 * Compiles one source file and all it imports to plain JavaScript, for a test that needs a process of its own.
 * @param entry relative to src/
 * @returns the script's path, and the folder to remove when done
 */
export function compile(entry: string): { script: string; folder: string } {
  const cache = path.join(packageRoot, '../../node_modules/.cache');
  mkdirSync(cache, { recursive: true });
  const folder = mkdtempSync(path.join(cache, 'dunwu-test-')); // below node_modules, so that packages are found
  const compiler = path.join(
    path.dirname(createRequire(import.meta.url).resolve('typescript/package.json')),
    'bin/tsc',
  );
  const config = {
    compilerOptions: {
      target: 'ES2022',
      lib: ['ES2023', 'ESNext.Disposable'],
      module: 'NodeNext',
      moduleResolution: 'NodeNext',
      types: ['node'],
      typeRoots: [path.join(packageRoot, '../../node_modules/@types')],
      noCheck: true, // types are checked elsewhere
      skipLibCheck: true,
      rootDir: path.join(packageRoot, 'src'),
      outDir: path.join(folder, 'js'), // as deep below the package.json as src/ and dist/ are
    },
    files: [path.join(packageRoot, 'src', entry)],
  };
  writeFileSync(path.join(folder, 'package.json'), '{ "type": "module", "version": "0.0.0-test" }');
  writeFileSync(path.join(folder, 'tsconfig.json'), JSON.stringify(config));
  execFileSync(process.execPath, [compiler, '-p', folder], { stdio: 'pipe' });
  return { script: path.join(folder, 'js', entry.replace(/\.ts$/, '.js')), folder };
}
