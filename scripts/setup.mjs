#!/usr/bin/env node
// Makes a fresh clone ready to run: npm packages, libtorch, the native addon, TypeScript. Does nothing, in a fraction of
// a second, when all of it is up to date.   node scripts/setup.mjs [--quiet] [--check] [--force]
//
// This file must parse on any Node, however old, to be able to say that it is too old: the rest is loaded afterwards.
const wanted = 20;
const major = Number(process.versions.node.split('.')[0]);
if (major < wanted) {
  console.error(
    `setup: Node ${wanted} or newer is needed; this is Node ${process.versions.node} (${process.execPath}).\n` +
      '  Debian, Ubuntu:  curl -fsSL https://deb.nodesource.com/setup_22.x | sudo -E bash - && sudo apt-get install -y nodejs\n' +
      '  Fedora:          sudo dnf install -y nodejs\n' +
      '  macOS:           brew install node',
  );
  process.exit(1);
}
import('./setup/main.mjs')
  .then(({ main }) => main(process.argv.slice(2)))
  .then(
    (code) => {
      process.exitCode = code;
    },
    (error) => {
      console.error(error);
      process.exitCode = 1;
    },
  );
