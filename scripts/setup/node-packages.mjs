import path from 'node:path';
import { SetupFailure } from './failure.mjs';
import { readJson } from './files.mjs';
import { run, which } from './run.mjs';

/**
 * Why `npm ci` has to run, or null. npm leaves a copy of what it installed in node_modules/.package-lock.json, written
 * last: comparing it with package-lock.json also accepts an `npm install` done by hand, and rejects a broken one.
 */
export function packagesOutdated(root) {
  const wanted = readJson(path.join(root, 'package-lock.json'));
  if (wanted === null) return 'package-lock.json is missing or broken';
  const installed = readJson(path.join(root, 'node_modules/.package-lock.json'));
  if (installed === null) return 'node_modules is missing';
  for (const [name, entry] of Object.entries(wanted.packages)) {
    if (!name.startsWith('node_modules/') && !name.includes('/node_modules/')) continue;
    const there = installed.packages[name];
    if (there === undefined) {
      if (entry.optional) continue; // for another system
      return `${name.replace(/^.*node_modules\//, '')} is not installed`;
    }
    // A workspace's own entry, and one locked without a checksum, have no integrity to compare.
    const same =
      there.version === entry.version && (entry.integrity === undefined || there.integrity === entry.integrity);
    if (!same) {
      return `${name.replace(/^.*node_modules\//, '')} ${entry.version ?? ''} is wanted, ${there.version ?? 'another'} is installed`;
    }
  }
  return null;
}

/** npm's settings of the command that called us (`npm test -w …`, `--dry-run`) must not change what is installed. */
function cleanEnvironment() {
  const foreign =
    /^npm_config_(workspaces?|include_workspace_root|local_prefix|global|dry_run|omit|only|production|package_lock_only)$/i;
  return Object.fromEntries(Object.entries(process.env).filter(([key]) => !foreign.test(key) && key !== 'NODE_ENV'));
}

/** Installs the packages of the lock file. */
export async function installPackages(root) {
  const own = process.env.npm_execpath;
  const viaNode = own?.endsWith('npm-cli.js') === true;
  if (!viaNode && which('npm') === null)
    throw new SetupFailure('npm is missing (it usually comes with Node).', { install: 'npm' });
  const args = ['ci', '--include=dev', '--no-audit', '--no-fund', '--fetch-timeout=30000', '--fetch-retries=1'];
  const [command, all] = viaNode ? [process.execPath, [own, ...args]] : ['npm', args];
  const result = await run(command, all, { cwd: root, env: cleanEnvironment(), limit: 10 * 60_000 });
  if (result.code === 0) return;
  throw new SetupFailure(
    `npm could not install the packages of package-lock.json${result.stopped ? ` (${result.stopped})` : ''}.`,
    {
      detail: firstErrors(result.output),
      hints: [
        'Tried: npm ci in the repository, from the registry that "npm config get registry" prints.',
        'No network, or a proxy? Set it (npm config set proxy http://…) and run it again.',
      ],
    },
  );
}

/** npm's own message, without its warnings and the page of usage that it prints after some errors. */
function firstErrors(output) {
  const errors = output.split('\n').filter((line) => !/^npm (warn|notice)/.test(line));
  return errors.slice(0, 15).join('\n');
}
