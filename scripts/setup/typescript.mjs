import { existsSync, readdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { SetupFailure } from './failure.mjs';
import { hashFiles, listFiles, readJson, writeJson } from './files.mjs';
import { run } from './run.mjs';

const isSource = (file) => file.endsWith('.ts') && !file.endsWith('.test.ts') && !file.includes('/testing/');

function packages(root) {
  return readdirSync(path.join(root, 'packages'))
    .map((name) => path.join(root, 'packages', name))
    .filter((folder) => existsSync(path.join(folder, 'tsconfig.json')));
}

const stampOf = (folder) => path.join(folder, 'dist/.setup-stamp.json');

/** What the compiled JavaScript depends on: sources, settings and the locked packages' types. */
function sourcesKey(root) {
  const files = packages(root).flatMap((folder) => [
    ...listFiles(path.join(folder, 'src'), isSource),
    path.join(folder, 'tsconfig.json'),
    path.join(folder, 'package.json'),
  ]);
  const settings = ['tsconfig.json', 'tsconfig.base.json', 'package-lock.json'].map((name) => path.join(root, name));
  return hashFiles(root, [...files, ...settings.filter((file) => existsSync(file))]);
}

export function typescriptCurrent(root) {
  const key = sourcesKey(root);
  return packages(root).every((folder) => readJson(stampOf(folder))?.key === key);
}

/** Removes compiled files whose source is gone: an import of a deleted module must fail, not find its ghost. */
function removeGhosts(folder) {
  const dist = path.join(folder, 'dist');
  for (const file of listFiles(dist)) {
    const stem = path.relative(dist, file).match(/^(.*?)(?:\.d\.ts|\.js|\.js\.map)$/)?.[1];
    if (stem !== undefined && !existsSync(path.join(folder, 'src', `${stem}.ts`))) rmSync(file);
  }
}

/** Compiles TypeScript to the dist folder of every package. */
export async function compileTypescript(root) {
  const key = sourcesKey(root);
  for (const folder of packages(root)) {
    rmSync(stampOf(folder), { force: true });
    removeGhosts(folder);
    // Without its outputs an old build record would make tsc believe that there is nothing to do.
    if (!existsSync(path.join(folder, 'dist/index.js')))
      rmSync(path.join(folder, 'dist/.tsbuildinfo'), { force: true });
  }
  const tsc = path.join(root, 'node_modules/.bin/tsc');
  const result = await run(tsc, ['-b'], { cwd: root, limit: 10 * 60_000 });
  if (result.code !== 0) {
    throw new SetupFailure('The TypeScript sources do not compile (tsc -b):', { detail: result.output });
  }
  for (const folder of packages(root)) writeJson(stampOf(folder), { key });
}
